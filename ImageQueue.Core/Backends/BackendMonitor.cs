using ImageQueue.Core.Forge;

namespace ImageQueue.Core.Backends;

/// <summary>
/// One loop for each backend, as long as the pool lives: probes it while it is not healthy and now and then while it is idle, drains
/// it, and sends its canary. Nothing else asks the backend anything but the attempts on it.
/// </summary>
internal sealed class BackendMonitor(
    BackendPool pool, IForgeClient client, ICanary canary, Drainer drainer, ForgeOptions options, TimeProvider time, ILogger logger)
{
    /// <summary>Between two probes of an unhealthy backend while another is healthy; doubles up to <see cref="LongestPause"/>.</summary>
    private static readonly TimeSpan FirstPause = TimeSpan.FromSeconds(1);

    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(15);

    /// <summary>The same while none is healthy: its return should be known at once.</summary>
    private static readonly TimeSpan PauseInOutage = TimeSpan.FromSeconds(0.5);

    /// <summary>Between two probes of a healthy idle backend, so that its death is known before its next request meets it.</summary>
    private static readonly TimeSpan IdlePause = TimeSpan.FromSeconds(15);

    /// <summary>The loop looks up this often, since pauses that end and other backends that go down have no event.</summary>
    private static readonly TimeSpan Tick = TimeSpan.FromSeconds(0.25);

    private static readonly TimeSpan LongestPoll = TimeSpan.FromSeconds(0.5);

    private enum Step
    {
        None,
        Probe,
        Drain,
        Canary,
    }

    public async Task RunAsync(Backend backend, CancellationToken stop)
    {
        // Off the caller's lock and thread before anything else.
        await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        var pause = FirstPause;
        while (!stop.IsCancellationRequested)
        {
            var now = time.GetUtcNow();
            Task wake;
            Step step;
            lock (pool.Gate)
            {
                if (backend.Wake.Task.IsCompleted)
                    (backend.Wake, pause) = (Backend.NewSignal(), FirstPause);
                wake = backend.Wake.Task;
                step = NextStep(backend, pause, now);
                backend.IsCanaryRunning = step == Step.Canary;
            }

            var wait = Tick;
            try
            {
                switch (step)
                {
                    case Step.Probe:
                        pause = await ProbeAsync(backend, stop) ? FirstPause : Longer(pause);
                        wait = backend.Health.NeedsCanary ? TimeSpan.Zero : Tick;
                        break;
                    case Step.Drain:
                        wait = await DrainAsync(backend, backend.Drain!, stop); // Only this loop ends a drain.
                        break;
                    case Step.Canary:
                        await SendCanaryAsync(backend, stop);
                        break;
                }
            }
            catch (OperationCanceledException) when (stop.IsCancellationRequested)
            {
                return;
            }
            catch (Exception exception)
            {
                // The client promises not to throw. If it does, the backend must not be lost for good.
                logger.LogError(exception, "Monitoring backend {Backend} failed; it goes on.", backend.Name);
            }

            if (wait > TimeSpan.Zero)
                await wake.WaitAsync(wait, time, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private Step NextStep(Backend backend, TimeSpan pause, DateTimeOffset now)
    {
        if (IsProbeDue(backend, pause))
            return Step.Probe;
        if (!pool.IsLeased(backend) || !backend.Health.IsReachable)
            return Step.None;
        if (backend.Drain is not null)
            return Step.Drain;
        return backend is { IsBusy: false, IsBeingNoted: false, IsPaused: false } && backend.Health.IsCanaryDue(now)
            ? Step.Canary
            : Step.None;
    }

    private bool IsProbeDue(Backend backend, TimeSpan pause)
    {
        var now = time.GetTimestamp();
        if (backend is { MustProbe: true, IsBusy: false, Drain: null })
        {
            backend.MustProbe = false;
            return true;
        }

        if (backend.Health.IsClosed)
            return backend is { IsBusy: false, Drain: null } && time.GetElapsedTime(backend.IdleSince, now) >= IdlePause;
        if (backend.Health.IsSuspect && backend.Health.IsReachable)
            return false;
        if (pool.IsOutage)
            pause = PauseInOutage;
        return backend.LastProbe is not { } last || time.GetElapsedTime(last, now) >= pause;
    }

    /// <returns>Whether it answers as it should.</returns>
    private async Task<bool> ProbeAsync(Backend backend, CancellationToken stop)
    {
        int reports;
        bool wasClosed, wasReachable;
        lock (pool.Gate)
            (reports, wasClosed, wasReachable) = (backend.Reports, backend.Health.IsClosed, backend.Health.IsReachable);
        var trouble = await client.WhyUnhealthyAsync(backend.Server, stop) ?? await WhyStuckAsync(backend, stop);
        var capabilities = trouble is null && !wasReachable ? await LearnAsync(backend, stop) : null; // Once per coming-up.
        lock (pool.Gate)
        {
            if (backend.Reports != reports)
                return trouble is null;
            backend.LastProbe = time.GetTimestamp();
            if (trouble is null)
            {
                backend.IdleSince = backend.LastProbe.Value;
                if (capabilities is not null)
                    (backend.Capabilities, backend.LoadedModel) = (capabilities, capabilities.LoadedModel ?? backend.LoadedModel);
                pool.Apply(backend, (health, now) => health.ProbeSucceeded(now));
                return true;
            }

            if (backend.Drain is { } drain)
                drain.WasServerAway = true;
            if (!wasClosed || !backend.IsBusy) // Reserved meanwhile: the attempt on it finds out.
                pool.Apply(backend, (health, now) => health.ProbeFailed(trouble, now));
            return false;
        }
    }

    private async Task<ForgeCapabilities?> LearnAsync(Backend backend, CancellationToken stop)
    {
        try
        {
            return await client.LearnAsync(backend.Server, stop);
        }
        catch (ForgeException exception)
        {
            logger.LogDebug(exception, "What backend {Backend} can do could not be learnt.", backend.Name);
            return null;
        }
    }

    /// <returns>How long to wait before the next look.</returns>
    private async Task<TimeSpan> DrainAsync(Backend backend, Drain drain, CancellationToken stop)
    {
        try
        {
            if (!await drainer.IsOverAsync(backend.Server, drain, mayInterrupt: true, stop))
            {
                if (drain.IsStuck)
                    pool.Apply(backend, (health, now) => health.ProbeFailed(drain.StuckReason, now));
                return options.PollInterval < LongestPoll ? options.PollInterval : LongestPoll;
            }
        }
        catch (ForgeException exception) when (exception.Failure != ForgeFailure.Unavailable)
        {
            // It answers, but cannot say.
            logger.LogDebug(exception, "Backend {Backend} does not say how task {TaskId} stands.", backend.Name, drain.TaskId);
            if (time.GetElapsedTime(drain.Since) < options.Timeout)
                return LongestPoll;
        }
        catch (ForgeException exception)
        {
            // Drained when it is back.
            drain.WasServerAway = true;
            pool.Apply(backend, (health, now) => health.ProbeFailed(exception.Reason, now));
            return TimeSpan.Zero;
        }

        pool.EndDrain(backend, drain);
        return TimeSpan.Zero;
    }

    /// <summary>For the probe of a backend that became unhealthy since no interrupt ended its task.</summary>
    private async Task<string?> WhyStuckAsync(Backend backend, CancellationToken stop)
    {
        Drain? drain;
        lock (pool.Gate)
            drain = backend.Drain;
        if (drain is not { IsStuck: true })
            return null;
        try
        {
            // Without an interrupt: another process may be using it by now.
            if (!await drainer.IsOverAsync(backend.Server, drain, mayInterrupt: false, stop))
                return drain.StuckReason;
        }
        catch (ForgeException exception)
        {
            return exception.Reason;
        }

        pool.EndDrain(backend, drain);
        return null;
    }

    private async Task SendCanaryAsync(Backend backend, CancellationToken stop)
    {
        var taskId = $"canary-{Guid.NewGuid():N}";
        var call = CancellationTokenSource.CreateLinkedTokenSource(stop);
        logger.LogInformation("Backend {Backend} generates a canary: {Reason}.", backend.Name, backend.Health.Reason?.TrimEnd('.'));
        var generating = canary.RunAsync(backend.Server, taskId, backend.Capabilities, call.Token);
        try
        {
            await generating.WaitAsync(options.Timeout, time, stop);
            End(backend, (health, now) => health.CanarySucceeded(now));
        }
        catch (TimeoutException)
        {
            // It may still be generated there: the call stays open for its answer.
            EndWithFailure(
                backend, $"no canary within {options.Timeout.TotalSeconds:0} s",
                new Drain(taskId, "its canary got no answer in time", generating, call));
            return;
        }
        catch (ForgeException exception) when (exception.Failure == ForgeFailure.Rejected)
        {
            logger.LogInformation(
                "Backend {Backend} does not accept the canary ({Reason}); its probe alone decides.", backend.Name, exception.Reason);
            End(backend, (health, now) => health.CanaryRefused(now));
        }
        catch (ForgeException exception) when (exception.Failure == ForgeFailure.Unavailable)
        {
            End(backend, (health, now) => health.RequestRefused(exception.Reason, now)); // It says nothing of the suspected request.
        }
        catch (ForgeException exception)
        {
            EndWithFailure(backend, exception.Reason, exception.MayStillBeRunning ? new Drain(taskId, "its canary may still run") : null);
        }
        catch (Exception exception) when (!stop.IsCancellationRequested)
        {
            logger.LogError(exception, "The canary of backend {Backend} failed.", backend.Name);
            EndWithFailure(backend, exception.Message, null);
        }

        call.Dispose();
    }

    private void EndWithFailure(Backend backend, string reason, Drain? drain)
    {
        lock (pool.Gate)
        {
            if (drain is not null)
                pool.BeginDrain(backend, drain);
            BackendPool.Judge(backend, isRequestAtFault: false);
        }

        End(backend, (health, now) => health.CanaryFailed(reason, now));
    }

    private void End(Backend backend, Action<BackendHealth, DateTimeOffset> how)
    {
        lock (pool.Gate)
            (backend.IsCanaryRunning, backend.IdleSince) = (false, time.GetTimestamp());
        pool.Apply(backend, how);
    }

    private static TimeSpan Longer(TimeSpan pause) => pause * 2 < LongestPause ? pause * 2 : LongestPause;
}
