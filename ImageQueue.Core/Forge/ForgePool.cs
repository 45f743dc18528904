using System.Globalization;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace ImageQueue.Core.Forge;

/// <summary>
/// Lends out the Forge backends: one request at a time each, first come first served, healthy ones only. About 40 waiting
/// requests starve Forge's own progress and interrupt, so the waiting happens here.
/// </summary>
/// <remarks>
/// Health is learnt from use. A backend that nobody asked yet is probed when somebody wants it; one that failed is probed
/// in the background, after 1 s, 2 s, 4 s ... 15 s, until it answers; one that is healthy is never probed.
/// </remarks>
public sealed class ForgePool : IDisposable
{
    private static readonly TimeSpan FirstPause = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(15);

    private readonly IForgeClient _client;
    private readonly TimeProvider _time;
    private readonly ILogger<ForgePool> _logger;
    private readonly CancellationTokenSource _stop = new();
    private readonly ITimer _deadlineTimer;

    private readonly Lock _gate = new();
    private readonly List<Slot> _slots = [];
    private readonly LinkedList<Waiter> _waiters = new();
    private long _uses;
    private bool _disposed;

    // A clock that runs only while no backend is healthy: waiters wait by it.
    private TimeSpan _downTime;
    private long? _downSince;

    /// <summary>Makes a pool of the configured backends; <see cref="Add"/> adds more.</summary>
    /// <exception cref="OptionsValidationException">A backend's settings are wrong.</exception>
    public ForgePool(IForgeClient client, IOptions<ForgeOptions> options, TimeProvider time, ILogger<ForgePool> logger)
    {
        ArgumentNullException.ThrowIfNull(options);
        _client = client;
        _time = time;
        _logger = logger;
        _downSince = time.GetTimestamp();
        _deadlineTimer = time.CreateTimer(_ => GiveUpOverdue(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        foreach (var backend in options.Value.Backends)
        {
            Add(ToBackend(backend));
        }
    }

    /// <summary>How many pictures can be painted at once: the number of backends, healthy or not.</summary>
    public int Slots
    {
        get
        {
            lock (_gate) return _slots.Count;
        }
    }

    /// <summary>The backends themselves, in the order in which they were added, healthy or not.</summary>
    public IReadOnlyList<ForgeBackend> Backends
    {
        get
        {
            lock (_gate) return [.. _slots.Select(slot => slot.Backend)];
        }
    }

    /// <summary>Every backend's state, in the order in which they were added.</summary>
    public IReadOnlyList<ForgeBackendStatus> Status
    {
        get
        {
            lock (_gate)
            {
                return [.. _slots.Select(slot => new ForgeBackendStatus(
                    slot.Backend.Name, slot.Backend.Url, slot.Healthy, slot.Busy, slot.LastError, slot.Since))];
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
            if (_slots.Any(slot => slot.Backend.Url == backend.Url))
            {
                throw new ArgumentException($"{backend} is in the pool already.", nameof(backend));
            }

            _slots.Add(new Slot(backend, _time.GetUtcNow()));
            if (_waiters.Count > 0) ProbeUnknown();
        }
    }

    /// <summary>
    /// Asks the backends that nobody has asked yet whether they are up, so that <see cref="Status"/> knows before the first
    /// request. Returns at once.
    /// </summary>
    public void ProbeUnknown()
    {
        lock (_gate)
        {
            if (_disposed) return;
            foreach (var slot in _slots)
            {
                if (slot.Healthy is null && slot.Probing is null) StartProbing(slot, TimeSpan.Zero);
            }
        }
    }

    /// <summary>Waits in line for a backend that is healthy and free, and takes it. Dispose the lease to give it back.</summary>
    /// <param name="wait">
    /// Longest time to wait while no backend is healthy. Waiting for a healthy one that is merely busy does not count.
    /// </param>
    /// <param name="cancellationToken">Leaves the line.</param>
    /// <exception cref="ForgeException"><see cref="ForgeFailure.Unavailable"/>: no backend was healthy for <paramref name="wait"/>.</exception>
    /// <exception cref="ObjectDisposedException">The pool is closing.</exception>
    public async Task<ForgeLease> AcquireAsync(TimeSpan wait, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        Waiter waiter;
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            waiter = new Waiter(Sum(DownTime(), wait));
            _waiters.AddLast(waiter);
            ProbeUnknown();
            HandOver();
            ArmDeadline();
        }

        await using var registration = cancellationToken.UnsafeRegister(_ => Leave(waiter, cancellationToken), null);
        return await waiter.Task;
    }

    /// <summary>Stops probing, and ends the wait of everybody in line.</summary>
    public void Dispose()
    {
        Waiter[] waiting;
        lock (_gate)
        {
            if (_disposed) return;
            _disposed = true;
            waiting = [.. _waiters];
            _waiters.Clear();
        }

        _stop.Cancel();
        _stop.Dispose();
        _deadlineTimer.Dispose();
        foreach (var waiter in waiting)
        {
            waiter.TrySetException(new ObjectDisposedException(nameof(ForgePool)));
        }
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
            new UriBuilder(url) { UserName = "", Password = "" }.Uri,
            user,
            password);
    }

    internal void Release(Slot slot)
    {
        lock (_gate)
        {
            slot.Busy = false;
            slot.LastUse = ++_uses;

            // A use without a report is a good one: the next trouble starts with the shortest pause again.
            if (slot.Healthy == true && !slot.ReportedInUse) slot.FailuresInARow = 0;
            HandOver();
        }
    }

    internal void MarkDown(Slot slot, string reason)
    {
        lock (_gate)
        {
            if (_disposed) return;
            slot.ReportedInUse = true;
            SetUnhealthy(slot, reason);
            StartProbing(slot, NextPause(slot));
        }
    }

    /// <summary>Gives free healthy backends to those first in line. Call it, holding the gate, after anything that could let it.</summary>
    private void HandOver()
    {
        while (!_disposed && _waiters.First is { } first)
        {
            // The one that has rested longest: all GPUs get used, so a dead one is noticed and a live one stays warm.
            var slot = _slots.Where(s => s is { Healthy: true, Busy: false }).MinBy(s => s.LastUse);
            if (slot is null) return;

            _waiters.RemoveFirst();
            slot.Busy = true;
            slot.ReportedInUse = false;
            if (!first.Value.TrySetResult(new ForgeLease(this, slot))) slot.Busy = false;
        }
    }

    private void Leave(Waiter waiter, CancellationToken cancellationToken)
    {
        lock (_gate) _waiters.Remove(waiter);
        waiter.TrySetCanceled(cancellationToken);
    }

    private void StartProbing(Slot slot, TimeSpan pause)
    {
        // Every start is a fresh token object, so that an answer to an earlier question cannot speak for later trouble.
        var probing = new object();
        slot.Probing = probing;
        _ = ProbeUntilHealthyAsync(slot, probing, pause, _stop.Token);
    }

    private async Task ProbeUntilHealthyAsync(Slot slot, object probing, TimeSpan pause, CancellationToken stop)
    {
        // Off the caller's lock and thread before anything else.
        await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        try
        {
            while (true)
            {
                if (pause > TimeSpan.Zero) await Task.Delay(pause, _time, stop);
                var trouble = await ProbeAsync(slot.Backend, stop);
                lock (_gate)
                {
                    if (_disposed || slot.Probing != probing) return;
                    if (trouble is null)
                    {
                        slot.Probing = null;
                        SetHealthy(slot);
                        HandOver();
                        return;
                    }

                    SetUnhealthy(slot, trouble);
                    pause = NextPause(slot);
                }
            }
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // The pool is closing.
        }
    }

    private async Task<string?> ProbeAsync(ForgeBackend backend, CancellationToken stop)
    {
        try
        {
            return await _client.IsHealthyAsync(backend, stop)
                ? null
                : _client.WhyUnhealthy(backend) ?? "it does not answer";
        }
        catch (Exception exception) when (!stop.IsCancellationRequested)
        {
            // The client promises not to throw. If it does, the backend must not be lost for good.
            _logger.LogError(exception, "Probing {Backend} failed.", backend);
            return exception.Message;
        }
    }

    /// <summary>1 s, 2 s, 4 s, 8 s, 15 s, 15 s ... for failures in a row, of probes and of use alike: a server that answers probes but drops every request is left alone longer and longer.</summary>
    private static TimeSpan NextPause(Slot slot)
    {
        var pause = FirstPause * Math.Pow(2, Math.Min(slot.FailuresInARow, 10));
        slot.FailuresInARow++;
        return pause < LongestPause ? pause : LongestPause;
    }

    private void SetHealthy(Slot slot)
    {
        if (slot.Healthy == false) _logger.LogInformation("Forge {Backend} is up again.", slot.Backend);
        else _logger.LogInformation("Forge {Backend} is up.", slot.Backend);
        slot.Healthy = true;
        slot.Since = _time.GetUtcNow();
        FollowHealth();
    }

    private void SetUnhealthy(Slot slot, string reason)
    {
        if (slot.Healthy != false || !string.Equals(slot.LastError, reason, StringComparison.Ordinal))
        {
            _logger.LogWarning("Forge {Backend} is down: {Reason}.", slot.Backend, reason.TrimEnd('.'));
        }

        if (slot.Healthy != false) slot.Since = _time.GetUtcNow();
        slot.Healthy = false;
        slot.LastError = reason;
        FollowHealth();
    }

    /// <summary>Starts or stops the clock of those in line.</summary>
    private void FollowHealth()
    {
        var anyHealthy = _slots.Any(slot => slot.Healthy == true);
        if (anyHealthy && _downSince is { } since)
        {
            _downTime += _time.GetElapsedTime(since);
            _downSince = null;
        }
        else if (!anyHealthy && _downSince is null)
        {
            _downSince = _time.GetTimestamp();
        }

        ArmDeadline();
    }

    private TimeSpan DownTime() => _downSince is { } since ? _downTime + _time.GetElapsedTime(since) : _downTime;

    private void ArmDeadline()
    {
        if (_disposed) return;
        var due = Timeout.InfiniteTimeSpan;
        if (_downSince is not null && _waiters.Count > 0)
        {
            var left = _waiters.Min(waiter => waiter.Deadline) - DownTime();

            // A timer takes 49 days at most; if it rings early it is set again.
            due = left <= TimeSpan.Zero ? TimeSpan.Zero : left < TimeSpan.FromDays(1) ? left : TimeSpan.FromDays(1);
        }

        _deadlineTimer.Change(due, Timeout.InfiniteTimeSpan);
    }

    private void GiveUpOverdue()
    {
        lock (_gate)
        {
            if (_disposed || _downSince is null) return;
            var now = DownTime();
            foreach (var waiter in _waiters.Where(waiter => waiter.Deadline <= now).ToList())
            {
                _waiters.Remove(waiter);
                waiter.TrySetException(new ForgeException(ForgeFailure.Unavailable, DescribeOutage()));
            }

            ArmDeadline();
        }
    }

    private string DescribeOutage()
    {
        if (_slots.Count == 0) return "no Forge is configured (Forge:Backends:0:Url)";
        var backends = _slots.Select(slot => string.Create(
            CultureInfo.InvariantCulture,
            $"{slot.Backend} is down since {slot.Since.UtcDateTime:yyyy-MM-dd HH:mm:ss} UTC ({slot.LastError ?? "it does not answer"})"));
        return $"no Forge is available: {string.Join("; ", backends)}";
    }

    /// <summary>Now and the wait, where an endless wait (negative or the largest) stays endless.</summary>
    private static TimeSpan Sum(TimeSpan now, TimeSpan wait) =>
        wait < TimeSpan.Zero || wait > TimeSpan.MaxValue - now ? TimeSpan.MaxValue : now + wait;

    /// <summary>One backend and what is known of it; guarded by the gate.</summary>
    internal sealed class Slot(ForgeBackend backend, DateTimeOffset since)
    {
        public ForgeBackend Backend { get; } = backend;

        public bool? Healthy { get; set; }

        public bool Busy { get; set; }

        public string? LastError { get; set; }

        public DateTimeOffset Since { get; set; } = since;

        public int FailuresInARow { get; set; }

        public bool ReportedInUse { get; set; }

        public long LastUse { get; set; }

        /// <summary>The probing that may speak for this backend; null when none is under way.</summary>
        public object? Probing { get; set; }
    }

    /// <summary>One in line. Its continuation never runs under the gate.</summary>
    private sealed class Waiter(TimeSpan deadline) : TaskCompletionSource<ForgeLease>(TaskCreationOptions.RunContinuationsAsynchronously)
    {
        /// <summary>By the clock that runs only while no backend is healthy.</summary>
        public TimeSpan Deadline { get; } = deadline;
    }
}
