namespace ImageQueue.Core.Backends;

/// <summary>
/// The circuit breaker of one backend. Pure: it is told what happened and when, reads no clock and does no I/O; its owner guards it.
/// </summary>
/// <remarks>
/// A failed probe opens the circuit, and the next probe that succeeds closes it. What a request meets is closed by a canary alone: a
/// disruption or two different requests' failures in a row make the backend suspect, and so does the failure that would end a request.
/// No request ever tests a backend that is not healthy.
/// </remarks>
internal sealed class BackendHealth
{
    /// <summary>Before the first canary of an unhealthy backend; doubles with each one that fails.</summary>
    public static readonly TimeSpan FirstCanaryDelay = TimeSpan.FromSeconds(1);

    public static readonly TimeSpan LongestCanaryDelay = TimeSpan.FromMinutes(5);

    private Circuit _circuit;
    private Reach _reach;
    private bool _needsCanary;
    private bool _refusesCanary;
    private DateTimeOffset _trippedAt;
    private DateTimeOffset _canaryAt;
    private string? _failedRequest;
    private bool _isPaused;
    private bool _isDraining;

    public BackendHealth(DateTimeOffset now) => Since = now;

    private enum Circuit
    {
        Unknown,
        Closed,
        Suspect,
        Open,
    }

    /// <summary>What the last probe since the trip said.</summary>
    private enum Reach
    {
        NotProbed,
        Up,
        Down,
    }

    public BackendState State { get; private set; }

    /// <summary>When <see cref="State"/> began. The trials of an unhealthy backend do not change it.</summary>
    public DateTimeOffset Since { get; private set; }

    /// <summary>Why it is, or was last, not healthy.</summary>
    public string? Reason { get; private set; }

    /// <summary>Whether requests may be sent, as far as health says.</summary>
    public bool IsClosed => _circuit == Circuit.Closed;

    public bool IsSuspect => _circuit == Circuit.Suspect;

    /// <summary>Null until the first probe. A suspect backend is not unhealthy yet.</summary>
    public bool? IsHealthy => _circuit == Circuit.Unknown ? null : _circuit != Circuit.Open;

    /// <summary>Whether it can be asked anything: the last probe succeeded and nothing speaks against that.</summary>
    public bool IsReachable => _circuit != Circuit.Unknown && _reach == Reach.Up;

    /// <summary>Whether a probe alone does not close the circuit.</summary>
    public bool NeedsCanary => _needsCanary;

    /// <summary>Whether its last answers were all good.</summary>
    public bool IsTrusted => _circuit == Circuit.Closed && _failedRequest is null && Trips == 0;

    /// <summary>Canaries that failed, and refusals, since a request completed here.</summary>
    public int Trips { get; private set; }

    /// <summary>When the next canary is due; null when none is needed.</summary>
    public DateTimeOffset? CanaryAt => _needsCanary ? _canaryAt : null;

    /// <summary>Whether the canary may be sent now. A clock that was set back does not delay it.</summary>
    public bool IsCanaryDue(DateTimeOffset now) => _needsCanary && _reach == Reach.Up && (now >= _canaryAt || now < _trippedAt);

    public void ProbeSucceeded(DateTimeOffset now)
    {
        // A server that was seen down and is back is another process: its canary need not wait.
        if (_reach == Reach.Down)
            _canaryAt = now;
        _reach = Reach.Up;
        if (!_needsCanary && _circuit != Circuit.Closed)
            Close();
        Update(now);
    }

    public void ProbeFailed(string reason, DateTimeOffset now)
    {
        (_reach, Trips, _refusesCanary) = (Reach.Down, 0, false);
        Open(reason);
        Update(now);
    }

    public void RequestCompleted()
    {
        _failedRequest = null;
        if (_circuit == Circuit.Closed)
            Trips = 0;
    }

    /// <summary>A request failed, by its own fault or the backend's.</summary>
    /// <param name="request">Names the request over all its attempts.</param>
    /// <param name="isLast">Whether the failure would end the request.</param>
    public void RequestFailed(string request, string reason, bool isLast, DateTimeOffset now)
    {
        Reason = reason;
        if (isLast || (_failedRequest is { } other && other != request))
            RequestDisrupted(reason, now);
        else
            _failedRequest = request;
    }

    /// <summary>The backend broke off a request that it had taken.</summary>
    public void RequestDisrupted(string reason, DateTimeOffset now)
    {
        Reason = reason;
        if (!_needsCanary)
            (_trippedAt, _canaryAt) = (now, now);
        _needsCanary = !_refusesCanary;
        if (_circuit == Circuit.Open)
            return;

        // Probed first: a canary that meets a dying process would speak for the backend, not for the request.
        (_circuit, _reach, _failedRequest) = (Circuit.Suspect, Reach.NotProbed, null);
        Update(now);
    }

    /// <summary>The backend did not take a request or a canary, though its probe succeeds.</summary>
    public void RequestRefused(string reason, DateTimeOffset now)
    {
        (_reach, _needsCanary) = (Reach.NotProbed, true);
        Delay(now);
        Open(reason);
        Update(now);
    }

    public void CanarySucceeded(DateTimeOffset now)
    {
        Close();
        Update(now);
    }

    public void CanaryFailed(string reason, DateTimeOffset now)
    {
        Delay(now);
        Open(reason);
        Update(now);
    }

    /// <summary>The server does not accept the canary's form (4xx): from here on its probe alone decides, until it restarts.</summary>
    public void CanaryRefused(DateTimeOffset now)
    {
        _refusesCanary = true;
        CanarySucceeded(now);
    }

    /// <summary>An operator wants to know now.</summary>
    public void Hasten(DateTimeOffset now) => _canaryAt = now;

    public void SetPaused(bool isPaused, DateTimeOffset now)
    {
        _isPaused = isPaused;
        Update(now);
    }

    public void SetDraining(bool isDraining, DateTimeOffset now)
    {
        _isDraining = isDraining;
        Update(now);
    }

    private void Close() => (_circuit, _needsCanary, _failedRequest) = (Circuit.Closed, false, null);

    private void Open(string reason) => (_circuit, Reason, _failedRequest) = (Circuit.Open, reason, null);

    private void Delay(DateTimeOffset now)
    {
        var delay = FirstCanaryDelay * Math.Pow(2, Math.Min(Trips++, 20));
        (_trippedAt, _canaryAt) = (now, now + (delay < LongestCanaryDelay ? delay : LongestCanaryDelay));
    }

    private void Update(DateTimeOffset now)
    {
        var state = _isPaused ? BackendState.Paused : _circuit switch
        {
            Circuit.Unknown => BackendState.Unknown,
            Circuit.Open => BackendState.Unhealthy,
            Circuit.Suspect => BackendState.Suspect,
            _ => _isDraining ? BackendState.Draining : BackendState.Healthy,
        };
        if (state != State)
            (State, Since) = (state, now);
    }
}
