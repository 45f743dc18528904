using ImageQueue.Core.Forge;

namespace ImageQueue.Core.Backends;

/// <summary>One backend, as operators see it.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Url">Base address, without credentials.</param>
/// <param name="Healthy">Whether it answers; null before its first probe.</param>
/// <param name="Busy">Whether a request of ours is on it.</param>
/// <param name="LastError">Why it is, or was last, not healthy; null when it always was.</param>
/// <param name="Since">Since when <paramref name="State"/> holds, UTC.</param>
/// <param name="LoadedModel">The model that it used last, or had loaded when it came up; null when not known.</param>
/// <param name="Capabilities">What it can do.</param>
/// <param name="Leased">Whether this process holds its lease; another process on the same database may.</param>
/// <param name="Paused">Whether an operator keeps requests from it.</param>
/// <param name="State">All of that in a word.</param>
public sealed record BackendStatus(
    string Name,
    Uri Url,
    bool? Healthy,
    bool Busy,
    string? LastError,
    DateTimeOffset Since,
    string? LoadedModel,
    ForgeCapabilities Capabilities,
    bool Leased,
    bool Paused,
    BackendState State)
{
    /// <summary>What it may still generate though no request needs it any more; null: nothing.</summary>
    public DrainStatus? Drain { get; init; }

    public bool Draining => Drain is not null;

    /// <summary>Whether it generates a canary now.</summary>
    public bool IsCanaryRunning { get; init; }

    /// <summary>When its next canary is due; null when it needs none.</summary>
    public DateTimeOffset? NextCanary { get; init; }

    /// <summary>How its attempts ended since this process started.</summary>
    public AttemptCounts Attempts { get; init; }

    /// <summary>When and how it broke off a request last, such as a proxy's time-out with the setting to raise; null: never.</summary>
    public Disruption? LastDisruption { get; init; }
}

/// <summary>A request that a backend broke off.</summary>
public readonly record struct Disruption(string Reason, DateTimeOffset At);

/// <summary>Since when a backend drains, and what left the task there; no backend's words and no user's.</summary>
public readonly record struct DrainStatus(DateTimeOffset Since, string Why);

/// <summary>How attempts ended.</summary>
public readonly record struct AttemptCounts(long Completed, long Failed, long Disrupted);
