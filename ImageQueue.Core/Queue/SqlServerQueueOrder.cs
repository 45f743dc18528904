using Hangfire.States;
using Hangfire.Storage;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Messages;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Queue;

/// <summary>
/// The order of a queue in a database that many machines share: read from its rows alone, so that it is the same on every
/// machine. Nobody reads the whole again and again: each second, and only while somebody asks, the head, what is new at the
/// tail, and one stretch between them, which comes round.
/// </summary>
public sealed class SqlServerQueueOrder(IQueueRows rows, TimeProvider time, ILogger<SqlServerQueueOrder> logger) : IQueueOrder
{
    /// <summary>Rows of one read. A queue no longer than this is exact each second.</summary>
    internal int PageSize { get; init; } = 5000;

    /// <summary>How long a snapshot is served before the next look at the rows.</summary>
    private static readonly TimeSpan ReadInterval = TimeSpan.FromSeconds(1);

    /// <summary>How old the last look may be before readers wait for the next: nobody asked for a while, and much may have happened.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(3);

    /// <summary>Longest wait of a reader: positions are decoration, and no answer is held up for them.</summary>
    private static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(1);

    private readonly AsyncSignal _changed = new();

    // All that follows is guarded by this lock, which is never held while rows are read.
    private readonly Lock _lock = new();
    private readonly List<string> _behind = [];
    private readonly HashSet<string> _leftMeanwhile = new(StringComparer.Ordinal);
    private QueueIndex _line = new();
    private bool _isKnown;
    private bool _isAway;
    private DateTimeOffset _readAt;
    private long _readBegan;
    private long _cursor;
    private Task? _reading;
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
        var jobs = enqueue();
        lock (_lock)
        {
            if (_isKnown)
                _behind.AddRange(jobs);
        }

        Invalidate();
        return jobs;
    }

    /// <inheritdoc/>
    public IFetchedJob Fetch(IStorageConnection connection, string[] queues, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(connection);
        return connection.FetchNextJob(queues, cancellationToken); // What was given back stands in its own place there.
    }

    /// <inheritdoc/>
    public void Remove(string hangfireJobId)
    {
        lock (_lock)
        {
            _behind.Remove(hangfireJobId);
            _line.Remove(JobKey.Parse(hangfireJobId));
            if (_reading is not null)
                _leftMeanwhile.Add(hangfireJobId);
        }

        Invalidate();
    }

    /// <inheritdoc/>
    public bool TryGiveBack(string hangfireJobId, IFetchedJob? inHand)
    {
        if (inHand is null)
            return rows.TryGiveBack(hangfireJobId);
        inHand.Requeue(); // The same row again, seen by everyone (SqlServerTimeoutJob.Requeue).
        return true;
    }

    /// <inheritdoc/>
    public async Task<bool> TryMoveToFrontAsync(string hangfireJobId, CancellationToken cancellationToken)
    {
        // Known to this process by a look at the rows, or put there just now.
        if (PlaceOf(hangfireJobId) is null)
            await LookAgainAsync(cancellationToken);
        if (PlaceOf(hangfireJobId) is not { } place || !await rows.TryMoveToFrontAsync(hangfireJobId, place, cancellationToken))
            return false;
        await LookAgainAsync(cancellationToken);
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
            // Whatever comes of it: the last known order serves, and the log has said what is wrong.
            await reading.WaitAsync(LongestWait, time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            cancellationToken.ThrowIfCancellationRequested();
        }

        lock (_lock)
        {
            if (!_isKnown)
                return QueueSnapshot.Unknown(time.GetUtcNow());
            return _latest ??= new QueueSnapshot(_line.Now, [.. _behind], _readAt);
        }
    }

    /// <summary>Looks at the rows now, if nobody is just doing that.</summary>
    internal Task ReadNowAsync()
    {
        lock (_lock)
            return _reading ?? BeginReading();
    }

    /// <summary>A look that begins after this call.</summary>
    private async Task LookAgainAsync(CancellationToken cancellationToken)
    {
        Task? underWay;
        lock (_lock)
            underWay = _reading;
        if (underWay is not null)
            await underWay.WaitAsync(cancellationToken);
        await ReadNowAsync().WaitAsync(cancellationToken);
    }

    private long? PlaceOf(string hangfireJobId)
    {
        lock (_lock)
            return _isKnown ? _line.PlaceOf(JobKey.Parse(hangfireJobId)) : null;
    }

    /// <returns>The read to wait for; null when what is known will do.</returns>
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
        _leftMeanwhile.Clear();
        return _reading = Task.Run(ReadAsync);
    }

    private async Task ReadAsync()
    {
        try
        {
            var (began, at) = (time.GetTimestamp(), time.GetUtcNow());
            HashSet<string> enqueuedBefore;
            lock (_lock)
                enqueuedBefore = [.. _behind];
            if (!_isKnown)
                await ReadAllAsync();
            else
                await ReadWhatMovesAsync();
            lock (_lock)
            {
                // Each look reads the tail to its end: who was there before it has been read, or has left.
                _behind.RemoveAll(job => enqueuedBefore.Contains(job) || _line.PlaceOf(JobKey.Parse(job)) is not null);
                (_isKnown, _readBegan, _readAt) = (true, began, at);
            }

            if (_isAway)
                logger.LogInformation("Hangfire's queue is read again.");
            _isAway = false;
        }
        catch (Exception e)
        {
            // Said once: a database can be away for hours, and who needs it says so as well.
            logger.Log(_isAway || e is StoreUnavailableException ? LogLevel.Debug : LogLevel.Warning, e, "Hangfire's queue could not be read; the last known order serves.");
            _isAway = true;
            lock (_lock)
                _readBegan = time.GetTimestamp(); // The next try is as far away as the next look would be.
        }
        finally
        {
            lock (_lock)
                _reading = null;
            Invalidate();
        }
    }

    /// <summary>The whole, once, in pages.</summary>
    private async Task ReadAllAsync()
    {
        var line = new QueueIndex();
        for (var after = QueuePage.Start; ;)
        {
            var page = await rows.ReadAsync(after, PageSize, CancellationToken.None);
            line.Replace(after, page.UpTo, page.Rows);
            if (page.IsLast)
                break;
            after = page.UpTo;
        }

        lock (_lock)
        {
            foreach (var job in _leftMeanwhile)
                line.Remove(JobKey.Parse(job));
            _line = line;
        }
    }

    private async Task ReadWhatMovesAsync()
    {
        var head = await ReadPageAsync(QueuePage.Start);
        if (head.IsLast)
            return; // That was all.

        // A row may have been written, with a lower number than others, but not committed when they were read: the stretch
        // that comes round finds it, as it finds what was deleted in the middle by others.
        if (_cursor < head.UpTo || _cursor >= LastPlace())
            _cursor = head.UpTo;
        var page = await ReadPageAsync(_cursor);
        _cursor = page.UpTo;

        // What is new at the tail, however much that is.
        for (var tail = LastPlace(); !page.IsLast; tail = page.UpTo)
            page = await ReadPageAsync(tail);
    }

    private long LastPlace()
    {
        lock (_lock)
            return _line.LastPlace;
    }

    private async Task<QueuePage> ReadPageAsync(long after)
    {
        var page = await rows.ReadAsync(after, PageSize, CancellationToken.None);
        lock (_lock)
        {
            _line.Replace(after, page.UpTo, page.Rows.Count == 0 || _leftMeanwhile.Count == 0
                ? page.Rows
                : [.. page.Rows.Where(row => !_leftMeanwhile.Contains(JobKey.Format(row.Job)))]);
            _latest = null;
        }

        return page;
    }
}

/// <summary>The rows of a shared queue; <see cref="SqlServerQueueOrder"/> decides when they are read.</summary>
public interface IQueueRows
{
    /// <summary>
    /// Jobs that wait in <see cref="ImageJobs.FrontQueueName"/>, at places below 0, and in <see cref="ImageJobs.QueueName"/>, by ascending place: without the ghosts of jobs that will not run, and
    /// without those that a living worker has taken.
    /// </summary>
    /// <param name="after">Only places above this one.</param>
    /// <param name="count">At most so many.</param>
    /// <param name="cancellationToken">Gives up.</param>
    Task<QueuePage> ReadAsync(long after, int count, CancellationToken cancellationToken);

    /// <summary>Moves a row that waits before all others.</summary>
    /// <param name="hangfireJobId">The job.</param>
    /// <param name="place">Where it was read.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <returns>False when it is not there any more.</returns>
    Task<bool> TryMoveToFrontAsync(string hangfireJobId, long place, CancellationToken cancellationToken);

    /// <summary>Gives a row back, in its place, that a dead worker has taken.</summary>
    /// <returns>False when there is none.</returns>
    bool TryGiveBack(string hangfireJobId);
}

/// <summary>A stretch of the queue.</summary>
/// <param name="Rows">By ascending place.</param>
/// <param name="UpTo">Up to this place, nothing else waits there.</param>
/// <param name="IsLast">Whether nothing waits behind it.</param>
public sealed record QueuePage(IReadOnlyList<(long Place, Guid Job)> Rows, long UpTo, bool IsLast)
{
    /// <summary>Before every place.</summary>
    public const long Start = long.MinValue;
}
