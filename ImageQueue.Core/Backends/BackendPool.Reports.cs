namespace ImageQueue.Core.Backends;

/// <summary>What attempts, probes, canaries and drains report of a backend, and what follows from that.</summary>
public sealed partial class BackendPool
{
    /// <summary>
    /// How long a request waits for the canary's verdict before it goes on. Its worker writes no heartbeat meanwhile, and one of a known
    /// Hangfire server counts as dead only after <see cref="Heartbeat.DeadAfter"/>.
    /// </summary>
    private static readonly TimeSpan VerdictPatience = TimeSpan.FromSeconds(20);

    /// <summary>How many requests have completed on a backend since this process started.</summary>
    internal IReadOnlyDictionary<string, long> CompletedCounts() => Read(
        () => _backends.ToDictionary(backend => backend.Name, backend => backend.Attempts.Completed, StringComparer.Ordinal));

    internal void ReportCompleted(Backend backend, string? model)
    {
        lock (Gate)
        {
            backend.LoadedModel = model ?? backend.LoadedModel;
            backend.IsUnverified = false;
            backend.Attempts = backend.Attempts with { Completed = backend.Attempts.Completed + 1 };
            backend.Health.RequestCompleted();
            OnChanged();
        }
    }

    /// <summary>A request did not complete there.</summary>
    /// <returns>Whether the request is at fault; completes when the canary has decided.</returns>
    internal Task<bool> Report(Backend backend, Action<BackendHealth, DateTimeOffset> change)
    {
        lock (Gate)
        {
            backend.Reports++;
            (backend.LastProbe, backend.IsUnverified) = (null, false);
            Apply(backend, change);
            backend.WakeMonitor();
            if (_isDisposed || !(backend.Health.IsSuspect || backend.Health.NeedsCanary))
                return Task.FromResult(true);
            var verdict = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
            backend.Verdicts.Add(verdict);
            return verdict.Task;
        }
    }

    internal async Task<bool?> WaitForVerdictAsync(Backend backend, Task<bool> verdict, bool canGoOn, CancellationToken cancellationToken)
    {
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var patience = Task.Delay(VerdictPatience, _time, end.Token);
        while (!verdict.IsCompleted && !patience.IsCompleted)
        {
            var change = NextChange;
            lock (Gate)
            {
                // Another backend can have the request at once.
                if (canGoOn && backend.Health.IsHealthy == false && !backend.Health.IsReachable && _backends.Exists(IsUsable))
                    break;
            }

            await Task.WhenAny(verdict, patience, change);
        }

        await end.CancelAsync();
        return verdict.IsCompletedSuccessfully ? await verdict : null;
    }

    /// <summary>Whether all that the backend has answered so far was good, as far as that is known.</summary>
    internal bool IsTrusted(Backend backend) => Read(() => backend.Health.IsTrusted && !backend.IsUnverified);

    internal void Release(Backend backend, bool isJudged)
    {
        lock (Gate)
        {
            backend.IsUnverified |= !isJudged;
            OnReleased(backend);
            backend.NextSent = Backend.NewSignal();
            backend.FreeSince = backend.IdleSince = _time.GetTimestamp();

            // The lease came back while the backend was busy, with a note of what its other holder left.
            if (backend.LeftBehind is { } taskId)
                BeginDrain(backend, new Drain(taskId, Drain.OfOtherHolder));
            backend.LeftBehind = null;
            if (!IsUsable(backend))
                _leases.Wake();
            OnChanged();
        }
    }

    internal void Abandon(Backend backend, Drain drain, bool isFirst)
    {
        lock (Gate)
        {
            if (isFirst && !_isDisposed)
            {
                OnReleased(backend);
                BeginDrain(backend, drain);
                OnChanged();
                return;
            }
        }

        _ = drain.CloseAsync(_logger);
    }

    /// <summary>Call it holding the gate.</summary>
    internal void BeginDrain(Backend backend, Drain drain)
    {
        (drain.Since, drain.BeganAt) = (_time.GetTimestamp(), _time.GetUtcNow());
        _ = backend.Drain?.CloseAsync(_logger);
        backend.Drain = drain;
        backend.Health.SetDraining(true, drain.BeganAt);
        drain.Generating?.ContinueWith(
            _ =>
            {
                lock (Gate)
                    backend.WakeMonitor();
            },
            CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        backend.WakeMonitor();
    }

    internal void EndDrain(Backend backend, Drain drain)
    {
        var now = _time.GetUtcNow();
        lock (Gate)
        {
            if (backend.Drain != drain)
                return;
            backend.Drain = null;
            backend.IsNoteOld = true;
            backend.IdleSince = _time.GetTimestamp();
            backend.Health.SetDraining(false, now);
            OnChanged();
        }

        _logger.LogInformation(
            "Backend {Backend} has drained task {TaskId} in {Seconds:0.0} s.",
            backend.Name, drain.TaskId, _time.GetElapsedTime(drain.Since).TotalSeconds);
        _ = drain.CloseAsync(_logger);
    }

    /// <summary>Changes a backend's health, and does and logs what follows from that.</summary>
    internal void Apply(Backend backend, Action<BackendHealth, DateTimeOffset> change)
    {
        var now = _time.GetUtcNow();
        lock (Gate)
        {
            if (_isDisposed)
                return;
            change(backend.Health, now);
            if (backend.Health.IsClosed)
                Judge(backend, isRequestAtFault: true);
            LogHealth(backend);
            if (backend.NeedsLease != backend.LeasedUntil is not null || backend.IsDoubted != backend.IsNotedDoubted)
                _leases.Wake();
            OnChanged();
        }
    }

    /// <summary>Decides whether the requests that the backend broke off, or failed, are at fault. Call it holding the gate.</summary>
    internal static void Judge(Backend backend, bool isRequestAtFault)
    {
        foreach (var verdict in backend.Verdicts)
            verdict.TrySetResult(isRequestAtFault);
        backend.Verdicts.Clear();
    }

    private void OnReleased(Backend backend)
    {
        backend.IsBusy = false;
        backend.LastUse = ++_numbers;
        backend.WakeMonitor();
    }

    /// <summary>Once for each change of state or reason. An unhealthy backend's trials are no news.</summary>
    private void LogHealth(Backend backend)
    {
        var health = backend.Health;
        var state = health.IsClosed ? BackendState.Healthy : health.IsSuspect ? BackendState.Suspect : BackendState.Unhealthy;
        var reason = health.IsClosed ? null : health.Reason;
        if (health.IsHealthy is null || backend.Logged == (state, reason))
            return;
        if (state == BackendState.Healthy)
        {
            _logger.LogInformation(
                "Backend {Backend} is healthy{Again}.", backend.Server, backend.Logged.State == BackendState.Unknown ? "" : " again");
        }
        else if (state == BackendState.Suspect)
        {
            _logger.LogInformation(
                "Backend {Backend} is suspect: {Reason}. A canary decides whether it or the request is at fault.",
                backend.Server, reason?.TrimEnd('.'));
        }
        else
        {
            _logger.LogWarning(
                "Backend {Backend} is unhealthy: {Reason}. It gets no requests until it is healthy again.",
                backend.Server, reason?.TrimEnd('.'));
        }

        backend.Logged = (state, reason);
    }
}
