using Hangfire.States;
using Hangfire.Storage;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Messages;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Queue;

/// <summary>
/// The order of a queue in a database that several processes share: derived from Hangfire's rows alone, so it is the same on every
/// machine. Each second, while there are readers, it reads the head, the new rows at the tail of each round, and one page between.
/// </summary>
internal sealed partial class SqlServerQueueOrder(IQueueRows rows, TimeProvider time, ILogger<SqlServerQueueOrder> logger, QueueOrder kind = QueueOrder.Fifo)
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

    /// <inheritdoc/>
    /// <remarks>Always noted: a restart can bring fair share while thousands wait.</remarks>
    public bool UsesUsers => true;

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

    /// <inheritdoc/>
    public IReadOnlyList<string> EnqueueAll(IReadOnlyList<string?> users, Func<IReadOnlyList<string>> enqueue) =>
        throw new NotSupportedException("Only a queue in memory is enqueued as a whole.");

    /// <inheritdoc/>
    public IFetchedJob Fetch(IStorageConnection connection, string[] queues, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(connection);
        return connection.FetchNextJob(queues, cancellationToken); // A job that was given back has its own row there.
    }

    /// <inheritdoc/>
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

    /// <inheritdoc/>
    public bool TryGiveBack(string hangfireJobId, IFetchedJob? fetched)
    {
        if (fetched is null)
            return rows.TryGiveBack(hangfireJobId);
        fetched.Requeue(); // The same row again, seen by every process (SqlServerTimeoutJob.Requeue).
        return true;
    }

    /// <inheritdoc/>
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

    /// <inheritdoc/>
    public void OnStateChanging(string hangfireJobId, string? oldState, string newState)
    {
        if (newState == DeletedState.StateName || newState == SucceededState.StateName || newState == FailedState.StateName)
            Remove(hangfireJobId);
        else
            Invalidate();
    }

    /// <inheritdoc/>
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
            if (!_isKnown)
                return QueueSnapshot.Unknown(time.GetUtcNow());
            return _latest ??= new QueueSnapshot(_index.Now, _readAt);
        }
    }

    /// <summary>Reads the rows now, unless a read is under way.</summary>
    internal Task ReadNowAsync()
    {
        lock (_lock)
            return _reading ?? BeginReading();
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

    /// <returns>The read to wait for; null when the last one serves.</returns>
    private Task? BeginReadingIfDue()
    {
        lock (_lock)
        {
            var age = time.GetElapsedTime(_readBegan);
            if (_reading is null && (!_isKnown || age >= ReadInterval))
                BeginReading();
            return !_isKnown || age > Patience ? _reading : null;
        }
    }

    private Task BeginReading()
    {
        _removedMeanwhile.Clear();
        return _reading = Task.Run(ReadAsync);
    }

    private async Task ReadAsync()
    {
        try
        {
            var (began, at) = (time.GetTimestamp(), time.GetUtcNow());
            lock (_lock)
                _enqueuedBefore = [.. _unread.Keys];
            var isFirst = !_isKnown;
            if (isFirst)
                await ReadAllAsync();
            else
                await ReadChangesAsync();
            lock (_lock)
            {
                // Each read comes to the end of every round: what was enqueued before it has been read, or has left.
                foreach (var job in _enqueuedBefore)
                    _unread.Remove(job);
                (_isKnown, _readBegan, _readAt) = (true, began, at);
            }

            await RepairRoundsAsync(isFirst);
            if (_isAway)
                logger.LogInformation("Hangfire's queue is read again.");
            _isAway = false;
        }
        catch (Exception e)
        {
            // Logged once: a database can be away for hours, and its other users log it as well.
            logger.Log(
                _isAway || e is StoreUnavailableException ? LogLevel.Debug : LogLevel.Warning,
                e,
                "Hangfire's queue could not be read; the last known order serves.");
            _isAway = true;
            lock (_lock)
                _readBegan = time.GetTimestamp(); // The next try is one interval away.
        }
        finally
        {
            lock (_lock)
                _reading = null;
            Invalidate();
        }
    }

    /// <summary>The whole queue, once, in pages.</summary>
    private async Task ReadAllAsync()
    {
        var index = new QueueIndex();
        for (var after = QueuePage.Start; ;)
        {
            var page = await rows.ReadAsync(after, long.MaxValue, PageSize, CancellationToken.None);
            lock (_lock)
            {
                index.Replace(after, page.UpTo, page.Rows);
                foreach (var row in page.Rows)
                    NoteRow(row);
            }

            if (page.IsLast)
                break;
            after = page.UpTo;
        }

        lock (_lock)
        {
            foreach (var job in _removedMeanwhile.Select(JobKey.Parse))
            {
                index.Remove(job);
                ForgetUser(job);
            }

            _index = index;
        }
    }

    private async Task ReadChangesAsync()
    {
        var head = await ReadPageAsync(QueuePage.Start, long.MaxValue);
        if (head.IsLast)
            return; // That was all.

        // A row may have been written with a lower number than others and not committed when they were read: the page that comes
        // round finds it, as it finds what other processes deleted in the middle.
        if (_cursor < head.UpTo || _cursor >= LastPlace())
            _cursor = head.UpTo;
        var page = await ReadPageAsync(_cursor, long.MaxValue);
        _cursor = page.UpTo;
        if (page.IsLast)
            return;

        // The new rows of each round, which have the highest numbers there; and those of rounds that this process does not use.
        for (var round = 1; round <= Rounds; round++)
            await ReadTailAsync(QueuePlace.Of(round, _lastNumbers[round]), QueuePlace.EndOf(round));
        await ReadTailAsync(Math.Max(LastPlace(), QueuePlace.EndOf(Rounds)), long.MaxValue);
    }

    private async Task ReadTailAsync(long after, long upTo)
    {
        for (QueuePage? page = null; page is not { IsLast: true }; after = page.UpTo)
            page = await ReadPageAsync(after, upTo);
    }

    private long LastPlace()
    {
        lock (_lock)
            return _index.LastPlace;
    }

    private async Task<QueuePage> ReadPageAsync(long after, long upTo)
    {
        var page = await rows.ReadAsync(after, upTo, PageSize, CancellationToken.None);
        lock (_lock)
        {
            IReadOnlyList<QueueRow> still =
                _removedMeanwhile.Count == 0 ? page.Rows : [.. page.Rows.Where(row => !_removedMeanwhile.Contains(JobKey.Format(row.Job)))];
            foreach (var gone in _index.Replace(after, page.UpTo, still))
                ForgetUser(gone);
            foreach (var row in still)
                NoteRow(row);
            foreach (var job in _unread.Keys.Where(job => !_enqueuedBefore.Contains(job) && _index.PlaceOf(job) is null))
                AddUnread(job);
            _latest = null;
        }

        return page;
    }

    /// <summary>Until its number is read a new entry is at the end of its round.</summary>
    private void AddUnread(Guid job)
    {
        var (round, user) = _unread[job];
        _index.Add(job, Math.Max(_index.LastPlaceUpTo(QueuePlace.EndOf(round)), QueuePlace.Of(round, _lastNumbers[round])) + 1);
        NoteUser(job, user);
    }

    private void NoteRow(QueueRow row)
    {
        NoteNumber(row.Place);
        NoteUser(row.Job, row.User);
    }

    private void NoteNumber(long place)
    {
        if (QueuePlace.RoundOf(place) is > 0 and <= QueuePlace.LastRound and var round)
            _lastNumbers[round] = Math.Max(_lastNumbers[round], QueuePlace.NumberOf(place));
    }
}
