using ImageQueue.Core.Forge;
using ImageQueue.Core.Hosting;
using Microsoft.Extensions.Hosting;

namespace ImageQueue.Core.Backends;

/// <summary>
/// Reserves backends for requests: one request at a time each, over all processes that share the database, healthy ones only. About 40
/// waiting requests starve Forge's own progress and interrupt, so the waiting happens here.
/// </summary>
/// <remarks>
/// <see cref="BackendHealth"/> decides which backends are healthy, <see cref="BackendMonitor"/> probes and drains them and sends their
/// canaries, and <see cref="BackendLeases"/> holds their leases. One gate guards the state of all; nothing is awaited under it.
/// </remarks>
public sealed partial class BackendPool : IHostedService, IDisposable
{
    private readonly BackendMonitor _monitor;
    private readonly BackendLeases _leases;
    private readonly TimeProvider _time;
    private readonly ILogger<BackendPool> _logger;
    private readonly CancellationTokenSource _stop = new();

    private readonly List<Backend> _backends = [];
    private readonly SortedSet<Waiter> _waiters = new(Comparer<Waiter>.Create((a, b) => (a.Turn, a.Number).CompareTo((b.Turn, b.Number))));
    private readonly AsyncSignal _changed = new();
    private HashSet<string> _paused = [];
    private DateTimeOffset? _noneHealthySince;
    private long _numbers;
    private bool _isMonitored;
    private bool _isStopping;
    private bool _isDisposed;

    /// <summary>Makes a pool of the configured backends; <see cref="Add"/> adds more.</summary>
    /// <exception cref="OptionsValidationException">A backend's settings are wrong.</exception>
    public BackendPool(
        IForgeClient client, ILeaseStore store, ICanary canary, DatabaseReadiness readiness, IOptions<ForgeOptions> options,
        TimeProvider time, ILogger<BackendPool> logger)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(time);
        (_time, _logger) = (time, logger);
        var drainer = new Drainer(client, options.Value, time, logger);
        _monitor = new BackendMonitor(this, client, canary, drainer, options.Value, time, logger);
        _leases = new BackendLeases(this, store, drainer, readiness, time, logger);
        _noneHealthySince = time.GetUtcNow();
        foreach (var backend in options.Value.Backends)
            Add(backend.ToBackend());
    }

    /// <summary>Guards all state of the backends.</summary>
    internal Lock Gate { get; } = new();

    /// <summary>Read it holding the gate.</summary>
    internal IReadOnlyList<Backend> All => _backends;

    /// <summary>Whether no backend is healthy. Read it holding the gate.</summary>
    internal bool IsOutage => _noneHealthySince is not null;

    /// <summary>Adds a backend: the simulator's address, for one, is known only once the server listens.</summary>
    /// <exception cref="ArgumentException">Its address is in the pool already; it would get two requests at once.</exception>
    public void Add(ForgeBackend backend)
    {
        ArgumentNullException.ThrowIfNull(backend);
        var now = _time.GetUtcNow();
        lock (Gate)
        {
            ObjectDisposedException.ThrowIf(_isDisposed, this);
            var address = ForgeAddress.Of(backend.Url);
            if (_backends.Exists(one => ForgeAddress.Of(one.Server.Url) == address))
                throw new ArgumentException($"{backend} is in the pool already.", nameof(backend));
            var added = new Backend(backend, now);
            _backends.Add(added);
            FollowPause(added, now);
            if (_isMonitored)
                _ = _monitor.RunAsync(added, _stop.Token);
            OnChanged();
        }
    }

    /// <summary>
    /// Starts to probe the backends and to hold their leases, so that <see cref="Status"/> is known before the first request. Returns at
    /// once; reserving a backend does the same.
    /// </summary>
    public void StartMonitoring()
    {
        lock (Gate)
        {
            if (_isDisposed || _isMonitored)
                return;
            _isMonitored = true;
            foreach (var backend in _backends)
                _ = _monitor.RunAsync(backend, _stop.Token);
        }

        _ = _leases.StartAsync(CancellationToken.None);
    }

    /// <summary>The first reservation starts the monitoring.</summary>
    Task IHostedService.StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>Interrupts what is being drained, and releases the leases. Nothing is reserved any more.</summary>
    /// <param name="cancellationToken">How long that may take.</param>
    public Task StopAsync(CancellationToken cancellationToken)
    {
        lock (Gate)
        {
            _isStopping = true;
            OnChanged();
        }

        return _leases.StopAsync(cancellationToken);
    }

    /// <summary>
    /// Keeps requests from the backends of these names and from no other, also from those that are added later; what is generated on
    /// them goes on.
    /// </summary>
    public void SetPaused(IReadOnlyCollection<string> names)
    {
        var now = _time.GetUtcNow();
        lock (Gate)
        {
            _paused = new HashSet<string>(names, StringComparer.OrdinalIgnoreCase);
            foreach (var backend in _backends)
                FollowPause(backend, now);
        }
    }

    /// <summary>Probes a backend at once, and lets its canary come at once where it needs one.</summary>
    /// <returns>False when there is no backend of that name.</returns>
    public bool ProbeNow(string name)
    {
        StartMonitoring();
        var now = _time.GetUtcNow();
        lock (Gate)
        {
            if (_backends.Find(backend => backend.IsNamed(name)) is not { } backend)
                return false;
            backend.MustProbe = true;
            backend.Health.Hasten(now);
            backend.WakeMonitor();
            return true;
        }
    }

    /// <summary>Reserves a free healthy backend that meets the requirements; null when there is none.</summary>
    public BackendReservation? TryTake(BackendRequirements requirements)
    {
        ArgumentNullException.ThrowIfNull(requirements);
        StartMonitoring();
        lock (Gate)
        {
            if (Choose(requirements) is not { } backend)
                return null;
            var reservation = Reserve(backend, requirements);
            OnChanged();
            return reservation;
        }
    }

    /// <summary>
    /// Waits for a free healthy backend that meets the requirements, for as long as it takes. Dispose the reservation to give it back.
    /// </summary>
    /// <param name="turn">Lower turns are served first.</param>
    /// <exception cref="ForgeException">None of the backends can ever meet the requirements.</exception>
    /// <exception cref="ObjectDisposedException">The pool is closing.</exception>
    public async Task<BackendReservation> AcquireAsync(long turn, BackendRequirements requirements, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(requirements);
        cancellationToken.ThrowIfCancellationRequested();
        StartMonitoring();
        Waiter waiter;
        lock (Gate)
        {
            ObjectDisposedException.ThrowIf(_isDisposed, this);
            if (FindWhyNone(requirements) is { } why)
                throw why;
            waiter = new Waiter(turn, ++_numbers, requirements);
            _waiters.Add(waiter);
            OnChanged();
        }

        await using var registration = cancellationToken.UnsafeRegister(_ => Remove(waiter, cancellationToken), null);
        return await waiter.Task;
    }

    /// <summary>Ends the monitoring, and the wait of all waiters.</summary>
    public void Dispose()
    {
        Waiter[] waiting;
        Drain[] draining;
        lock (Gate)
        {
            if (_isDisposed)
                return;
            _isDisposed = true;
            waiting = [.. _waiters];
            _waiters.Clear();
            draining = [.. _backends.Select(backend => backend.Drain).OfType<Drain>()];
            foreach (var verdict in _backends.SelectMany(backend => backend.Verdicts))
                verdict.TrySetCanceled();
        }

        _stop.Cancel();
        _stop.Dispose();
        _leases.Dispose();
        foreach (var drain in draining)
            _ = drain.CloseAsync(_logger);
        foreach (var waiter in waiting)
            waiter.TrySetException(new ObjectDisposedException(nameof(BackendPool)));
    }

    internal TimeSpan Since(long timestamp) => _time.GetElapsedTime(timestamp);

    internal Backend[] Snapshot() => Read(_backends.ToArray);

    internal bool IsLeased(Backend backend) => backend.LeasedUntil is { } until && _time.GetTimestamp() < until;

    /// <summary>
    /// Serves waiters and raises <see cref="NextChange"/>. Call it, holding the gate, after anything that could matter to them.
    /// </summary>
    internal void OnChanged()
    {
        FollowHealth();
        foreach (var backend in _backends)
        {
            if (!IsUsable(backend) || backend.Drain is not null)
                backend.FreeSince = null;
        }

        foreach (var waiter in _waiters.Count > 0 ? _waiters.ToArray() : []) // None once disposed.
        {
            if (FindWhyNone(waiter.Requirements) is { } why)
            {
                // What a backend cannot do is learned when it comes up.
                _waiters.Remove(waiter);
                waiter.TrySetException(why);
            }
            else if (Choose(waiter.Requirements) is { } backend)
            {
                _waiters.Remove(waiter);
                if (!waiter.TrySetResult(Reserve(backend, waiter.Requirements)))
                    backend.IsBusy = false;
            }
        }

        _changed.Raise();
    }

    /// <summary>Why no backend can ever meet the requirements; null while one may.</summary>
    private ForgeException? FindWhyNone(BackendRequirements requirements)
    {
        if (_backends.Count == 0 || _backends.Exists(backend => backend.Suits(requirements)))
            return null;
        return new ForgeException(
            ForgeFailure.Unavailable,
            requirements.Backends is { } names && !_backends.Exists(backend => names.Any(backend.IsNamed))
                ? $"none of the backends is called {string.Join(" or ", names)}; see Forge:Models and Forge:Backends"
                : $"none of the backends for it can do {requirements.Task}");
    }

    private BackendReservation Reserve(Backend backend, BackendRequirements requirements)
    {
        backend.IsBusy = true;
        (backend.IsNoteOld, backend.IsNotedDoubted) = (true, false); // The claim writes the note.
        return new BackendReservation(this, backend, requirements);
    }

    /// <summary>
    /// The one that has the model loaded; else the one unused for longest: all backends get used, so that a dead one is noticed.
    /// </summary>
    private Backend? Choose(BackendRequirements requirements) => _isStopping || _isDisposed
        ? null
        : Candidates(requirements).Where(backend => backend.IsFree)
            .OrderBy(backend => backend.HasLoaded(requirements.Checkpoint) ? 0 : 1).ThenBy(backend => backend.LastUse).FirstOrDefault();

    /// <summary>Those that should serve the requirements, busy or not: a second choice is one only while there is no better.</summary>
    private IEnumerable<Backend> Candidates(BackendRequirements requirements)
    {
        var usable = _backends.Where(backend => IsUsable(backend) && backend.Suits(requirements))
            .Select(backend => (Backend: backend, Rank: backend.Rank(requirements))).ToList();
        return usable.Count == 0 ? [] : usable.Where(one => one.Rank == usable.Min(other => other.Rank)).Select(one => one.Backend);
    }

    private bool IsUsable(Backend backend) => backend.Health.IsClosed && !backend.IsPaused && IsLeased(backend);

    private void FollowPause(Backend backend, DateTimeOffset now)
    {
        var isPaused = _paused.Contains(backend.Name);
        if (backend.IsPaused == isPaused)
            return;
        backend.IsPaused = isPaused;
        backend.Health.SetPaused(isPaused, now);
        _leases.Wake();
        OnChanged();
    }

    private void Remove(Waiter waiter, CancellationToken cancellationToken)
    {
        lock (Gate)
            _waiters.Remove(waiter);
        waiter.TrySetCanceled(cancellationToken);
    }

    /// <summary>A request that waits. Its continuation never runs under the gate.</summary>
    private sealed class Waiter(long turn, long number, BackendRequirements requirements)
        : TaskCompletionSource<BackendReservation>(TaskCreationOptions.RunContinuationsAsynchronously)
    {
        public long Turn { get; } = turn;

        /// <summary>Among waiters of one turn, first come, first served.</summary>
        public long Number { get; } = number;

        public BackendRequirements Requirements { get; } = requirements;
    }
}
