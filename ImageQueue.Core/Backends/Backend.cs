using ImageQueue.Core.Forge;

namespace ImageQueue.Core.Backends;

/// <summary>The state of one backend. Guarded by its pool's gate.</summary>
internal sealed class Backend(ForgeBackend server, DateTimeOffset now)
{
    public ForgeBackend Server { get; } = server;

    public string Name => Server.Name;

    public string LeaseName { get; } = ForgeAddress.LeaseName(server.Url);

    public BackendHealth Health { get; } = new(now);

    public ForgeCapabilities Capabilities { get; set; } = ForgeCapabilities.Unknown;

    public string? LoadedModel { get; set; }

    public AttemptCounts Attempts { get; set; }

    public Disruption? LastDisruption { get; set; }

    public bool IsPaused { get; set; }

    public bool IsBusy { get; set; }

    public bool IsCanaryRunning { get; set; }

    /// <summary>Whether it could be reserved, were it healthy.</summary>
    public bool IsFree => this is { IsBusy: false, Drain: null, IsBeingNoted: false, IsCanaryRunning: false };

    /// <summary>Completes when the next holder of the reservation has sent its request.</summary>
    public TaskCompletionSource NextSent { get; set; } = NewSignal();

    /// <summary>Grows with each use, so that the longest unused backend is known.</summary>
    public long LastUse { get; set; }

    public long IdleSince { get; set; }

    /// <summary>Since when a request could have had it, after another; null when something else has kept it since.</summary>
    public long? FreeSince { get; set; }

    /// <summary>Whether an image that it answered with has not been checked yet.</summary>
    public bool IsUnverified { get; set; }

    /// <summary>Completed by the canary with whether the request, and not the backend, was at fault.</summary>
    public List<TaskCompletionSource<bool>> Verdicts { get; } = [];

    /// <summary>The state that was logged last, and why.</summary>
    public (BackendState State, string? Reason) Logged { get; set; }

    // Monitor.

    public TaskCompletionSource Wake { get; set; } = NewSignal();

    /// <summary>Grows with each report, so that the answer to an earlier probe cannot speak for later trouble.</summary>
    public int Reports { get; set; }

    public long? LastProbe { get; set; }

    /// <summary>Whether an operator wants a probe now.</summary>
    public bool MustProbe { get; set; }

    public Drain? Drain { get; set; }

    // Lease.

    /// <summary>By this process's clock; null when another process has the lease.</summary>
    public long? LeasedUntil { get; set; }

    /// <summary>Whether the lease's note may say something else than is true: it names a task that was answered, or an old doubt.</summary>
    public bool IsNoteOld { get; set; }

    public bool IsBeingNoted { get; set; }

    /// <summary>Whether only a canary can make it healthy; its lease's note says so to other processes.</summary>
    public bool IsDoubted => Health is { IsHealthy: false, NeedsCanary: true };

    /// <summary>Whether the note in the database says that it is doubted.</summary>
    public bool IsNotedDoubted { get; set; }

    /// <summary>The task of another holder, found in the note of a lease that came back while the backend was busy; drained next.</summary>
    public string? LeftBehind { get; set; }

    /// <summary>Whether this process should hold its lease.</summary>
    public bool NeedsLease => IsBusy || IsCanaryRunning
        || ((Health.IsHealthy == true || Health is { NeedsCanary: true, IsReachable: true }) && (!IsPaused || Drain is not null));

    public bool IsNamed(string name) => string.Equals(Name, name, StringComparison.OrdinalIgnoreCase);

    public bool Suits(BackendRequirements requirements) =>
        (requirements.Backends is not { } names || names.Any(IsNamed)) && Capabilities.Can(requirements.Task) != false;

    /// <summary>What speaks against it: it lacks the model, or it has failed this request. Least is best.</summary>
    public int Rank(BackendRequirements requirements) =>
        (requirements.Checkpoint is { } checkpoint && Capabilities.HasModel(checkpoint) == false ? 2 : 0)
        + (requirements.Except?.Any(IsNamed) == true ? 1 : 0);

    public bool HasLoaded(string? checkpoint) =>
        checkpoint is not null && LoadedModel is { } loaded && Capabilities.Checkpoints.AreSame(checkpoint, loaded);

    public void WakeMonitor() => Wake.TrySetResult();

    public static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
