using ImageQueue.Core.Forge;

namespace ImageQueue.Core.Backends;

/// <summary>
/// The right to use one backend alone, until disposed or abandoned. Report what was learnt of the backend before that: the next waiter
/// gets it at that moment, if it is healthy.
/// </summary>
public sealed class BackendReservation : IDisposable
{
    private readonly BackendPool _pool;
    private readonly Backend _backend;
    private readonly BackendRequirements _requirements;
    private readonly long? _freeSince;
    private int _isOver;
    private bool _isJudged;

    internal BackendReservation(BackendPool pool, Backend backend, BackendRequirements requirements)
    {
        (_pool, _backend, _requirements, _freeSince) = (pool, backend, requirements, backend.FreeSince);
    }

    /// <summary>The backend to use.</summary>
    public ForgeBackend Backend => _backend.Server;

    /// <summary>Its lease in the database, whose note says what is being generated there.</summary>
    public string LeaseName => _backend.LeaseName;

    /// <summary>Whether this process may still use the backend: a lease that could not be renewed ends.</summary>
    internal bool IsLeased => _pool.IsLeased(_backend);

    /// <summary>How long the backend was idle before; null when something else than a lack of requests kept it.</summary>
    internal TimeSpan? Idle => _freeSince is { } since ? _pool.Since(since) : null;

    /// <summary>The backend did not take the request. It gets no other until its probe and then its canary succeed.</summary>
    /// <param name="reason">For operators.</param>
    public void ReportUnavailable(string reason) => Report((health, now) => health.RequestRefused(reason, now));

    /// <summary>A request was generated, and its image is good.</summary>
    /// <param name="model">The model that Forge reports; null: the requested one.</param>
    public void ReportCompleted(string? model = null)
    {
        _isJudged = true;
        _pool.ReportCompleted(_backend, model ?? _requirements.Checkpoint);
    }

    /// <summary>The request failed: any other 500, a bad image.</summary>
    /// <param name="requestKey">Names the request over all its attempts.</param>
    /// <param name="reason">For operators.</param>
    /// <param name="isLast">Whether the failure would end the request.</param>
    /// <returns>Whether the request is at fault; completes when the canary has decided. At once where there is nothing to decide.</returns>
    public Task<bool> ReportFailed(string requestKey, string reason, bool isLast) => Report((health, now) =>
    {
        _backend.Attempts = _backend.Attempts with { Failed = _backend.Attempts.Failed + 1 };
        health.RequestFailed(requestKey, reason, isLast, now);
    });

    /// <summary>The backend broke off after it had taken the request. What may still run there is drained first.</summary>
    /// <param name="failure">What was seen.</param>
    /// <param name="taskId">What had been sent.</param>
    /// <returns>Whether the request is at fault; completes when the canary has decided.</returns>
    public Task<bool> ReportDisrupted(ForgeException failure, string taskId)
    {
        ArgumentNullException.ThrowIfNull(failure);
        return Report((health, now) =>
        {
            _backend.LastDisruption = new Disruption(failure.Reason, now);
            _backend.Attempts = _backend.Attempts with { Disrupted = _backend.Attempts.Disrupted + 1 };
            if (failure.MayStillBeRunning)
                _pool.BeginDrain(_backend, new Drain(taskId, "a request that it broke off may still run"));
            health.RequestDisrupted(failure.Reason, now);
        });
    }

    /// <summary>Waits for a verdict, but not for long where it needs the backend to come back: the request can go on meanwhile.</summary>
    /// <param name="canGoOn">Whether the request can go to another backend while this one is unreachable.</param>
    /// <returns>Whether the request is at fault; null when that is not decided yet.</returns>
    internal Task<bool?> WaitForVerdictAsync(Task<bool> verdict, bool canGoOn, CancellationToken cancellationToken) =>
        _pool.WaitForVerdictAsync(_backend, verdict, canGoOn, cancellationToken);

    /// <summary>
    /// No request needs the task any more (cancelled, timed out, stalled, lost, stopping), but Forge goes on. The backend drains: it is
    /// reserved again when the task is neither queued nor active there. Returns at once; the reservation is over.
    /// </summary>
    /// <param name="taskId">What was sent.</param>
    /// <param name="why">What ended the request there; see <see cref="DrainStatus"/>.</param>
    /// <param name="generating">The call, which is observed from here on; its answer is dropped.</param>
    /// <param name="call">Cancels that call; cancelled and disposed when the connection is of no more use.</param>
    public void Abandon(string taskId, string why, Task generating, CancellationTokenSource call) =>
        _pool.Abandon(_backend, new Drain(taskId, why, generating, call), isFirst: Interlocked.Exchange(ref _isOver, 1) == 0);

    /// <summary>
    /// The backend has answered, and the image is on its way: the reservation is over, unless its last answers were bad. Then the image
    /// is checked first, so that a backend whose images are bad does not get request after request.
    /// </summary>
    public void ReportAnswered()
    {
        if (_pool.IsTrusted(_backend))
            Dispose();
    }

    /// <summary>Completes when the backend's next request has been sent; null while the reservation goes on.</summary>
    internal Task? NextSent => Volatile.Read(ref _isOver) == 1 ? _backend.NextSent.Task : null;

    /// <summary>The request is on its way to the backend.</summary>
    public void ReportSent() => _backend.NextSent.TrySetResult();

    /// <summary>Gives the backend to the next waiter. Later calls do nothing.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _isOver, 1) == 0)
            _pool.Release(_backend, _isJudged);
    }

    private Task<bool> Report(Action<BackendHealth, DateTimeOffset> change)
    {
        _isJudged = true;
        return _pool.Report(_backend, change);
    }
}
