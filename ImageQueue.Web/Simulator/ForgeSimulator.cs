using ImageQueue.Core.Forge;
using SkiaSharp;

namespace ImageQueue.Web.Simulator;

/// <summary>
/// A Forge without a GPU, or a related server (<see cref="SimulatorProfile"/>): one lock, one image at a time, the same states and
/// oddities. Images are landscapes drawn in milliseconds; the time that a GPU would take is waited for.
/// </summary>
/// <remarks>
/// Sources: <c>modules/api/api.py</c> (text2imgapi), <c>modules/call_queue.py</c>, <c>modules/progress.py</c>,
/// <c>modules/shared_state.py</c>.
/// </remarks>
public sealed partial class ForgeSimulator(
    SimulatorProfile profile, SimulatorFaults faults, SimulatorStats stats, IOptionsMonitor<ForgeOptions> options, TimeProvider time,
    IHostApplicationLifetime lifetime) : IDisposable
{
    // Shares of the time for one image. Sampling has the rest.
    private const double LoadShare = 0.08;
    private const double DecodeShare = 0.07;
    private const double PostShare = 0.03;

    private const double DefaultWork = 1024d * 1024 * 20;
    internal const long MostPixels = 4096L * 4096;
    private const int FinishedKept = 16;
    private const int MaxImages = 16;
    private static TimeSpan SlowAtLeast { get; } = TimeSpan.FromSeconds(2);
    private static TimeSpan SlowLoadAtLeast { get; } = TimeSpan.FromSeconds(3);
    private static TimeSpan GatewayPatience { get; } = TimeSpan.FromSeconds(1);

    private readonly SimulatorProfile _profile = profile;
    private readonly IOptionsMonitor<ForgeOptions> _options = options;
    private readonly TimeProvider _time = time;
    private readonly CancellationToken _stopping = lifetime.ApplicationStopping;
    private readonly SemaphoreSlim _drawing = new(Environment.ProcessorCount);

    // Everything below is guarded by _gate.
    private readonly Lock _gate = new();
    private readonly List<string> _pending = [];
    private readonly Queue<string> _finished = new();
    private readonly HashSet<SimulatedModel> _hashed = [];
    private Task _lastInLine = Task.CompletedTask;
    private string? _current;
    private string? _running;
    private SimulatedModel _option = SimulatorCatalogue.Models[0]; // The option sd_model_checkpoint.
    private SimulatedModel? _loaded; // What is in the GPU's memory.
    private SimulatorState _state = new();

    public SimulatorFaults Faults { get; } = faults;

    public SimulatorStats Stats { get; } = stats;

    /// <summary>Time for any image; null: <c>Forge:Simulator:SecondsPerImage</c>, scaled by size and steps.</summary>
    public TimeSpan? TimePerImage { get; set; }

    /// <summary>The kind of server, without what a fault has taken away.</summary>
    public SimulatorProfile Profile => Faults.Narrow(_profile);

    /// <inheritdoc/>
    public void Dispose() => _drawing.Dispose();

    /// <summary><c>POST /sdapi/v1/interrupt</c>: hits the running task alone; the next start clears it (shared_state.py).</summary>
    public void Interrupt()
    {
        lock (_gate)
        {
            Stats.NoteInterrupt(_running);
            _state.Interrupted = true;
            _state.InterruptSignal.TrySetResult();
        }
    }

    /// <summary>
    /// <c>POST /sdapi/v1/txt2img</c>, <c>img2img</c> and <c>extra-single-image</c>, from body to answer. Runs to its end when the client
    /// disconnects, as Forge does.
    /// </summary>
    /// <exception cref="OperationCanceledException">The application stops.</exception>
    internal async Task<SimulatedAnswer> GenerateAsync(ReadOnlyMemory<byte> body, SimulatorCall call)
    {
        var (request, errors) = SimulatorRequest.Read(body, call);
        if (request is null)
            return SimulatedAnswer.Invalid(errors);
        var task = string.IsNullOrEmpty(request.ForceTaskId) ? NewTaskId(call) : request.ForceTaskId;
        var note = Stats.NoteArrival(task, request.Prompt, _time.GetUtcNow());
        SimulatedAnswer? answer = null;
        try
        {
            return answer = await AnswerAsync(request, note);
        }
        finally
        {
            Stats.NoteEnd(note, answer switch
            {
                null => "stopped",
                { Ending: AnswerEnding.Reset } => "reset",
                { Ending: AnswerEnding.CutShort } => "cut short",
                _ => answer.Status.ToString(CultureInfo.InvariantCulture),
            });
        }
    }

    /// <summary>A POST to a path that is not served: KoboldCpp takes its lock before it looks at the path.</summary>
    internal async Task<SimulatedAnswer> UnknownPostAsync()
    {
        if (Profile.IsOneAtATime)
            await InTurnAsync(null, () => Task.FromResult(true));
        return Profile.NotServed;
    }

    private async Task<SimulatedAnswer> AnswerAsync(SimulatorRequest request, ReceivedRequest note)
    {
        var profile = Profile;
        var cleared = Faults.Cleared;
        var (named, times) = SimulatorFaults.InPrompt(request.Prompt);
        string? fault = null;
        if (named is not null && (times is null || Stats.Arrivals(request.Prompt) <= times))
        {
            fault = SimulatorFaults.Find(named);
            if (fault is null or SimulatorFaults.NoWebUi or SimulatorFaults.NoTasks or SimulatorFaults.NoModel)
            {
                var detail = fault is null
                    ? SimulatorFaults.Explain(named)
                    : $"The fault '{fault}' is of the whole server; POST it to {SimulatorEndpoints.Path}/faults.";
                return SimulatedAnswer.Json(new { detail }, StatusCodes.Status400BadRequest);
            }

            if (fault == SimulatorFaults.Cuda)
                Faults.Set(fault, SimulatorFaults.CudaRequests);
        }

        fault ??= Faults.Take(static _ => true);
        if (profile.IsOneAtATime && IsBusy)
            return SimulatedAnswer.Busy;
        return fault switch
        {
            SimulatorFaults.Invalid => SimulatedAnswer.Invalid(SimulatorRequest.Read("""{"steps":"many"}"""u8.ToArray()).Errors),
            SimulatorFaults.Rejected => SimulatedAnswer.Invalid("always on script simulated not found"),
            SimulatorFaults.Unauthorized => SimulatedAnswer.Unauthorized,
            SimulatorFaults.Unavailable => SimulatedAnswer.Unavailable,
            SimulatorFaults.Loading => SimulatedAnswer.NotFound,
            SimulatorFaults.Firewall => SimulatedAnswer.Html(StatusCodes.Status403Forbidden, "403 Forbidden"),
            SimulatorFaults.GatewayTimeout => await GiveUpAsync(request, note, profile, cleared),
            SimulatorFaults.NoModel => profile.Failure("RuntimeError", "You do not have any model!"),
            _ when request.NullField is { } field => profile.Failure("TypeError", $"unsupported operand type(s): 'NoneType' ({field})"),
            _ when profile.RefuseSampler(request.SamplerName) is { } refusal => refusal,
            _ => await GenerateInTurnAsync(request, note, profile, fault, cleared),
        };
    }

    /// <summary>A proxy's time-out: the server generates to the end, and nothing of it reaches the client.</summary>
    private async Task<SimulatedAnswer> GiveUpAsync(SimulatorRequest request, ReceivedRequest note, SimulatorProfile profile, Task cleared)
    {
        var generating = GenerateInTurnAsync(request, note, profile, fault: null, cleared);
        await Task.WhenAny(generating, Task.Delay(GatewayPatience, _time, _stopping));
        return SimulatedAnswer.Html(StatusCodes.Status504GatewayTimeout, "504 Gateway Time-out");
    }

    /// <summary>Waits for the lock, generates, releases the lock, and only then encodes.</summary>
    private async Task<SimulatedAnswer> GenerateInTurnAsync(
        SimulatorRequest request, ReceivedRequest note, SimulatorProfile profile, string? fault, Task cleared)
    {
        var (source, refusal) = SimulatedSource.Read(request, profile);
        if (refusal is not null)
            return refusal;
        var task = profile.HasTaskIds && request.Call != SimulatorCall.Upscale ? note.Task : null;
        var generation = await InTurnAsync(
            task,
            () => RunAsync(
                new SimulatedTask(request, source, profile, Load(request, profile), _time.GetLocalNow()), task, note, fault, cleared));
        return generation.Failure ?? await EncodeAsync(generation, fault);
    }

    /// <summary>
    /// Loads the requested model, else the option's. An unknown checkpoint is ignored silently. With
    /// <c>override_settings_restore_afterwards</c> the option stays, and the next request without an override loads that again. An
    /// upscaler leaves it as it is.
    /// </summary>
    private SimulatedModel Load(SimulatorRequest request, SimulatorProfile profile)
    {
        var requested = profile.HasOneModel
            ? null
            : SimulatorCatalogue.FindModel(SimulatorCatalogue.Override(request.OverrideSettings, "sd_model_checkpoint"));
        lock (_gate)
        {
            var model = requested ?? _option;
            if (request.Call == SimulatorCall.Upscale)
                return model;
            if (!request.OverrideSettingsRestoreAfterwards)
                _option = model;
            if (_loaded != model)
                Stats.CountModelLoad();
            return _loaded = model;
        }
    }

    private bool IsBusy
    {
        get
        {
            lock (_gate)
                return !_lastInLine.IsCompleted;
        }
    }

    /// <summary>First in, first out (modules/fifo_lock.py): each waits for the one before it.</summary>
    private async Task<T> InTurnAsync<T>(string? task, Func<Task<T>> run)
    {
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Task before;
        lock (_gate)
        {
            if (task is not null && !_pending.Contains(task))
                _pending.Add(task);
            before = _lastInLine;
            _lastInLine = done.Task;
        }

        try
        {
            await before.WaitAsync(_stopping);
            return await run();
        }
        finally
        {
            done.SetResult();
        }
    }

    /// <summary>What happens under the lock. Leaves the state as Forge does.</summary>
    private async Task<SimulatedTask> RunAsync(SimulatedTask generation, string? task, ReceivedRequest note, string? fault, Task cleared)
    {
        Stats.NoteStart(note);
        var run = new Run(this, generation, fault, cleared);
        lock (_gate)
        {
            _state = new SimulatorState
            {
                Job = generation.JobName,
                JobCount = -1,
                JobTimestamp = generation.Timestamp,
                SamplingSteps = _state.SamplingSteps,
                StartedAt = _time.GetTimestamp(),
                SimulatedTask = generation,
            };
            _running = note.Task;
            _current = task;
            if (task is not null)
                _pending.Remove(task);
        }

        var failure = await run.GenerateAsync();
        lock (_gate)
        {
            if (failure is null or { Ending: AnswerEnding.Reset })
                _current = null;
            // A failed task is neither finished nor forgotten: it stays the current one until another starts (api.py
            // calls finish_task only after process_images returned).
            if (failure is null)
            {
                if (generation.Request.Call != SimulatorCall.Upscale)
                    _hashed.Add(generation.Model);
                if (task is not null)
                    _finished.Enqueue(task);
                if (_finished.Count > FinishedKept)
                    _finished.Dequeue();
            }

            _running = null;
            _state.Job = "";
            _state.JobCount = 0;
            _state.SimulatedTask = null;
        }

        if (failure is null)
            Stats.CountGeneration(generation.Interrupted);
        generation.Failure = failure;
        return generation;
    }

    private async Task<SimulatedAnswer> EncodeAsync(SimulatedTask generation, string? fault)
    {
        switch (fault)
        {
            case SimulatorFaults.NotJson:
                return SimulatedAnswer.Html(StatusCodes.Status200OK, "Stable Diffusion");
            case SimulatorFaults.Empty:
                return generation.Answer([]);
            case SimulatorFaults.Blank:
                return generation.Answer([[]]);
            case SimulatorFaults.Garbage:
                return generation.Answer(["This is not an image, whatever the answer says."u8.ToArray()]);
        }

        await _drawing.WaitAsync(_stopping);
        try
        {
            var format = fault switch
            {
                SimulatorFaults.Jpeg => SKEncodedImageFormat.Jpeg,
                SimulatorFaults.WebP => SKEncodedImageFormat.Webp,
                _ => generation.Format,
            };
            var images = generation.Encode(format, isBlack: fault == SimulatorFaults.Nan);
            if (fault == SimulatorFaults.CutImage)
                images = [.. images.Select(image => image[..(image.Length * 6 / 10)])];
            var answer = generation.Answer(images);
            return fault == SimulatorFaults.Truncated ? answer with { Ending = AnswerEnding.CutShort } : answer;
        }
        finally
        {
            _drawing.Release();
        }
    }

    /// <summary>Forge's own ids, for requests without one (progress.py, create_task_id).</summary>
    private static string NewTaskId(SimulatorCall call) =>
        $"task({(call == SimulatorCall.ImageToImage ? "img2img" : "txt2img")}-"
        + $"{new string(Random.Shared.GetItems("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789".AsSpan(), 7))})";
}
