using System.Globalization;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Messages;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace ImageQueue.Core.Backends;

/// <summary>
/// Lends out the Forge backends: one request at a time each, over all processes that share the database, healthy ones only.
/// About 40 waiting requests starve Forge's own progress and interrupt, so the waiting happens here.
/// </summary>
/// <remarks>
/// This file lends. <c>BackendPool.Health.cs</c> decides which backends are well, <c>BackendPool.Drain.cs</c> waits for what nobody
/// wants any more, <c>BackendPool.Care.cs</c> is the loop that does both for one backend, and <c>BackendPool.Leases.cs</c> holds the
/// leases in the database. One gate guards it all, and nothing is awaited under it.
/// </remarks>
public sealed partial class BackendPool : IDisposable
{
    private readonly IForgeClient _client;
    private readonly ILeaseStore _store;
    private readonly DatabaseReadiness _readiness;
    private readonly ForgeOptions _options;
    private readonly TimeProvider _time;
    private readonly ILogger<BackendPool> _logger;
    private readonly CancellationTokenSource _stop = new();

    private readonly Lock _gate = new();
    private readonly List<Slot> _slots = [];
    private readonly SortedSet<Waiter> _waiters = new(Comparer<Waiter>.Create((a, b) => (a.Turn, a.Number).CompareTo((b.Turn, b.Number))));
    private TaskCompletionSource _change = NewSignal();
    private HashSet<string> _paused = [];
    private DateTimeOffset? _noneHealthySince;
    private long _numbers;
    private bool _isCaredFor;
    private bool _isStopping;
    private bool _disposed;

    /// <summary>Makes a pool of the configured backends; <see cref="Add"/> adds more.</summary>
    /// <exception cref="OptionsValidationException">A backend's settings are wrong.</exception>
    public BackendPool(
        IForgeClient client, ILeaseStore store, DatabaseReadiness readiness, IOptions<ForgeOptions> options, TimeProvider time, ILogger<BackendPool> logger)
    {
        ArgumentNullException.ThrowIfNull(options);
        (_client, _store, _readiness, _options, _time, _logger) = (client, store, readiness, options.Value, time, logger);
        _noneHealthySince = time.GetUtcNow();
        foreach (var backend in _options.Backends)
        {
            Add(ToBackend(backend));
        }
    }

    /// <summary>How many images can be generated at once: the number of backends, healthy or not.</summary>
    public int Slots
    {
        get
        {
            lock (_gate)
                return _slots.Count;
        }
    }

    /// <summary>How many backends can be had at once: leased by this process, healthy, free, and not held back for somebody in line.</summary>
    public int Available
    {
        get
        {
            lock (_gate)
                return Candidates(BackendRequirements.Any).Count(slot => slot.IsFree);
        }
    }

    /// <summary>Completes at the next change of <see cref="Available"/>, of health or of the backends. Take it before reading those.</summary>
    public Task NextChange
    {
        get
        {
            lock (_gate)
                return _change.Task;
        }
    }

    /// <summary>Whether this process may generate with a backend, now or when it is free again. What is paused may not be generated with, and is no outage.</summary>
    public bool IsAnyUsable
    {
        get
        {
            lock (_gate)
                return _slots.Exists(IsUsable);
        }
    }

    /// <summary>Since when none is healthy; null while one is.</summary>
    public DateTimeOffset? NoneHealthySince
    {
        get
        {
            lock (_gate)
            {
                FollowHealth();
                return _noneHealthySince;
            }
        }
    }

    /// <summary>The backends themselves, in the order in which they were added, healthy or not.</summary>
    public IReadOnlyList<ForgeBackend> Backends
    {
        get
        {
            lock (_gate)
                return [.. _slots.Select(slot => slot.Backend)];
        }
    }

    /// <summary>Every backend's state, in the order in which they were added.</summary>
    public IReadOnlyList<BackendStatus> Status
    {
        get
        {
            lock (_gate)
            {
                return [.. _slots.Select(slot => new BackendStatus(
                    slot.Backend.Name,
                    slot.Backend.Url,
                    slot.Healthy,
                    slot.Busy,
                    slot.Draining is not null,
                    slot.LastError,
                    slot.Since,
                    slot.LoadedModel,
                    slot.Capabilities,
                    IsLeased(slot),
                    slot.Paused))];
            }
        }
    }

    /// <summary>Adds a backend: the simulator's address, for one, is known only once the server listens.</summary>
    /// <exception cref="ArgumentException">Its address is in the pool already; it would get two requests at once.</exception>
    public void Add(ForgeBackend backend)
    {
        ArgumentNullException.ThrowIfNull(backend);
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            var address = ForgeAddress.Of(backend.Url);
            if (_slots.Any(slot => ForgeAddress.Of(slot.Backend.Url) == address))
            {
                throw new ArgumentException($"{backend} is in the pool already.", nameof(backend));
            }

            var slot = new Slot(backend, _time.GetUtcNow()) { Paused = _paused.Contains(backend.Name) };
            _slots.Add(slot);
            if (_isCaredFor)
                _ = CareForAsync(slot, _stop.Token);
            Changed();
        }
    }

    /// <summary>
    /// Begins to ask the backends whether they are up, so that <see cref="Status"/> knows before the first request. Returns at
    /// once; wanting a backend does the same.
    /// </summary>
    public void ProbeUnknown()
    {
        lock (_gate)
        {
            if (_disposed || _isCaredFor)
                return;
            _isCaredFor = true;
            foreach (var slot in _slots)
                _ = CareForAsync(slot, _stop.Token);
            _ = KeepLeasesAsync(_stop.Token);
        }
    }

    /// <summary>Keeps a backend from being lent, or lets it be lent again; what is generated on it goes on.</summary>
    /// <returns>False when there is no backend of that name.</returns>
    public bool SetPaused(string name, bool paused)
    {
        lock (_gate)
        {
            if (_slots.Find(slot => IsNamed(slot, name)) is not { } slot)
                return false;
            if (slot.Paused == paused)
                return true;
            slot.Paused = paused;
            WakeLeases();
            Changed();
            return true;
        }
    }

    /// <summary>The same for all: those named are kept back, and no other; one that is added later is as its name says.</summary>
    public void SetPaused(IReadOnlyCollection<string> names)
    {
        lock (_gate)
        {
            _paused = new HashSet<string>(names, StringComparer.OrdinalIgnoreCase);
            foreach (var slot in _slots.ToArray())
                SetPaused(slot.Backend.Name, _paused.Contains(slot.Backend.Name));
        }
    }

    /// <summary>Asks a backend at once how it is.</summary>
    /// <returns>False when there is no backend of that name.</returns>
    public bool ProbeNow(string name)
    {
        ProbeUnknown();
        lock (_gate)
        {
            if (_slots.Find(slot => IsNamed(slot, name)) is not { } slot)
                return false;
            slot.MustProbe = true;
            Wake(slot);
            return true;
        }
    }

    /// <summary>A free healthy backend that suits the wish, or null.</summary>
    public BackendReservation? TryTake(BackendRequirements wish)
    {
        ArgumentNullException.ThrowIfNull(wish);
        ProbeUnknown();
        lock (_gate)
        {
            if (Choose(wish) is not { } slot)
                return null;
            var lease = Lend(slot, wish);
            Changed();
            return lease;
        }
    }

    /// <summary>Waits in line for a free healthy backend that suits the wish, for as long as it takes. Dispose the lease to give it back.</summary>
    /// <param name="turn">Those with a lower turn are served first.</param>
    /// <param name="wish">What is wanted of it.</param>
    /// <param name="cancellationToken">Leaves the line.</param>
    /// <exception cref="ForgeException"><see cref="ForgeFailure.Unavailable"/>: none of the backends can ever serve the wish.</exception>
    /// <exception cref="ObjectDisposedException">The pool is closing.</exception>
    public async Task<BackendReservation> AcquireAsync(long turn, BackendRequirements wish, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(wish);
        cancellationToken.ThrowIfCancellationRequested();
        ProbeUnknown();
        Waiter waiter;
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (_slots.Count > 0 && !_slots.Exists(slot => Suits(slot, wish)))
            {
                throw new ForgeException(
                    ForgeFailure.Unavailable, $"none of the backends is called {string.Join(" or ", wish.Backends ?? [])}; see Forge:Models and Forge:Backends");
            }

            waiter = new Waiter(turn, ++_numbers, wish);
            _waiters.Add(waiter);
            Changed();
        }

        await using var registration = cancellationToken.UnsafeRegister(_ => Leave(waiter, cancellationToken), null);
        return await waiter.Task;
    }

    /// <summary>Stops all care for the backends, and ends the wait of everybody in line.</summary>
    public void Dispose()
    {
        Waiter[] waiting;
        Drain[] draining;
        lock (_gate)
        {
            if (_disposed)
                return;
            _disposed = true;
            waiting = [.. _waiters];
            _waiters.Clear();
            draining = [.. _slots.Select(slot => slot.Draining).OfType<Drain>()];
        }

        _stop.Cancel();
        _stop.Dispose();
        foreach (var drain in draining)
            drain.Close(_logger);
        foreach (var waiter in waiting)
            waiter.TrySetException(new ObjectDisposedException(nameof(BackendPool)));
    }

    internal static ForgeBackend ToBackend(ForgeBackendOptions options)
    {
        if (options.Url is not { IsAbsoluteUri: true } url)
        {
            throw new OptionsValidationException(
                nameof(ForgeOptions), typeof(ForgeOptions), ["Forge:Backends:n:Url must be an address such as http://gpu1:7860."]);
        }

        // http://user:password@host is understood, but the password goes no further than the header.
        var (user, password) = (options.Username, options.Password);
        if (user is null && url.UserInfo.Split(':', 2) is [{ Length: > 0 } name, .. var rest])
        {
            (user, password) = (Uri.UnescapeDataString(name), Uri.UnescapeDataString(string.Concat(rest)));
        }

        return new ForgeBackend(
            string.IsNullOrWhiteSpace(options.Name) ? string.Create(CultureInfo.InvariantCulture, $"{url.Host}:{url.Port}") : options.Name,
            ForgeAddress.Normalize(url),
            user,
            password)
        {
            Shared = options.Shared,
            CertificateAuthority = options.CertificateAuthority,
            CertificateFingerprint = options.CertificateFingerprint,
        };
    }

    internal void Release(Slot slot, bool isJudged)
    {
        lock (_gate)
        {
            if (!isJudged)
                slot.UnverifiedSince = _time.GetTimestamp();
            slot.Busy = false;
            slot.NextSent = NewSignal();
            slot.LastUse = ++_numbers;
            slot.FreeSince = slot.IdleSince = _time.GetTimestamp();

            // The lease came back while this was being generated, with a note of what its other holder left.
            if (slot.LeftBehind is { } taskId)
                Begin(slot, new Drain(taskId));
            slot.LeftBehind = null;
            if (!IsUsable(slot))
                WakeLeases();
            Changed();
        }
    }

    internal TimeSpan Since(long timestamp) => _time.GetElapsedTime(timestamp);

    /// <summary>Serves those in line, and tells those who watch. Call it, holding the gate, after anything that could matter to them.</summary>
    private void Changed()
    {
        FollowHealth();
        foreach (var slot in _slots)
        {
            if (!IsUsable(slot) || slot.Draining is not null)
                slot.FreeSince = null;
        }

        if (!_disposed && _waiters.Count > 0)
        {
            foreach (var waiter in _waiters.ToArray())
            {
                if (Choose(waiter.Wish) is not { } slot)
                    continue;
                _waiters.Remove(waiter);
                if (!waiter.TrySetResult(Lend(slot, waiter.Wish)))
                    slot.Busy = false;
            }
        }

        var change = _change;
        _change = NewSignal();
        change.TrySetResult();
    }

    private BackendReservation Lend(Slot slot, BackendRequirements wish)
    {
        slot.Busy = true;
        slot.NoteIsOld = true;
        return new BackendReservation(this, slot, wish);
    }

    private Slot? Choose(BackendRequirements wish) =>
        // The warm one; else the one that has rested longest: all GPUs get used, so a dead one is noticed.
        _isStopping || _disposed
            ? null
            : Candidates(wish).Where(slot => slot.IsFree).OrderBy(slot => IsWarm(slot, wish) ? 0 : 1).ThenBy(slot => slot.LastUse).FirstOrDefault();

    /// <summary>Those that the wish should be served by, busy or not: a second choice is one only while there is no better.</summary>
    private IEnumerable<Slot> Candidates(BackendRequirements wish)
    {
        var usable = _slots.Where(slot => IsUsable(slot) && Suits(slot, wish)).Select(slot => (Slot: slot, Rank: Rank(slot, wish))).ToList();
        return usable.Count == 0 ? [] : usable.Where(one => one.Rank == usable.Min(other => other.Rank)).Select(one => one.Slot);
    }

    private bool IsUsable(Slot slot) => slot is { Healthy: true, Paused: false } && IsLeased(slot);

    private static bool Suits(Slot slot, BackendRequirements wish) => wish.Backends is not { } names || names.Any(name => IsNamed(slot, name));

    /// <summary>What speaks against a backend, the worst first: it lacks the model, it failed this request, it is under suspicion.</summary>
    private int Rank(Slot slot, BackendRequirements wish) =>
        (wish.Checkpoint is { } checkpoint && slot.Capabilities.HasModel(checkpoint) == false ? 4 : 0)
        + (wish.Except is { } except && except.Any(name => IsNamed(slot, name)) ? 2 : 0)
        + (IsSuspect(slot) ? 1 : 0);

    private static bool IsWarm(Slot slot, BackendRequirements wish) =>
        wish.Checkpoint is { } checkpoint && slot.LoadedModel is { } loaded && ForgeNames.Model(loaded) == ForgeNames.Model(slot.Capabilities.FindModel(checkpoint) ?? checkpoint);

    private static bool IsNamed(Slot slot, string name) => string.Equals(slot.Backend.Name, name, StringComparison.OrdinalIgnoreCase);

    private void Leave(Waiter waiter, CancellationToken cancellationToken)
    {
        lock (_gate)
            _waiters.Remove(waiter);
        waiter.TrySetCanceled(cancellationToken);
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>One backend and what is known of it; guarded by the gate.</summary>
    internal sealed class Slot(ForgeBackend backend, DateTimeOffset since)
    {
        public ForgeBackend Backend { get; } = backend;

        public string LeaseName { get; } = ForgeAddress.LeaseName(backend.Url);

        public ForgeCapabilities Capabilities { get; set; } = ForgeCapabilities.Unknown;

        public string? LoadedModel { get; set; }

        public bool? Healthy { get; set; }

        public bool Busy { get; set; }

        /// <summary>Completes when the one who is lent it next has sent a request.</summary>
        public TaskCompletionSource NextSent { get; set; } = NewSignal();

        public bool Paused { get; set; }

        public string? LastError { get; set; }

        public DateTimeOffset Since { get; set; } = since;

        public long LastUse { get; set; }

        /// <summary>Whether it can be lent, were it healthy.</summary>
        public bool IsFree => this is { Busy: false, Draining: null, IsBeingNoted: false };

        /// <summary>Wakes the loop that cares for it.</summary>
        public TaskCompletionSource Wake { get; set; } = NewSignal();

        // Health: see BackendPool.Health.cs.

        /// <summary>Raised with each trouble, so that the answer to an earlier probe cannot speak for later trouble.</summary>
        public int Troubles { get; set; }

        /// <summary>Failures since something was generated here: pauses grow by it.</summary>
        public int FailuresInARow { get; set; }

        /// <summary>Until when a backend that answers probes is left alone all the same: it answered them when it failed, too.</summary>
        public long? RestsUntil { get; set; }

        public long? LastProbe { get; set; }

        /// <summary>What operators were told last: why it is down, "" when it is up, null when nothing yet.</summary>
        public string? Announced { get; set; }

        /// <summary>Requests that failed here in a row and of which nobody knows yet whose fault it is.</summary>
        public List<string> Failed { get; } = [];

        public int GeneratedElsewhere { get; set; }

        public long LastFailure { get; set; }

        /// <summary>Since when it is not known how its last answer was; null when that is known.</summary>
        public long? UnverifiedSince { get; set; }

        // Leases: see BackendPool.Leases.cs.

        /// <summary>By this process's clock; null when it has not the lease.</summary>
        public long? LeasedUntil { get; set; }

        /// <summary>Whether the lease's note names a task that has been answered, or none that was ever sent.</summary>
        public bool NoteIsOld { get; set; }

        public bool IsBeingNoted { get; set; }

        public long IdleSince { get; set; }

        /// <summary>Since when a request could have had it, after another; null when something else has kept it since.</summary>
        public long? FreeSince { get; set; }

        /// <summary>Whether an operator wants to know now.</summary>
        public bool MustProbe { get; set; }

        // Draining: see BackendPool.Drain.cs.

        public Drain? Draining { get; set; }

        public string? LeftBehind { get; set; }
    }

    /// <summary>One in line. Its continuation never runs under the gate.</summary>
    private sealed class Waiter(long turn, long number, BackendRequirements wish) : TaskCompletionSource<BackendReservation>(TaskCreationOptions.RunContinuationsAsynchronously)
    {
        public long Turn { get; } = turn;

        /// <summary>Among those of one turn, first come, first served.</summary>
        public long Number { get; } = number;

        public BackendRequirements Wish { get; } = wish;
    }
}
