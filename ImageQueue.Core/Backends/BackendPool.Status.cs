using ImageQueue.Core.Forge;

namespace ImageQueue.Core.Backends;

/// <summary>What the pool says of its backends.</summary>
public sealed partial class BackendPool
{
    /// <summary>How many backends can be reserved at once: leased by this process, healthy and free.</summary>
    public int Available => Read(() => Candidates(BackendRequirements.Any).Count(backend => backend.IsFree));

    /// <summary>
    /// Completes at the next change of <see cref="Available"/>, of health or of the backends. Take it before reading those.
    /// </summary>
    public Task NextChange => _changed.Next;

    /// <summary>
    /// Whether this process can generate on a backend, now or when it is free again. A paused backend cannot be used, and is no outage.
    /// </summary>
    public bool IsAnyUsable => Read(() => _backends.Exists(IsUsable));

    /// <summary>Since when none is healthy; null while one is.</summary>
    public DateTimeOffset? NoneHealthySince => Read(FollowHealth);

    /// <summary>The backends themselves, in the order in which they were added, healthy or not.</summary>
    public IReadOnlyList<ForgeBackend> Backends => Read(() => _backends.ConvertAll(backend => backend.Server));

    /// <summary>Every backend's state, in the order in which they were added.</summary>
    public IReadOnlyList<BackendStatus> Status => Read(() => _backends.ConvertAll(backend => new BackendStatus(
        backend.Name, backend.Server.Url, backend.Health.IsHealthy, backend.IsBusy, backend.Health.Reason, backend.Health.Since,
        backend.LoadedModel, backend.Capabilities, IsLeased(backend), backend.IsPaused, backend.Health.State)
    {
        Drain = backend.Drain is { } drain ? new DrainStatus(drain.BeganAt, drain.Why) : null,
        IsCanaryRunning = backend.IsCanaryRunning,
        NextCanary = backend.Health.CanaryAt,
        Attempts = backend.Attempts,
        LastDisruption = backend.LastDisruption,
    }));

    private T Read<T>(Func<T> read)
    {
        lock (Gate)
            return read();
    }

    /// <summary>Keeps the time since which nothing can be generated. A paused backend is not broken, nor is a suspect one yet.</summary>
    private DateTimeOffset? FollowHealth() =>
        _noneHealthySince = _backends.Exists(backend => backend.Health.IsHealthy == true && (backend.IsPaused || IsLeased(backend)))
            ? null
            : _noneHealthySince ?? _time.GetUtcNow();
}
