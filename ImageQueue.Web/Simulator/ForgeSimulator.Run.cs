namespace ImageQueue.Web.Simulator;

public sealed partial class ForgeSimulator
{
    /// <summary>A task while it has the lock: load, sample, decode, finish, each for its share of the time.</summary>
    /// <remarks>Order of states: <c>modules/processing.py</c>, process_images_inner.</remarks>
    private sealed class Run(ForgeSimulator simulator, SimulatedTask generation, string? fault, Task cleared)
    {
        private const string CudaError =
            "CUDA error: unspecified launch failure\nCUDA kernel errors might be asynchronously reported at some other API call, "
            + "so the stacktrace below might be incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1";

        private const string ShapeError = "Simulated: mat1 and mat2 shapes cannot be multiplied (4096x64 and 16x3072)";

        private readonly long _started = simulator._time.GetTimestamp();
        private TimeSpan _due;

        /// <summary>Runs the phases; null when it ended, interrupted or not.</summary>
        public async Task<SimulatedAnswer?> GenerateAsync()
        {
            if (generation.UnknownOption is { } option)
                return generation.Profile.Failure("KeyError", $"'{option}'");
            if (generation.UnknownUpscaler is { } upscaler)
                return generation.Profile.Failure("AssertionError", $"could not find upscaler named {upscaler}");
            if (fault == SimulatorFaults.Cuda)
                return generation.Profile.Failure("RuntimeError", CudaError);

            var time = TimeForOne();
            if (fault == SimulatorFaults.SlowLoad)
                await WaitAsync(Longer(time * 20, SlowLoadAtLeast));
            await WaitAsync(time * LoadShare);
            if (generation.Width < 8 || generation.Height < 8 || generation.Request.Steps < 1 || generation.ImageCount < 1)
            {
                return generation.Profile.Failure(
                    "RuntimeError", "Simulated: width, height, steps, batch_size and n_iter must be positive.");
            }

            var pixels = (long)generation.Width * generation.Height;
            if (generation.ImageCount > MaxImages || pixels > MostPixels || pixels * generation.ImageCount > MostPixels)
                return OutOfMemory();
            for (var job = 0; job < generation.Jobs; job++)
            {
                // An interrupt during the load shows only here: the answer then has no image at all.
                if (!State(state => (state.JobCount, state.SamplingSteps, state.SamplingStep) = (generation.Jobs, generation.Steps, 0)))
                {
                    generation.Interrupted = true;
                    break;
                }

                if (await SampleAsync(time * (1 - LoadShare - DecodeShare - PostShare), job) is { } failure)
                    return failure;
                await WaitAsync(time * DecodeShare);
                State(state => (state.JobNo, state.SamplingStep, state.PreviewStep) = (job + 1, 0, 0));
                generation.Done.Add(generation.Interrupted ? generation.Reached : 1);
                await WaitAsync(time * PostShare);
            }

            // Forge finds out after sampling (modules/sd_samplers.py).
            return generation.UnknownSampler is { } sampler
                ? generation.Profile.Failure(
                    "ValueError", $"Simulated: does not support {sampler}. It does: {string.Join(", ", SimulatorCatalogue.SamplerNames)}")
                : null;
        }

        private async Task<SimulatedAnswer?> SampleAsync(TimeSpan time, int job)
        {
            for (var step = 0; step < generation.Steps; step++)
            {
                if (!State(state => state.SamplingStep = step))
                {
                    StopAt(step);
                    break;
                }

                if (job == 0 && step == generation.Steps / 2)
                {
                    switch (fault)
                    {
                        case SimulatorFaults.ServerError:
                            return generation.Profile.Failure("RuntimeError", ShapeError);
                        case SimulatorFaults.ServerErrorOfA1111:
                            return SimulatedAnswer.ServerErrorOfA1111("RuntimeError", ShapeError);
                        case SimulatorFaults.OutOfMemory:
                            return OutOfMemory();
                        case SimulatorFaults.Reset:
                            return SimulatedAnswer.ConnectionReset;
                        case SimulatorFaults.Stalled:
                            await simulator.InterruptAsync();
                            StopAt(step);
                            return null;
                        case SimulatorFaults.Hang:
                            await cleared.WaitAsync(simulator._stopping);
                            _due = Elapsed();
                            if (State(_ => { }))
                                break;
                            StopAt(step);
                            return null;
                    }
                }

                await WaitAsync(time / generation.Steps);
            }

            return null;
        }

        private void StopAt(int step)
        {
            generation.Interrupted = true;
            generation.Reached = step / (double)generation.Steps;
            _due = Elapsed();
        }

        private SimulatedAnswer OutOfMemory() => generation.Profile.Failure(
            "OutOfMemoryError",
            "CUDA out of memory. Tried to allocate 9.00 GiB. GPU 0 has a total capacity of 12.00 GiB of which 1.25 GiB is free.");

        /// <summary>Sets the shared state.</summary>
        /// <returns>False when an interrupt has come.</returns>
        private bool State(Action<SimulatorState> set)
        {
            lock (simulator._gate)
            {
                if (!simulator._state.Interrupted || simulator._state.JobCount > 0)
                    set(simulator._state);
                return !simulator._state.Interrupted;
            }
        }

        /// <summary>The setting is for the default size and steps.</summary>
        private TimeSpan TimeForOne()
        {
            var work = (double)generation.Width * generation.Height * generation.Steps * generation.BatchSize / DefaultWork;
            var time = simulator.TimePerImage
                ?? TimeSpan.FromSeconds(Math.Clamp(simulator._options.CurrentValue.Simulator.SecondsPerImage * work, 0, 86_400));
            return fault == SimulatorFaults.Slow ? Longer(time * 10, SlowAtLeast) : time;
        }

        private static TimeSpan Longer(TimeSpan one, TimeSpan other) => one > other ? one : other;

        // Waits for a point on the clock, not for a time: lateness of timers does not add up over the steps.
        private async Task WaitAsync(TimeSpan time)
        {
            simulator._stopping.ThrowIfCancellationRequested();
            _due += time;
            var left = _due - Elapsed();
            if (left > TimeSpan.Zero)
                await Task.Delay(left, simulator._time, simulator._stopping);
        }

        private TimeSpan Elapsed() => simulator._time.GetElapsedTime(_started);
    }

    private Task InterruptAsync()
    {
        lock (_gate)
            return _state.InterruptSignal.Task.WaitAsync(_stopping);
    }
}
