using ImageQueue.Core.Hosting;
using ImageQueue.Core.Messages;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Queue;

/// <summary>
/// Keeps the stored positions true for those who read the table or watch the feed: exact for the first fifty, within 10 %
/// beyond, at most 200 rows a second. One writer for a database, by a lease that moves when its holder dies.
/// </summary>
/// <remarks>
/// What is written is decided by what is stored: each pass looks at the rows of the first fifty, at those that have come into
/// another band of 9 % since the pass before, and at a stretch of all rows that comes round. So nothing that happened unseen (a
/// requeue, another machine, a restart, a DBA) leaves a position wrong for good, and nothing is remembered that could be.
/// </remarks>
public sealed class PositionWriter(
    IQueueOrder order, IQueueStore store, ILeaseStore leases, DatabaseReadiness readiness, TimeProvider time, ILogger<PositionWriter> logger)
    : LeaderService(new LeaderLease(leases, LeaseName, LeaseTerm, time), readiness, time, logger)
{
    /// <summary>Up to here every move is stored.</summary>
    public const int ExactUpTo = 50;

    /// <summary>Most rows of a pass, and there is one pass a second.</summary>
    public const int MaxRows = 200;

    /// <summary>The lease.</summary>
    internal const string LeaseName = "positions";

    private static readonly TimeSpan LeaseTerm = TimeSpan.FromSeconds(15);

    private QueueSnapshot? _before;
    private UnfinishedCursor? _cursor;
    private bool _isRoundClean;
    private bool _isSettled;

    /// <inheritdoc/>
    protected override string Activity => "Storing queue positions";

    /// <summary>How long a change by another process may go unseen.</summary>
    protected override TimeSpan Interval => TimeSpan.FromSeconds(2);

    /// <inheritdoc/>
    protected override TimeSpan MinInterval => TimeSpan.FromSeconds(1);

    /// <inheritdoc/>
    protected override Task NextSignal => order.NextChange;

    /// <summary>One pass.</summary>
    /// <returns>How many rows were written.</returns>
    public async Task<int> WriteAsync(CancellationToken cancellationToken)
    {
        if (!await Lease.TryAcquireAsync(cancellationToken))
            return 0;
        var snapshot = await order.GetAsync(cancellationToken);
        if (!snapshot.IsKnown || (ReferenceEquals(snapshot, _before) && _isSettled))
            return 0;

        var moved = Moved(_before, snapshot).Take(MaxRows).ToList();
        var rows = moved.Count == 0 ? [] : (await store.FindWaitingAsync(moved, cancellationToken)).ToList();
        // The first come first, should there be more to write than one pass may.
        rows.Sort((one, other) => (PositionOf(one) ?? int.MaxValue).CompareTo(PositionOf(other) ?? int.MaxValue));
        var stretch = await store.ListWaitingAsync(_cursor, MaxRows, cancellationToken);
        List<QueuedPosition> wrong =
        [
            .. rows.Concat(stretch).DistinctBy(row => row.Id)
                .Where(row => PositionOf(row) is { } live && IsOff(row.QueuePosition, live))
                .Select(row => new QueuedPosition(row.Id, row.HangfireJobId!, PositionOf(row)!.Value)) // Who has a position has a job.
                .Take(MaxRows),
        ];
        var written = wrong.Count == 0 ? 0 : await store.SavePositionsAsync(wrong, cancellationToken);
        _isRoundClean = wrong.Count == 0 && (_isRoundClean || _cursor is null);
        if (stretch.Count < MaxRows)
        {
            // Once round without a find: nothing to do until something moves.
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
    internal static bool IsOff(int stored, int live) => live <= ExactUpTo ? stored != live : Math.Abs(stored - live) * 10 > live;

    /// <summary>
    /// Who may have come to a position that is not stored: the first fifty, and beyond them who has come into another band, which
    /// are those near a band's ends.
    /// </summary>
    internal static IEnumerable<string> Moved(QueueSnapshot? before, QueueSnapshot now)
    {
        for (var position = 1; position <= Math.Min(ExactUpTo, now.Count); position++)
            yield return now.At(position);

        for (var (low, high) = (ExactUpTo, EndAfter(ExactUpTo)); low < now.Count; (low, high) = (high, EndAfter(high)))
        {
            // Who has moved up into this band, or was not in line before, stands at its end; who was pushed back, at its beginning.
            var position = Math.Min(high, now.Count);
            for (; position > low && !(Before(position) <= high); position--)
                yield return now.At(position);
            for (var pushed = low + 1; pushed <= position && Before(pushed) <= low; pushed++)
                yield return now.At(pushed);
        }

        int? Before(int position) => before?.PositionOf(now.At(position));
    }

    /// <inheritdoc/>
    protected override Task RunPassAsync(CancellationToken cancellationToken) => WriteAsync(cancellationToken);

    private static int EndAfter(int low) => low + Math.Max(1, low * 9 / 100);
}
