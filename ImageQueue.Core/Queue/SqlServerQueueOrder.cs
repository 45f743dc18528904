using Hangfire.States;
using Hangfire.Storage;
using ImageQueue.Core.Hosting;

namespace ImageQueue.Core.Queue;

/// <summary>
/// The order of a queue in a database that several processes share: derived from Hangfire's rows alone, so it is the same on every
/// machine. Each second, while there are readers, it reads the head, the new rows at the tail of each round, and one page between.
/// </summary>
internal sealed partial class SqlServerQueueOrder(
    IQueueRows rows, TimeProvider time, ILogger<SqlServerQueueOrder> logger, QueueOrder kind = QueueOrder.Fifo)
    : IQueueOrder
{
    /// <summary>Rows of one read. A queue no longer than this is exact each second.</summary>
    internal int PageSize { get; init; } = 5000;

    /// <summary>How long a snapshot is served before the next read.</summary>
    private static readonly TimeSpan ReadInterval = TimeSpan.FromSeconds(1);

    /// <summary>How old the last read may be before readers wait for the next.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(3);

    /// <summary>Longest wait of a reader: no answer is delayed further for positions.</summary>
    private static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(1);

    private readonly AsyncSignal _changed = new();

    // All that follows is guarded by this lock, which is never held while rows are read.
    private readonly Lock _lock = new();

    // Enqueued by this process and not read yet.
    private readonly Dictionary<Guid, (int Round, string? User)> _unread = [];
    private readonly HashSet<string> _removedMeanwhile = new(StringComparer.Ordinal);
    private readonly long[] _lastNumbers = new long[QueuePlace.LastRound + 1];
    private QueueIndex _index = new();
    private HashSet<Guid> _enqueuedBefore = [];
    private bool _isKnown;
    private bool _isAway;
    private DateTimeOffset _readAt;
    private long _readBegan;
    private long _cursor;
    private Task? _reading;
    private QueueSnapshot? _latest;

    private int Rounds => kind == QueueOrder.FairShare ? QueuePlace.LastRound : 1;

    /// <remarks>Always noted: a restart can bring fair share while thousands wait.</remarks>
    public bool UsesUsers => true;

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
        int round;
        lock (_lock)
            round = kind == QueueOrder.FairShare && user is not null ? FairTurns.RoundOf(WaitingOf(user)) : 1;
        var job = enqueue(QueuePlace.QueueOf(round));
        lock (_lock)
        {
            if (_isKnown)
            {
                _unread[JobKey.Parse(job)] = (round, user);
                AddUnread(JobKey.Parse(job));
            }
        }

        Invalidate();
        return job;
    }

    public IReadOnlyList<string> EnqueueAll(IReadOnlyList<string?> users, Func<IReadOnlyList<string>> enqueue) =>
        throw new NotSupportedException("Only a queue in memory is enqueued as a whole.");

    public IFetchedJob Fetch(IStorageConnection connection, string[] queues, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(connection);
        return connection.FetchNextJob(queues, cancellationToken); // A job that was given back has its own row there.
    }

    public void Remove(string hangfireJobId)
    {
        var job = JobKey.Parse(hangfireJobId);
        lock (_lock)
        {
            _unread.Remove(job);
            _index.Remove(job);
            MoveUpSoon(ForgetUser(job));
            if (_reading is not null)
                _removedMeanwhile.Add(hangfireJobId);
        }

        Invalidate();
    }

    public bool TryGiveBack(string hangfireJobId, IFetchedJob? fetched)
    {
        if (fetched is null)
            return rows.TryGiveBack(hangfireJobId);
        fetched.Requeue(); // The same row again, seen by every process (SqlServerTimeoutJob.Requeue).
        return true;
    }

    public async Task<bool> TryMoveToFrontAsync(string hangfireJobId, CancellationToken cancellationToken)
    {
        if (PlaceOf(hangfireJobId) is null)
            await ReadAgainAsync(cancellationToken);
        if (PlaceOf(hangfireJobId) is not { } place || !await rows.TryMoveToFrontAsync(hangfireJobId, place, cancellationToken))
            return false;
        await ReadAgainAsync(cancellationToken);
        lock (_lock)
            MoveUpSoon(_userOf.GetValueOrDefault(JobKey.Parse(hangfireJobId)));
        return true;
    }

    public void OnStateChanging(string hangfireJobId, string? oldState, string newState)
    {
        if (newState == DeletedState.StateName || newState == SucceededState.StateName || newState == FailedState.StateName)
            Remove(hangfireJobId);
        else
            Invalidate();
    }

    public async ValueTask<QueueSnapshot> GetAsync(CancellationToken cancellationToken)
    {
        if (BeginReadingIfDue() is { } reading)
        {
            // If it fails the last known order serves, and the log has the reason.
            await reading.WaitAsync(LongestWait, time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            cancellationToken.ThrowIfCancellationRequested();
        }

        lock (_lock)
        {
            return _isKnown ? _latest ??= new QueueSnapshot(_index.Now, _readAt) : QueueSnapshot.Unknown(time.GetUtcNow());
        }
    }

    /// <summary>Reads the rows now, unless a read is under way.</summary>
    internal Task ReadNowAsync()
    {
        lock (_lock)
            return _reading ?? BeginReading();
    }

    /// <summary>The read that is under way; for tests.</summary>
    internal Task Reading
    {
        get
        {
            lock (_lock)
                return _reading ?? Task.CompletedTask;
        }
    }

    /// <summary>A read that begins after this call.</summary>
    private async Task ReadAgainAsync(CancellationToken cancellationToken)
    {
        Task? underWay;
        lock (_lock)
            underWay = _reading;
        if (underWay is not null)
            await underWay.WaitAsync(cancellationToken);
        await ReadNowAsync().WaitAsync(cancellationToken);
    }

    /// <summary>The place of a row that was read.</summary>
    private long? PlaceOf(string hangfireJobId)
    {
        lock (_lock)
            return _isKnown && JobKey.Parse(hangfireJobId) is var job && !_unread.ContainsKey(job) ? _index.PlaceOf(job) : null;
    }
}
