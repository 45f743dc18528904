using Hangfire;
using Hangfire.States;
using ImageQueue.Core.Messages;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Queue;

/// <summary>
/// Keeps one line of all that wait, for all readers: read from Hangfire once, then kept up to date by what this process does to
/// the queue, and read again now and then, since other machines change it too and hints may deceive.
/// </summary>
/// <remarks>
/// Hangfire is never read twice at once, and a shared queue at most once a second, only while somebody asks. What this process
/// itself does is in the very next snapshot without reading anything: who has submitted sees the own position, and after a
/// cancel everyone behind has moved up.
/// </remarks>
public sealed class QueueOrder(IQueueReader reader, JobStorage storage, HeldJobs held, TimeProvider time, ILogger<QueueOrder> logger) : IQueueOrder
{
    /// <summary>How long a snapshot is served while this process changes nothing.</summary>
    private static readonly TimeSpan SnapshotAge = TimeSpan.FromSeconds(1);

    /// <summary>How long a state that was announced may take to be committed, before the announcement is forgotten.</summary>
    private static readonly TimeSpan CommitTime = TimeSpan.FromSeconds(5);

    /// <summary>How long after a job was put back into the queue the queue is read for its place.</summary>
    private static readonly TimeSpan RequeueTime = TimeSpan.FromSeconds(0.2);

    /// <summary>More than a worker can take between the commit of an enqueue and the note of its place.</summary>
    private const int Remembered = 64;

    private readonly MessageSignal _changed = new();
    private readonly Lock _enqueuing = new();
    private long _version;
    private Latest? _latest;

    // All that follows is guarded by this lock, which is never held while Hangfire is read.
    private readonly Lock _lock = new();
    private readonly Dictionary<string, Announcement> _announced = new(StringComparer.Ordinal);
    private readonly Queue<string> _leftLately = new(Remembered);
    private WaitingLine? _line;
    private DateTimeOffset _readAt;
    private long _readBegan;
    private TimeSpan _readTook;
    private bool _isInDoubt;
    private Reading? _reading;

    /// <inheritdoc/>
    public Task NextChange => _changed.Next;

    /// <inheritdoc/>
    public void Changed()
    {
        Interlocked.Increment(ref _version);
        _changed.Raise();
    }

    /// <inheritdoc/>
    public string Enqueue(Func<string> enqueue)
    {
        ArgumentNullException.ThrowIfNull(enqueue);
        if (!reader.IsPrivate)
            return NotePlace(enqueue());
        // One at a time: whose job is noted first is first in Hangfire too.
        lock (_enqueuing)
            return NotePlace(enqueue());
    }

    /// <inheritdoc/>
    public ValueTask<QueueSnapshot> GetAsync(CancellationToken cancellationToken)
    {
        if (Volatile.Read(ref _latest) is { } latest
            && latest.Version == Interlocked.Read(ref _version)
            && time.GetElapsedTime(latest.Taken) < SnapshotAge)
        {
            return ValueTask.FromResult(latest.Snapshot);
        }

        return ReadIfDue() is { } reading ? AfterAsync(reading, cancellationToken) : ValueTask.FromResult(TakeSnapshot());
    }

    /// <summary>A job is about to come to a state, if its transaction commits.</summary>
    internal void Announce(string hangfireJobId, string state, bool isNew)
    {
        lock (_lock)
        {
            if (_line is null && _reading is null)
                return; // Nobody has asked yet; the first read will see it.
            var announcement = new Announcement(state, IsRequeue: !isNew && state == EnqueuedState.StateName, time.GetTimestamp());
            _announced[hangfireJobId] = announcement;
            if (_reading is not null)
                _reading.Announced[hangfireJobId] = announcement;
        }

        Changed();
    }

    private string NotePlace(string hangfireJobId)
    {
        lock (_lock)
        {
            if (_announced.TryGetValue(hangfireJobId, out var announcement) && announcement.State == EnqueuedState.StateName)
                _announced.Remove(hangfireJobId); // It has come true.
            // An idle worker may have been quicker than this thread.
            if (!_leftLately.Contains(hangfireJobId))
            {
                _line?.Join(hangfireJobId);
                _reading?.Enqueued.Add(hangfireJobId);
            }
        }

        Changed();
        return hangfireJobId;
    }

    private QueueSnapshot TakeSnapshot()
    {
        lock (_lock)
        {
            var line = _line ?? throw new InvalidOperationException("The queue has not been read yet.");
            // Before anything is looked at: a change that comes meanwhile makes the next reader look again.
            var version = Interlocked.Read(ref _version);
            Settle(line);
            var taken = held.InOrder();
            var snapshot = new QueueSnapshot(taken, line.ViewWithout(taken), reader.IsPrivate ? time.GetUtcNow() : _readAt);
            Volatile.Write(ref _latest, new Latest(snapshot, _announced.Count == 0 ? version : -1, time.GetTimestamp()));
            return snapshot;
        }
    }

    /// <summary>Brings what was announced into the line, as far as it has come true.</summary>
    private void Settle(WaitingLine line)
    {
        if (_announced.Count == 0)
            return;
        List<string>? settled = null;
        foreach (var (job, announcement) in _announced)
        {
            if (IsSettled(line, job, announcement))
                (settled ??= []).Add(job);
        }

        foreach (var job in settled ?? [])
            _announced.Remove(job);
    }

    private bool IsSettled(WaitingLine line, string job, Announcement announcement)
    {
        var age = time.GetElapsedTime(announcement.At);
        var state = reader.IsPrivate ? StateOf(job) : announcement.State;
        var waits = state == EnqueuedState.StateName || state == ScheduledState.StateName;
        var isThere = line.Contains(job);
        var isAboutToWait = announcement.State == EnqueuedState.StateName;
        if (!waits && isThere)
            line.Leave(job);
        if (!waits && !isAboutToWait)
            RememberLeaving(job);

        if (announcement.IsRequeue)
        {
            // It has an entry at the tail now, and perhaps an earlier one still. Only Hangfire knows, once it has committed.
            _isInDoubt |= age >= RequeueTime;
            return age >= RequeueTime;
        }

        if (waits && !isThere && isAboutToWait && age >= RequeueTime)
        {
            _isInDoubt = true; // Enqueued without asking us.
            return true;
        }

        var hasComeTrue = isAboutToWait ? waits && isThere : !waits;
        return hasComeTrue || age >= CommitTime;
    }

    private void RememberLeaving(string job)
    {
        if (_leftLately.Count == Remembered)
            _leftLately.Dequeue();
        _leftLately.Enqueue(job);
    }

    private string? StateOf(string hangfireJobId)
    {
        using var connection = storage.GetReadOnlyConnection();
        return connection.GetStateData(hangfireJobId)?.Name;
    }

    /// <returns>The read to wait for; null when what is known will do.</returns>
    private Task? ReadIfDue()
    {
        lock (_lock)
        {
            var age = time.GetElapsedTime(_readBegan);
            var mustWait = _line is null || age > Patience;
            if (_reading is null && (mustWait || age >= (_isInDoubt ? SnapshotAge : ReadInterval)))
                BeginReading();

            return mustWait ? _reading!.Task : null; // One was under way, or was just begun.
        }
    }

    /// <summary>Reads the queue now, if nobody is just doing that.</summary>
    internal Task ReadNowAsync()
    {
        lock (_lock)
            return (_reading ?? BeginReading()).Task;
    }

    private Reading BeginReading()
    {
        // What was announced and has not come true may do so behind the read's back.
        var reading = _reading = new Reading(_announced);
        reading.Task = Task.Run(() => ReadAsync(reading));
        return reading;
    }

    /// <summary>A read takes at most a fifth of the time where others change the queue too, and a thousandth where nobody does.</summary>
    private TimeSpan ReadInterval => reader.IsPrivate
        ? TimeSpan.FromSeconds(Math.Clamp(_readTook.TotalSeconds * 1000, 10, 600))
        : TimeSpan.FromSeconds(Math.Max(_readTook.TotalSeconds * 5, 1));

    /// <summary>How old the last read may be before readers wait for the next: nobody asked for a while, and much may have happened.</summary>
    private TimeSpan Patience => reader.IsPrivate ? TimeSpan.MaxValue : (2 * ReadInterval) + _readTook;

    private async ValueTask<QueueSnapshot> AfterAsync(Task reading, CancellationToken cancellationToken)
    {
        await reading.WaitAsync(cancellationToken);
        return TakeSnapshot();
    }

    private async Task ReadAsync(Reading reading)
    {
        try
        {
            var (began, at) = (time.GetTimestamp(), time.GetUtcNow());
            var order = await reader.ReadAsync(CancellationToken.None);
            foreach (var job in held.NotBegun(CommitTime).Where(job => StateOf(job) != ProcessingState.StateName))
                held.Drop(job); // Its worker failed to begin it, and has given it back.
            var line = new WaitingLine([.. JustTaken(order, reading), .. order]);
            lock (_lock)
            {
                foreach (var job in reading.Enqueued)
                    line.Join(job);
                foreach (var (job, announcement) in reading.Announced)
                    _announced.TryAdd(job, announcement);
                (_line, _readAt, _readBegan, _readTook, _isInDoubt) = (line, at, began, time.GetElapsedTime(began), false);
            }

            Changed();
        }
        catch (Exception e)
        {
            // A database that is away is said once, by who waits for it; everyone who asks here gets the exception.
            logger.Log(e is StoreUnavailableException ? LogLevel.Debug : LogLevel.Warning, e, "Hangfire's queue could not be read.");
            throw;
        }
        finally
        {
            lock (_lock)
                _reading = null;
        }
    }

    /// <summary>
    /// Who was near the head, is not in the queue any more and has not begun: a worker has just taken it, and it is still ahead.
    /// </summary>
    private List<string> JustTaken(IReadOnlyList<string> order, Reading reading)
    {
        var inQueue = order.ToHashSet(StringComparer.Ordinal);
        List<string> first;
        lock (_lock)
            first = [.. (_line?.First(Remembered) ?? []).Except(reading.Enqueued)];
        return first.FindAll(job => !inQueue.Contains(job) && StateOf(job) == EnqueuedState.StateName);
    }

    /// <param name="State">Hangfire's name of it.</param>
    /// <param name="IsRequeue">Whether a job that was somewhere else is put into the queue.</param>
    /// <param name="At">The time's timestamp.</param>
    private readonly record struct Announcement(string State, bool IsRequeue, long At);

    /// <param name="Snapshot">The snapshot.</param>
    /// <param name="Version">What it reflects; -1 when something announced has not come true yet.</param>
    /// <param name="Taken">The time's timestamp.</param>
    private sealed record Latest(QueueSnapshot Snapshot, long Version, long Taken);

    /// <summary>A read under way, and what happened meanwhile.</summary>
    private sealed class Reading(IDictionary<string, Announcement> announced)
    {
        public Task Task { get; set; } = Task.CompletedTask;

        public List<string> Enqueued { get; } = [];

        public Dictionary<string, Announcement> Announced { get; } = new(announced, StringComparer.Ordinal);
    }
}
