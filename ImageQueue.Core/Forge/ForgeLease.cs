namespace ImageQueue.Core.Forge;

/// <summary>
/// The right to use one backend alone, until disposed or abandoned. Say what was learnt of the backend before that: the next
/// in line gets it at that moment, if it is healthy.
/// </summary>
public sealed class ForgeLease : IDisposable
{
    private readonly ForgePool _pool;
    private readonly ForgePool.Slot _slot;
    private readonly ForgeWish _wish;
    private readonly long? _freeSince;
    private int _over;
    private bool _isJudged;

    internal ForgeLease(ForgePool pool, ForgePool.Slot slot, ForgeWish wish)
    {
        _pool = pool;
        _slot = slot;
        _wish = wish;
        _freeSince = slot.FreeSince;
        Capabilities = slot.Capabilities;
    }

    /// <summary>The backend to use.</summary>
    public ForgeBackend Backend => _slot.Backend;

    /// <summary>The name of its lease in the database, whose note says what is being painted there.</summary>
    public string LeaseName => _slot.LeaseName;

    /// <summary>What the backend could do when it was lent.</summary>
    public ForgeCapabilities Capabilities { get; }

    /// <summary>How long ago the backend was done with the request before this one; null when something else has kept it since.</summary>
    internal TimeSpan? Idle => _freeSince is { } since ? _pool.Since(since) : null;

    /// <summary>
    /// The backend is at fault and not the request: nobody gets it until it answers a probe, after pauses that grow with each
    /// failure in a row.
    /// </summary>
    /// <param name="reason">What was seen, for operators.</param>
    public void ReportUnavailable(string reason)
    {
        _isJudged = true;
        _pool.ReportDown(_slot, reason, gpuIsDead: false, mayGoOn: null);
    }

    /// <summary>The same, by what was thrown: a dead GPU gets longer pauses, and what may still be painted there is drained first when the backend is back.</summary>
    /// <param name="failure">A <see cref="ForgeFailure.Unavailable"/> or <see cref="ForgeFailure.Gpu"/>.</param>
    /// <param name="taskId">What had been sent.</param>
    public void ReportUnavailable(ForgeException failure, string taskId)
    {
        ArgumentNullException.ThrowIfNull(failure);
        _isJudged = true;
        _pool.ReportDown(_slot, failure.Reason, failure.Failure == ForgeFailure.Gpu, failure.MayGoOn ? taskId : null);
    }

    /// <summary>A request was painted well: ends a row of failures.</summary>
    /// <param name="model">The model that Forge says it was painted by; null: the one that was wished for.</param>
    public void ReportPainted(string? model = null)
    {
        _isJudged = true;
        _pool.ReportPainted(_slot, model ?? _wish.Checkpoint);
    }

    /// <summary>An answer that may be the server's or the request's fault: any other 500, a bad picture. Whose, another server tells.</summary>
    /// <param name="requestKey">Names the request over all its tries.</param>
    /// <param name="reason">What was seen, for operators.</param>
    public void ReportFailed(string requestKey, string reason)
    {
        _isJudged = true;
        _pool.ReportFailed(_slot, requestKey, reason);
    }

    /// <summary>A request that failed before was painted by another server now: the ones where it failed are to blame. Any lease may say so.</summary>
    /// <param name="requestKey">As given to <see cref="ReportFailed"/>.</param>
    public void ReportPaintedElsewhere(string requestKey) => _pool.ReportPaintedElsewhere(requestKey);

    /// <summary>
    /// What was sent is not wanted any more (cancelled, timed out, stalled, lost, stopping), but Forge goes on. The backend
    /// drains: it is lent again when the task is neither queued nor active there. Returns at once; the lease is over.
    /// </summary>
    /// <param name="taskId">What was sent.</param>
    /// <param name="painting">The call, which is observed from here on; its answer is dropped.</param>
    /// <param name="call">Cancels that call; cancelled and disposed when the connection is of no more use.</param>
    public void Abandon(string taskId, Task painting, CancellationTokenSource call) =>
        _pool.Abandon(_slot, new ForgePool.Drain(taskId, painting, call), isFirst: Interlocked.Exchange(ref _over, 1) == 0);

    /// <summary>
    /// The backend has answered, and the picture is on its way: the lease is over, if nothing speaks against the backend. Otherwise
    /// the picture is waited for first, so that one that is bad does not get request after request.
    /// </summary>
    public void ReportAnswered()
    {
        if (_pool.IsTrusted(_slot)) Dispose();
    }

    /// <summary>Completes when the next one has sent its request there; null while the lease goes on.</summary>
    internal Task? NextSent => Volatile.Read(ref _over) == 1 ? _slot.NextSent.Task : null;

    /// <summary>The request is on its way to the backend.</summary>
    public void ReportSent() => _slot.NextSent.TrySetResult();

    /// <summary>Gives the backend to the next in line. Later calls do nothing.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _over, 1) == 0) _pool.Release(_slot, _isJudged);
    }
}

/// <summary>What a request wants of a backend.</summary>
/// <param name="Checkpoint">The model to paint by; null: whatever is loaded. A backend that has it loaded goes first.</param>
/// <param name="Backends">The names of those that may be used; null: any.</param>
/// <param name="Except">The names of those that have failed the request already: used only when nothing else is healthy.</param>
public sealed record ForgeWish(string? Checkpoint = null, IReadOnlyCollection<string>? Backends = null, IReadOnlyCollection<string>? Except = null)
{
    /// <summary>No wish at all.</summary>
    public static ForgeWish Any { get; } = new();
}

/// <summary>One backend, as operators see it.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Url">Base address, without credentials.</param>
/// <param name="Healthy">Whether it answers; null while nobody has asked yet.</param>
/// <param name="Busy">Whether a request of ours is on it.</param>
/// <param name="Draining">Whether it is still at something that nobody wants any more.</param>
/// <param name="LastError">Why it is, or was last, unhealthy; null when it never was.</param>
/// <param name="Since">Since when <paramref name="Healthy"/> is what it is, UTC.</param>
/// <param name="LoadedModel">The model that it painted by last, or had loaded when it came up; null when not known.</param>
/// <param name="Capabilities">What it can do.</param>
/// <param name="Leased">Whether this process is the one that may use it; another process on the same database may be.</param>
/// <param name="Paused">Whether an operator keeps it from being used.</param>
public sealed record ForgeBackendStatus(
    string Name,
    Uri Url,
    bool? Healthy,
    bool Busy,
    bool Draining,
    string? LastError,
    DateTimeOffset Since,
    string? LoadedModel,
    ForgeCapabilities Capabilities,
    bool Leased,
    bool Paused);
