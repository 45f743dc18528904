using Hangfire;
using Hangfire.States;
using Hangfire.Storage;
using ImageQueue.Core.Hosting;

namespace ImageQueue.Core.Queue;

/// <summary>
/// The order of a queue in this process's memory (Hangfire.InMemory). It hears of every change, so Hangfire is never asked for
/// its queue: listing 100,000 jobs takes it half a second, under the lock that its writers need.
/// </summary>
/// <remarks>
/// Each waiting job has an entry in Hangfire's queue, which wakes a worker and shows the job in the dashboard. Which job the worker
/// gets is decided here: Hangfire's own queue has only a tail, and keeps the entries of deleted jobs (Hangfire #2407).
/// </remarks>
internal sealed class InMemoryQueueOrder(JobStorage storage, TimeProvider time, QueueOrder kind = QueueOrder.Fifo) : IQueueOrder
{
    /// <summary>How long an announced state may take to be committed before the announcement is dropped.</summary>
    private static readonly TimeSpan CommitTime = TimeSpan.FromSeconds(5);

    /// <summary>More than workers can claim between the commit of an enqueue and the note of its place.</summary>
    private const int Remembered = 64;

    private readonly AsyncSignal _changed = new();
    private readonly Lock _enqueuing = new();

    // All that follows is guarded by this lock.
    private readonly Lock _lock = new();
    private readonly QueueIndex _index = new();
    private readonly FairTurns? _turns = kind == QueueOrder.FairShare ? new FairTurns() : null;
    private readonly Dictionary<string, Announcement> _announced = new(StringComparer.Ordinal);
    private readonly Queue<Guid> _removedLately = new(Remembered);

    // Claimed jobs and their places: given back, they get them again.
    private readonly Dictionary<Guid, long> _claimed = [];

    // Dequeued and not claimed yet: no one moves or dequeues them.
    private readonly Dictionary<Guid, FetchedJob> _reserved = [];

    // Entries in Hangfire's queue beyond the one of each waiting job that is not reserved.
    private readonly Dictionary<Guid, int> _extraEntries = [];
    private long _lastNumber;
    private QueueSnapshot? _latest;

    public bool UsesUsers => _turns is not null;

    public Task NextChange => _changed.Next;

    public void Invalidate()
    {
        lock (_lock)
            _latest = null;
        _changed.Raise();
    }

    public string Enqueue(string? user, Func<string, string> enqueue)
    {
        ArgumentNullException.ThrowIfNull(enqueue);
        return EnqueueAll([user], () => [enqueue(ImageJobs.QueueName)])[0];
    }

    public IReadOnlyList<string> EnqueueAll(IReadOnlyList<string?> users, Func<IReadOnlyList<string>> enqueue)
    {
        ArgumentNullException.ThrowIfNull(users);
        ArgumentNullException.ThrowIfNull(enqueue);
        IReadOnlyList<string> ids;
        // One at a time: the job that is noted first is first in Hangfire too.
        lock (_enqueuing)
        {
            ids = enqueue();
            lock (_lock)
            {
                for (var i = 0; i < ids.Count; i++)
                {
                    _announced.Remove(ids[i]); // It has come true.
                    // An idle worker may have been quicker than this thread.
                    if (JobKey.Parse(ids[i]) is var job && !_removedLately.Contains(job))
                        AddLast(job, users[i] ?? ids[i]);
                }
            }
        }

        Invalidate();
        return ids;
    }

    public ValueTask<QueueSnapshot> GetAsync(CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            Settle();
            return ValueTask.FromResult(_latest ??= new QueueSnapshot(_index.Now, time.GetUtcNow()) { IsLive = true });
        }
    }

    public IFetchedJob Fetch(IStorageConnection connection, string[] queues, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(connection);
        while (true)
        {
            using var entry = connection.FetchNextJob(queues, cancellationToken);
            if (Exchange(entry) is { } fetched)
                return fetched;
        }
    }

    public void Remove(string hangfireJobId)
    {
        var job = JobKey.Parse(hangfireJobId);
        lock (_lock)
        {
            var hasEntry = !_reserved.Remove(job);
            if (Leave(job) is { } place)
            {
                _claimed[job] = place; // Forgotten when a cancel's state is committed.
                if (hasEntry)
                    AddExtraEntry(job);
            }

            if (_removedLately.Count == Remembered)
                _removedLately.Dequeue();
            _removedLately.Enqueue(job);
        }

        Invalidate();
    }

    public bool TryGiveBack(string hangfireJobId, IFetchedJob? fetched)
    {
        var job = JobKey.Parse(hangfireJobId);
        lock (_lock)
        {
            var wasReserved = _reserved.Remove(job);
            if (_index.PlaceOf(job) is not null)
            {
                if (!wasReserved)
                    return true; // It is back already.
            }
            else
            {
                if (!_claimed.Remove(job, out var place))
                    return false;
                _index.Add(job, place);
                if (QueuePlace.RoundOf(place) > 0)
                    _turns?.AddFirst(UserOf(hangfireJobId), job);
            }

            if (!TryDropExtraEntry(job))
                AddEntry(hangfireJobId);
        }

        Invalidate();
        return true;
    }

    public Task<bool> TryMoveToFrontAsync(string hangfireJobId, CancellationToken cancellationToken)
    {
        var job = JobKey.Parse(hangfireJobId);
        lock (_lock)
        {
            Settle();
            // A reserved job is as far in front as can be.
            if (_reserved.ContainsKey(job) || _index.PlaceOf(job) is null || StateOf(hangfireJobId) != EnqueuedState.StateName)
                return Task.FromResult(false);
            Leave(job);
            // As on SQL Server, whose numbers only rise: those moved before get new numbers behind it, and one that is reserved
            // keeps its own, so that it is first again when it is given back.
            var movedBefore = _index.Jobs.TakeWhile(other => _index.PlaceOf(other) < 0)
                .Where(other => !_reserved.ContainsKey(other))
                .ToList();
            foreach (var front in movedBefore.Prepend(job))
            {
                _index.Remove(front);
                _index.Add(front, QueuePlace.Of(0, ++_lastNumber));
            }
        }

        Invalidate();
        return Task.FromResult(true);
    }

    public void OnStateChanging(string hangfireJobId, string? oldState, string newState)
    {
        if (newState == ProcessingState.StateName)
            return; // It waits until it is claimed.
        lock (_lock)
            _announced[hangfireJobId] = new Announcement(newState, IsRequeue: oldState is not null && Waits(newState), time.GetTimestamp());
        Invalidate();
    }

    /// <summary>Takes an entry out of Hangfire's queue and reserves the job whose turn it is.</summary>
    /// <returns>Null when the entry was one too many.</returns>
    private FetchedJob? Exchange(IFetchedJob entry)
    {
        var job = JobKey.Parse(entry.JobId);
        lock (_lock)
        {
            Settle();
            if (TryDropExtraEntry(job))
            {
                entry.RemoveFromQueue();
                return null;
            }

            var first = _index.Jobs.Where(other => !_reserved.ContainsKey(other)).Cast<Guid?>().FirstOrDefault() ?? job;
            if (first == job)
            {
                entry.RemoveFromQueue();
            }
            else
            {
                // It still waits, so it keeps an entry; the first's own is passed over when it comes up.
                entry.Requeue();
                AddExtraEntry(first);
            }

            return _reserved[first] = new FetchedJob(this, JobKey.Format(first));
        }
    }

    private void AddLast(Guid job, string user) => _index.Add(job, QueuePlace.Of(_turns?.Add(user, job) ?? 1, ++_lastNumber));

    /// <summary>Takes a job out of the order; its user's later ones move up.</summary>
    /// <returns>Its place; null when it did not wait.</returns>
    private long? Leave(Guid job)
    {
        var place = _index.Remove(job);
        foreach (var (other, round) in _turns?.Remove(job) ?? [])
        {
            if (_index.PlaceOf(other) is not { } now || QueuePlace.RoundOf(now) <= round)
                continue;
            _index.Remove(other);
            _index.Add(other, QueuePlace.Of(round, ++_lastNumber));
        }

        return place;
    }

    /// <summary>Applies the announced states that have been committed.</summary>
    private void Settle()
    {
        if (_announced.Count == 0)
            return;
        foreach (var (id, _) in _announced.Where(announced => IsSettled(announced.Key, announced.Value)).ToList())
        {
            _announced.Remove(id);
            _latest = null;
        }
    }

    private bool IsSettled(string id, Announcement announcement)
    {
        if (StateOf(id) != announcement.State)
            return time.GetElapsedTime(announcement.At) >= CommitTime;
        var job = JobKey.Parse(id);
        _claimed.Remove(job);
        var hasEntry = !_reserved.Remove(job);
        if (!Waits(announcement.State))
        {
            // A deleted job's entry stays in Hangfire's queue until it is dequeued (Hangfire #2407).
            if (Leave(job) is not null && hasEntry)
                AddExtraEntry(job);
        }
        else if (announcement.IsRequeue)
        {
            // Hangfire has added an entry (Hangfire #2380). One that waits already keeps its place.
            if (_index.PlaceOf(job) is null)
                AddLast(job, UserOf(id));
            else if (hasEntry)
                AddExtraEntry(job);
        }

        return true;
    }

    /// <summary>The worker has finished with the job, claimed or not.</summary>
    private void Release(FetchedJob fetched)
    {
        lock (_lock)
        {
            var job = JobKey.Parse(fetched.JobId);
            if (_reserved.GetValueOrDefault(job) != fetched)
                return;
            _reserved.Remove(job);
            // The announcement of its end may have been dropped: left in the order, it would be dequeued first again and again.
            if (StateOf(fetched.JobId) is { } state && (Waits(state) || state == ProcessingState.StateName))
                return;
            Leave(job);
        }

        Invalidate();
    }

    private void AddExtraEntry(Guid job) => _extraEntries[job] = _extraEntries.GetValueOrDefault(job) + 1;

    private bool TryDropExtraEntry(Guid job)
    {
        if (!_extraEntries.Remove(job, out var count))
            return false;
        if (count > 1)
            _extraEntries[job] = count - 1;
        return true;
    }

    private void AddEntry(string hangfireJobId)
    {
        using var connection = storage.GetConnection();
        using var transaction = connection.CreateWriteTransaction();
        transaction.AddToQueue(ImageJobs.QueueName, hangfireJobId);
        transaction.Commit();
    }

    private static bool Waits(string state) => state == EnqueuedState.StateName || state == ScheduledState.StateName;

    private string? StateOf(string hangfireJobId)
    {
        using var connection = storage.GetReadOnlyConnection();
        return connection.GetStateData(hangfireJobId)?.Name;
    }

    private string UserOf(string hangfireJobId)
    {
        using var connection = storage.GetReadOnlyConnection();
        return ImageJobs.ReadUser(connection.GetJobParameter(hangfireJobId, ImageJobs.UserParameter)) ?? hangfireJobId;
    }

    private readonly record struct Announcement(string State, bool IsRequeue, long At);

    /// <summary>A reserved job. Requeued, it keeps its place.</summary>
    private sealed class FetchedJob(InMemoryQueueOrder order, string id) : IFetchedJob
    {
        public string JobId => id;

        // Its entry was taken out when it was dequeued.
        public void RemoveFromQueue() => order.Release(this);

        public void Requeue() => order.TryGiveBack(id, this);

        public void Dispose() => order.Release(this);
    }
}
