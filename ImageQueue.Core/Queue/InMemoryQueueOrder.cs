using Hangfire;
using Hangfire.States;
using Hangfire.Storage;
using ImageQueue.Core.Hosting;

namespace ImageQueue.Core.Queue;

/// <summary>
/// The order of a queue that lives in this process's memory (Hangfire.InMemory) and ends with it. Empty at the start, and told of
/// everything that happens, so Hangfire is never asked for its queue: a look at 100,000 jobs takes it half a second, under the
/// lock that its writers need.
/// </summary>
public sealed class InMemoryQueueOrder(JobStorage storage, TimeProvider time) : IQueueOrder
{
    /// <summary>How long a state that was announced may take to be committed, before the announcement is forgotten.</summary>
    private static readonly TimeSpan CommitTime = TimeSpan.FromSeconds(5);

    /// <summary>More than workers can take between the commit of an enqueue and the note of its place.</summary>
    private const int Remembered = 64;

    private readonly AsyncSignal _changed = new();
    private readonly Lock _enqueuing = new();

    // All that follows is guarded by this lock.
    private readonly Lock _lock = new();
    private readonly QueueIndex _line = new();
    private readonly Dictionary<string, Announcement> _announced = new(StringComparer.Ordinal);
    private readonly Queue<Guid> _leftLately = new(Remembered);

    // Claimed jobs and where they stood: given back, they stand there again.
    private readonly Dictionary<Guid, long> _claimed = [];

    // Entries that Hangfire's queue still holds beside those in line: of jobs that were deleted, whose entries stay until they
    // are dequeued and count again if the job is put back (Hangfire #2407), and second ones of jobs put back (#2380).
    private readonly Dictionary<Guid, SortedSet<long>> _others = [];

    // Jobs that were given back or moved to the front, by their places: Hangfire's own queue has only a tail.
    private readonly SortedDictionary<long, string> _returned = [];

    // Those that a worker has taken and not claimed yet: nobody moves them. What was taken from there is not to be taken again by
    // another entry in Hangfire's queue.
    private readonly Dictionary<Guid, Taken> _inHand = [];
    private CancellationTokenSource? _fetching;
    private long _lastPlace;
    private long _frontPlace;
    private QueueSnapshot? _latest;

    /// <inheritdoc/>
    public Task NextChange => _changed.Next;

    /// <inheritdoc/>
    public void Invalidate()
    {
        lock (_lock)
            _latest = null;
        _changed.Raise();
    }

    /// <inheritdoc/>
    public string Enqueue(Func<string> enqueue) => EnqueueAll(() => [enqueue()])[0];

    /// <inheritdoc/>
    public IReadOnlyList<string> EnqueueAll(Func<IReadOnlyList<string>> enqueue)
    {
        ArgumentNullException.ThrowIfNull(enqueue);
        IReadOnlyList<string> ids;
        // One at a time: whose job is noted first is first in Hangfire too.
        lock (_enqueuing)
        {
            ids = enqueue();
            lock (_lock)
            {
                foreach (var id in ids)
                {
                    _announced.Remove(id); // It has come true.
                    // An idle worker may have been quicker than this thread.
                    if (!_leftLately.Contains(JobKey.Parse(id)))
                        _line.Add(JobKey.Parse(id), ++_lastPlace);
                }
            }
        }

        Invalidate();
        return ids;
    }

    /// <inheritdoc/>
    public ValueTask<QueueSnapshot> GetAsync(CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            Settle();
            return ValueTask.FromResult(_latest ??= new QueueSnapshot(_line.Now, [], time.GetUtcNow()));
        }
    }

    /// <inheritdoc/>
    public IFetchedJob Fetch(IStorageConnection connection, string[] queues, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(connection);
        while (true)
        {
            using var wake = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            lock (_lock)
            {
                if (_returned.Count > 0)
                {
                    var (place, id) = _returned.First();
                    _returned.Remove(place);
                    DropOther(JobKey.Parse(id), place);
                    return _inHand[JobKey.Parse(id)] = new Taken(this, id, null);
                }

                _fetching = wake;
            }

            try
            {
                var taken = connection.FetchNextJob(queues, wake.Token);
                if (TakeFirstEntry(taken) is { } first)
                    return first;
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                // A job was given back meanwhile, and it is first.
            }
            finally
            {
                lock (_lock)
                    _fetching = null;
            }
        }
    }

    /// <inheritdoc/>
    public void Remove(string hangfireJobId)
    {
        var job = JobKey.Parse(hangfireJobId);
        lock (_lock)
        {
            _inHand.Remove(job);
            if (_line.Remove(job) is { } place)
                _claimed[job] = place;
            if (_leftLately.Count == Remembered)
                _leftLately.Dequeue();
            _leftLately.Enqueue(job);
        }

        Invalidate();
    }

    /// <inheritdoc/>
    public bool TryGiveBack(string hangfireJobId, IFetchedJob? inHand)
    {
        var job = JobKey.Parse(hangfireJobId);
        IFetchedJob? entry = null;
        lock (_lock)
        {
            if ((_line.PlaceOf(job) ?? (_claimed.Remove(job, out var stood) ? stood : null)) is not { } place)
                return false;
            _inHand.Remove(job);
            _line.Add(job, place);
            _returned[place] = hangfireJobId;

            // It has an entry in Hangfire's own queue too, at the tail, so that the dashboard shows it; that one is passed over.
            if (!_others.ContainsKey(job) && inHand is Taken { Entry: { } taken })
            {
                entry = taken;
                OthersOf(job).Add(++_lastPlace);
            }

            _fetching?.Cancel();
        }

        entry?.Requeue();
        Invalidate();
        return true;
    }

    /// <inheritdoc/>
    public Task<bool> TryMoveToFrontAsync(string hangfireJobId, CancellationToken cancellationToken)
    {
        var job = JobKey.Parse(hangfireJobId);
        lock (_lock)
        {
            Settle();
            // A worker that has it already, and is about to claim it, is as far in front as can be.
            if (_inHand.ContainsKey(job) || _line.PlaceOf(job) is not { } place || StateOf(hangfireJobId) != EnqueuedState.StateName)
                return Task.FromResult(false);
            if (!_returned.Remove(place))
                OthersOf(job).Add(place); // Hangfire's own entry stays where it is, and is passed over.
            _line.Add(job, --_frontPlace);
            _returned[_frontPlace] = hangfireJobId;
        }

        Invalidate();
        return Task.FromResult(true);
    }

    /// <inheritdoc/>
    public void OnStateChanging(string hangfireJobId, string? oldState, string newState)
    {
        if (newState == ProcessingState.StateName)
            return; // It waits until it is claimed.
        lock (_lock)
            _announced[hangfireJobId] = new Announcement(newState, IsRequeue: oldState is not null && Waits(newState), time.GetTimestamp());
        Invalidate();
    }

    /// <summary>Takes a dequeued entry, if it is the one by which its job waits; null when it is one of its others.</summary>
    private Taken? TakeFirstEntry(IFetchedJob entry)
    {
        var job = JobKey.Parse(entry.JobId);
        lock (_lock)
        {
            Settle();
            if (!_others.TryGetValue(job, out var places) || (_line.PlaceOf(job) is { } place && !_returned.ContainsKey(place) && !IsTakenByPlace(job)))
                return _inHand[job] = new Taken(this, entry.JobId, entry);
            DropOther(job, places.Min);
            return null;
        }
    }

    private bool IsTakenByPlace(Guid job) => _inHand.TryGetValue(job, out var taken) && taken.Entry is null;

    private void DropOther(Guid job, long place)
    {
        if (_others.TryGetValue(job, out var places) && places.Remove(place) && places.Count == 0)
            _others.Remove(job);
    }

    /// <summary>Brings what was announced into the line, as far as it has come true.</summary>
    private void Settle()
    {
        if (_announced.Count == 0)
            return;
        List<string>? settled = null;
        foreach (var (id, announcement) in _announced)
        {
            if (IsSettled(id, announcement))
                (settled ??= []).Add(id);
        }

        foreach (var id in settled ?? [])
            _announced.Remove(id);
        if (settled is not null)
            _latest = null;
    }

    private bool IsSettled(string id, Announcement announcement)
    {
        if (StateOf(id) != announcement.State)
            return time.GetElapsedTime(announcement.At) >= CommitTime;
        var job = JobKey.Parse(id);
        _claimed.Remove(job);
        _inHand.Remove(job);
        if (!Waits(announcement.State))
        {
            if (_line.Remove(job) is { } place)
                OthersOf(job).Add(place);
        }
        else if (announcement.IsRequeue)
        {
            // It has another entry at the tail now, and counts by its first.
            var places = OthersOf(job);
            places.Add(++_lastPlace);
            if (_line.PlaceOf(job) is null)
            {
                _line.Add(job, places.Min);
                places.Remove(places.Min);
            }

            if (places.Count == 0)
                _others.Remove(job);
        }

        return true;
    }

    /// <summary>A worker is done with what it took, claimed or not.</summary>
    private void Done(Taken taken)
    {
        lock (_lock)
        {
            if (_inHand.TryGetValue(JobKey.Parse(taken.JobId), out var now) && now == taken)
                _inHand.Remove(JobKey.Parse(taken.JobId));
        }
    }

    private SortedSet<long> OthersOf(Guid job) => _others.TryGetValue(job, out var places) ? places : _others[job] = [];

    private static bool Waits(string state) => state == EnqueuedState.StateName || state == ScheduledState.StateName;

    private string? StateOf(string hangfireJobId)
    {
        using var connection = storage.GetReadOnlyConnection();
        return connection.GetStateData(hangfireJobId)?.Name;
    }

    private readonly record struct Announcement(string State, bool IsRequeue, long At);

    /// <summary>A job that a worker has taken. Hangfire.InMemory's own goes to the tail when it is requeued; this one keeps its place.</summary>
    private sealed class Taken(InMemoryQueueOrder order, string id, IFetchedJob? entry) : IFetchedJob
    {
        /// <summary>Hangfire's own; null for a job that was given back before, which has an entry there still.</summary>
        public IFetchedJob? Entry => entry;

        public string JobId => id;

        // It was taken out when it was fetched.
        public void RemoveFromQueue() => order.Done(this);

        public void Requeue() => order.TryGiveBack(id, this);

        public void Dispose() => order.Done(this);
    }
}
