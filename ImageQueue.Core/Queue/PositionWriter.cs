using ImageQueue.Core.Hosting;

namespace ImageQueue.Core.Queue;

/// <summary>
/// Stores moved positions for readers of the table and the feed: exact for the first fifty, within 10 % beyond, at most 200 rows a
/// second. One leader per database.
/// </summary>
/// <remarks>
/// The stored positions decide what is written: each pass looks at the rows of the first fifty, at those that entered another band of
/// 9 % since the pass before, and at a page of all rows that comes round. So a change that no process saw (a requeue, a restart, a
/// DBA's) leaves no position wrong for good.
/// </remarks>
internal sealed class PositionWriter(
    IQueueOrder order, IQueueStore store, ILeaseStore leases, DatabaseReadiness readiness, IOptions<QueueOptions> options,
    TimeProvider time, ILogger<PositionWriter> logger)
    : LeaderService(new LeaderLease(leases, LeaseName, LeaseTerm, time), readiness, time, logger)
{
    /// <summary>Up to here every move is stored.</summary>
    public const int ExactUpTo = 50;

    /// <summary>Most rows of a pass, and there is one pass a second.</summary>
    public const int MaxRows = 200;

    internal const string LeaseName = "positions";

    private static readonly TimeSpan LeaseTerm = TimeSpan.FromSeconds(15);

    private QueueSnapshot? _before;
    private UnfinishedCursor? _cursor;
    private bool _isRoundClean;
    private bool _isSettled;

    protected override string Activity => "Storing queue positions";

    /// <summary>How long a change by another process may go unseen.</summary>
    protected override TimeSpan Interval => TimeSpan.FromSeconds(2);

    protected override TimeSpan MinInterval => TimeSpan.FromSeconds(1);

    protected override Task NextSignal => order.NextChange;

    /// <returns>How many rows were written.</returns>
    public async Task<int> WriteAsync(CancellationToken cancellationToken)
    {
        if (!await Lease.TryAcquireAsync(cancellationToken))
            return 0;
        var snapshot = await order.GetAsync(cancellationToken);
        if (!snapshot.IsKnown || (ReferenceEquals(snapshot, _before) && _isSettled))
            return 0;

        var moved = Moved(_before, snapshot, options.Value.Order).Take(MaxRows).ToList();
        var rows = moved.Count == 0 ? [] : (await store.FindWaitingAsync(moved, cancellationToken)).ToList();
        // The first positions first, should there be more to write than one pass may.
        rows.Sort((one, other) => (PositionOf(one) ?? int.MaxValue).CompareTo(PositionOf(other) ?? int.MaxValue));
        var stretch = await store.ListWaitingAsync(_cursor, MaxRows, cancellationToken);
        List<QueuedPosition> wrong =
        [
            .. rows.Concat(stretch).DistinctBy(row => row.Id)
                .Where(row => PositionOf(row) is { } live && IsOff(row.QueuePosition, live))
                .Select(row => new QueuedPosition(row.Id, row.HangfireJobId!, PositionOf(row)!.Value)) // A row with a position has a job.
                .Take(MaxRows),
        ];
        var written = wrong.Count == 0 ? 0 : await store.SavePositionsAsync(wrong, cancellationToken);
        _isRoundClean = wrong.Count == 0 && (_isRoundClean || _cursor is null);
        if (stretch.Count < MaxRows)
        {
            // Once round without a correction: nothing to do until something moves.
            (_isSettled, _cursor) = (_isRoundClean, null);
            _isRoundClean = true;
        }
        else
        {
            _isSettled = false;
            _cursor = new UnfinishedCursor(stretch[^1].QueuedAt, stretch[^1].Id);
        }

        _before = snapshot;
        return written;

        int? PositionOf(WaitingRequest row) => row.HangfireJobId is { } job ? snapshot.PositionOf(job) : null;
    }

    /// <summary>Whether a stored position is no longer good enough.</summary>
    internal static bool IsOff(int stored, int live) => live <= ExactUpTo ? stored != live : Math.Abs((long)stored - live) * 10 > live;

    /// <summary>The jobs whose stored positions may be off: the first fifty, and those that entered another band.</summary>
    internal static IEnumerable<string> Moved(QueueSnapshot? before, QueueSnapshot now, QueueOrder order)
    {
        var first = Enumerable.Range(1, Math.Min(ExactUpTo, now.Count)).Select(now.At);
        return first.Concat(order == QueueOrder.Fifo ? MovedByShift(before, now) : MovedAnywhere(before, now));
    }

    /// <summary>Jobs that move together change bands only near a band's ends.</summary>
    private static IEnumerable<string> MovedByShift(QueueSnapshot? before, QueueSnapshot now)
    {
        for (var (low, high) = (ExactUpTo, EndAfter(ExactUpTo)); low < now.Count; (low, high) = (high, EndAfter(high)))
        {
            // A job that moved up into this band, or is new, is at its end; one that was pushed back, at its beginning.
            var position = Math.Min(high, now.Count);
            for (; position > low && !(Before(position) <= high); position--)
                yield return now.At(position);
            for (var pushed = low + 1; pushed <= position && Before(pushed) <= low; pushed++)
                yield return now.At(pushed);
        }

        int? Before(int position) => before?.PositionOf(now.At(position));
    }

    /// <summary>Under fair share a user's next request moves past others, so each is compared.</summary>
    private static IEnumerable<string> MovedAnywhere(QueueSnapshot? before, QueueSnapshot now)
    {
        for (var (low, high) = (ExactUpTo, EndAfter(ExactUpTo)); low < now.Count; (low, high) = (high, EndAfter(high)))
        {
            for (var position = low + 1; position <= Math.Min(high, now.Count); position++)
            {
                var job = now.At(position);
                if (before?.PositionOf(job) is not { } earlier || earlier <= low || earlier > high)
                    yield return job;
            }
        }
    }

    protected override Task RunPassAsync(CancellationToken cancellationToken) => WriteAsync(cancellationToken);

    private static int EndAfter(int low) => low + Math.Max(1, low * 9 / 100);
}
