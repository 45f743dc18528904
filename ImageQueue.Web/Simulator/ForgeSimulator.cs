using System.Globalization;
using ImageQueue.Core.Forge;
using Microsoft.Extensions.Options;
using SkiaSharp;

namespace ImageQueue.Web.Simulator;

/// <summary>
/// A Forge without a GPU, or one of its relatives (<see cref="SimulatorProfile"/>): one lock, one image at a time, the same
/// states and the same oddities. ImageLocator are landscapes drawn in milliseconds; the time that a GPU would take is waited out.
/// </summary>
/// <remarks>
/// Sources: <c>modules/api/api.py</c> (text2imgapi), <c>modules/call_queue.py</c>, <c>modules/progress.py</c>, <c>modules/shared_state.py</c>.
/// </remarks>
public sealed partial class ForgeSimulator : IDisposable
{
    // Shares of the time for one image. Sampling has the rest.
    private const double LoadShare = 0.08;
    private const double DecodeShare = 0.07;
    private const double PostShare = 0.03;

    private const double DefaultWork = 1024d * 1024 * 20;
    private const long MostPixels = 4096L * 4096;
    private const int FinishedKept = 16;
    private const int MaxImages = 16;
    private static TimeSpan SlowAtLeast { get; } = TimeSpan.FromSeconds(2);
    private static TimeSpan SlowLoadAtLeast { get; } = TimeSpan.FromSeconds(3);

    private readonly SimulatorProfile _profile;
    private readonly IOptionsMonitor<ForgeOptions> _options;
    private readonly TimeProvider _time;
    private readonly CancellationToken _stopping;
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

    /// <summary>Makes an idle server.</summary>
    /// <param name="profile">The kind of server.</param>
    /// <param name="faults">What is to go wrong.</param>
    /// <param name="stats">Where it is noted what the server was asked.</param>
    /// <param name="options">For the pace.</param>
    /// <param name="time">The clock that is waited on.</param>
    /// <param name="lifetime">When the application stops, all waiting ends at once.</param>
    public ForgeSimulator(
        SimulatorProfile profile,
        SimulatorFaults faults,
        SimulatorStats stats,
        IOptionsMonitor<ForgeOptions> options,
        TimeProvider time,
        IHostApplicationLifetime lifetime)
    {
        _profile = profile;
        Faults = faults;
        Stats = stats;
        _options = options;
        _time = time;
        _stopping = lifetime.ApplicationStopping;
    }

    /// <summary>What is to go wrong.</summary>
    public SimulatorFaults Faults { get; }

    /// <summary>What it was asked.</summary>
    public SimulatorStats Stats { get; }

    /// <summary>The time for one image, whatever its size; null: <c>Forge:Simulator:SecondsPerImage</c>, and its share of it for a smaller one.</summary>
    public TimeSpan? TimePerImage { get; set; }

    /// <summary>The kind of server, less what a fault has taken away.</summary>
    public SimulatorProfile Profile => Faults.Narrow(_profile);

    /// <inheritdoc/>
    public void Dispose() => _drawing.Dispose();

    /// <summary><c>POST /sdapi/v1/interrupt</c>: hits whatever runs, and nothing that waits; a start clears it (shared_state.py).</summary>
    public void Interrupt()
    {
        lock (_gate)
        {
            Stats.InterruptCalled(_running);
            _state.Interrupted = true;
            _state.InterruptSignal.TrySetResult();
        }
    }

    /// <summary><c>POST /sdapi/v1/txt2img</c>, from the body to the answer. Goes on when the client has gone away, as Forge does.</summary>
    /// <exception cref="OperationCanceledException">The application stops.</exception>
    internal async Task<SimulatedAnswer> TextToImageAsync(ReadOnlyMemory<byte> body)
    {
        var (request, errors) = TextToImageRequest.Read(body);
        if (request is null)
        {
            return SimulatedAnswer.Invalid(errors);
        }

        var task = string.IsNullOrEmpty(request.ForceTaskId) ? NewTaskId() : request.ForceTaskId;
        var note = Stats.Received(task, request.Prompt, _time.GetUtcNow());
        SimulatedAnswer? answer = null;
        try
        {
            answer = await AnswerAsync(request, note);
            return answer;
        }
        finally
        {
            Stats.Answered(note, answer switch
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

    private async Task<SimulatedAnswer> AnswerAsync(TextToImageRequest request, ReceivedRequest note)
    {
        var profile = Profile;
        var cleared = Faults.Cleared;
        var (asked, times) = SimulatorFaults.InPrompt(request.Prompt);
        string? fault = null;
        if (asked is not null && (times is null || Stats.Arrivals(request.Prompt) <= times))
        {
            fault = SimulatorFaults.Find(asked);
            if (fault is null or SimulatorFaults.NoWebUi or SimulatorFaults.NoTasks)
            {
                var detail = fault is null ? SimulatorFaults.Explain(asked) : $"The fault '{fault}' is of the whole server; POST it to {SimulatorEndpoints.Path}/faults.";
                return SimulatedAnswer.Json(new { detail }, StatusCodes.Status400BadRequest);
            }

            if (fault == SimulatorFaults.Cuda)
                Faults.Set(fault);
        }

        fault ??= Faults.Take(static _ => true);
        if (profile.IsOneAtATime && IsBusy)
            return SimulatedAnswer.Busy;
        return fault switch
        {
            SimulatorFaults.Invalid => SimulatedAnswer.Invalid(TextToImageRequest.Read("""{"steps":"many"}"""u8.ToArray()).Errors),
            SimulatorFaults.Rejected => SimulatedAnswer.Invalid("always on script simulated not found"),
            SimulatorFaults.Unauthorized => SimulatedAnswer.Unauthorized,
            SimulatorFaults.Unavailable => SimulatedAnswer.Unavailable,
            SimulatorFaults.Loading => SimulatedAnswer.NotFound,
            _ when request.NullField is { } field => profile.Failure("TypeError", $"unsupported operand type(s): 'NoneType' ({field})"),
            _ when request.SamplerName is { } sampler && SimulatorCatalogue.FindSampler(sampler) is null && profile.SamplerNotFound(sampler) is { } refusal => refusal,
            _ => await GenerateInTurnAsync(request, note, profile, fault, cleared),
        };
    }

    /// <summary>Waits for the lock, generates, gives the lock back, and only then encodes.</summary>
    private async Task<SimulatedAnswer> GenerateInTurnAsync(TextToImageRequest request, ReceivedRequest note, SimulatorProfile profile, string? fault, Task cleared)
    {
        var task = profile.HasTaskIds ? note.Task : null;
        var generating = await InTurnAsync(task, () => RunAsync(SimulatedTask.Plan(request, profile, Load(request, profile), _time.GetLocalNow()), task, note, fault, cleared));
        return generating.Failure ?? await EncodeAsync(generating, fault);
    }

    /// <summary>
    /// Puts the model into memory that a request asks for, else the option's. An unknown checkpoint is dropped without a word. With
    /// <c>override_settings_restore_afterwards</c> the option stays what it was, and the next request without an override loads that again.
    /// </summary>
    private SimulatedModel Load(TextToImageRequest request, SimulatorProfile profile)
    {
        var asked = profile.HasOneModel ? null : SimulatorCatalogue.FindModel(SimulatorCatalogue.Override(request.OverrideSettings, "sd_model_checkpoint"));
        lock (_gate)
        {
            var model = asked ?? _option;
            if (!request.OverrideSettingsRestoreAfterwards)
                _option = model;
            if (_loaded != model)
                Stats.ModelLoaded();
            return _loaded = model;
        }
    }

    private bool IsBusy
    {
        get
        {
            lock (_gate)
            {
                return !_lastInLine.IsCompleted;
            }
        }
    }

    /// <summary>First come, first served (modules/fifo_lock.py): each waits for the one before it.</summary>
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

    /// <summary>What happens under the lock. Leaves the state as Forge does, also where that is odd.</summary>
    private async Task<SimulatedTask> RunAsync(SimulatedTask generating, string? task, ReceivedRequest note, string? fault, Task cleared)
    {
        Stats.Begun(note);
        var run = new Run(this, generating, fault, cleared);
        lock (_gate)
        {
            _state = new SimulatorState
            {
                Job = "scripts_txt2img",
                JobCount = -1,
                JobTimestamp = generating.Timestamp,
                SamplingSteps = _state.SamplingSteps,
                StartedAt = _time.GetTimestamp(),
                SimulatedTask = generating,
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
            {
                _current = null;
            }

            // A failed task is neither finished nor forgotten: it stays the current one until another starts (api.py
            // calls finish_task only after process_images returned).
            if (failure is null)
            {
                _hashed.Add(generating.Model);
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
        {
            Stats.CompletedGeneration(generating.Interrupted);
        }

        return generating with { Failure = failure };
    }

    private async Task<SimulatedAnswer> EncodeAsync(SimulatedTask generating, string? fault)
    {
        switch (fault)
        {
            case SimulatorFaults.NotJson:
                return SimulatedAnswer.Html(StatusCodes.Status200OK, "Stable Diffusion");
            case SimulatorFaults.Empty:
                return generating.Answer([]);
            case SimulatorFaults.Blank:
                return generating.Answer([[]]);
            case SimulatorFaults.Garbage:
                return generating.Answer(["This is not an image, whatever the answer says."u8.ToArray()]);
        }

        await _drawing.WaitAsync(_stopping);
        try
        {
            var format = fault switch
            {
                SimulatorFaults.Jpeg => SKEncodedImageFormat.Jpeg,
                SimulatorFaults.WebP => SKEncodedImageFormat.Webp,
                _ => generating.Format,
            };
            var images = generating.Encode(format, isBlack: fault == SimulatorFaults.Nan);
            if (fault == SimulatorFaults.CutImage)
            {
                images = [.. images.Select(image => image[..(image.Length * 6 / 10)])];
            }

            var answer = generating.Answer(images);
            return fault == SimulatorFaults.Truncated ? answer with { Ending = AnswerEnding.CutShort } : answer;
        }
        finally
        {
            _drawing.Release();
        }
    }

    /// <summary>Forge's own ids, for requests without one (progress.py, create_task_id).</summary>
    private static string NewTaskId() =>
        $"task(txt2img-{new string(Random.Shared.GetItems("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789".AsSpan(), 7))})";
}
