namespace ImageQueue.Core.Forge;

/// <summary>
/// The right to use one backend alone, until disposed. Say what was learnt of the backend's health before disposing: the
/// next in line gets the backend at that moment, if it is healthy.
/// </summary>
public sealed class ForgeLease : IDisposable
{
    private readonly ForgePool _pool;
    private readonly ForgePool.Slot _slot;
    private int _disposed;

    internal ForgeLease(ForgePool pool, ForgePool.Slot slot)
    {
        _pool = pool;
        _slot = slot;
    }

    /// <summary>The backend to use.</summary>
    public ForgeBackend Backend => _slot.Backend;

    /// <summary>
    /// The backend did not serve the request (<see cref="ForgeFailure.Unavailable"/>): nobody gets it until it answers a
    /// probe, after waits that grow with each failure in a row.
    /// </summary>
    /// <param name="reason">What was seen, for operators.</param>
    public void ReportUnavailable(string reason) => _pool.MarkDown(_slot, reason);

    /// <summary>The backend stalled or may still be busy with what was given up: nobody gets it until it answers a probe.</summary>
    public void ReportSuspect() => _pool.MarkDown(_slot, "it made no progress");

    /// <summary>Gives the backend to the next in line. Later calls do nothing.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0) _pool.Release(_slot);
    }
}

/// <summary>One backend, as operators see it.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Url">Base address, without credentials.</param>
/// <param name="Healthy">Whether it answers; null while nobody has asked yet.</param>
/// <param name="Busy">Whether a request of ours is on it.</param>
/// <param name="LastError">Why it is, or was last, unhealthy; null when it never was.</param>
/// <param name="Since">Since when <paramref name="Healthy"/> is what it is, UTC.</param>
public sealed record ForgeBackendStatus(
    string Name, Uri Url, bool? Healthy, bool Busy, string? LastError, DateTimeOffset Since);
