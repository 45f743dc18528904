using ImageQueue.Core.Hosting;
using ImageQueue.Core.Queue;

namespace ImageQueue.Core.Recovery;

/// <summary>
/// At a start: removes abandoned temporary files, puts unfinished requests back into the queue, and schedules the recurring jobs. Where
/// Hangfire keeps its jobs in memory, the queue is rebuilt from the rows: processing requests first, then waiting ones in their order.
/// </summary>
internal sealed class QueueRebuild(
    QueueRebuildState state, ImageJobs jobs, Sweep sweep, AbandonedFiles files, RecurringJobs recurring, DatabaseReadiness readiness,
    TimeProvider time, ILogger<QueueRebuild> logger)
    : PeriodicService(readiness, time, logger)
{
    /// <summary>How far back the second look goes: a submit takes its place in the queue a moment before its row is visible.</summary>
    private static readonly TimeSpan Overlap = TimeSpan.FromSeconds(10);

    protected override string Activity => "Rebuilding the queue and scheduling the sweep";

    /// <summary>Once.</summary>
    protected override TimeSpan Interval => Timeout.InfiniteTimeSpan;

    public override Task StartAsync(CancellationToken cancellationToken)
    {
        // Before the first request can arrive.
        state.IsUnderWay = jobs.AreVolatile;
        return base.StartAsync(cancellationToken);
    }

    protected override async Task RunPassAsync(CancellationToken cancellationToken)
    {
        await files.RemoveAsync(cancellationToken);
        await RebuildAsync(cancellationToken);
        recurring.Schedule();
        state.SetDone();
    }

    internal async Task RebuildAsync(CancellationToken cancellationToken)
    {
        if (!jobs.AreVolatile)
        {
            await sweep.SweepAsync(cancellationToken);
            return;
        }

        var started = Time.GetTimestamp();
        var (repaired, cursor) = await sweep.RebuildAsync(null, cancellationToken);
        // Rows that were added until here left their jobs to this rebuild; rows added from here on get them at once. So look once more.
        state.IsUnderWay = false;
        var back = cursor is { } last ? new UnfinishedCursor(last.QueuedAt - Overlap, 0) : cursor;
        repaired += (await sweep.RebuildAsync(back, cancellationToken)).Repaired;
        if (repaired > 0)
            Logger.LogInformation("Put {Count} unfinished requests back into the queue in {Time}.", repaired, Time.GetElapsedTime(started));
    }
}
