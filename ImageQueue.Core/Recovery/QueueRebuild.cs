using Hangfire;
using Hangfire.Common;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Recovery;

/// <summary>
/// What a start does about what an earlier process left: removes its temporary files, and puts unfinished requests back into
/// the queue. The embedded default keeps Hangfire's jobs in memory, so there its queue is rebuilt from the rows: what was being
/// generated first, then all that waited, in the order in which they were queued. Then the sweep goes on each minute.
/// </summary>
public sealed class QueueRebuild(
    IMessageStore store,
    QueueRebuildState rebuilding,
    ImageJobs jobs,
    Sweep sweep,
    ImageFiles images,
    Cleanup cleanup,
    IRecurringJobManagerV2 recurring,
    DatabaseReadiness readiness,
    TimeProvider time,
    ILogger<QueueRebuild> logger)
    : PeriodicService(readiness, time, logger)
{
    /// <summary>Hangfire's queue of the housekeeping, which generating must never hold up.</summary>
    public const string MaintenanceQueue = "maintenance";

    /// <summary>The sweep among Hangfire's recurring jobs.</summary>
    public const string SweepId = "sweep";

    /// <summary>Each minute.</summary>
    public const string SweepCron = "* * * * *";

    /// <summary>
    /// How far back the second look goes: a submit takes its place in the queue a moment before its row is there to be seen.
    /// </summary>
    private static readonly TimeSpan Overlap = TimeSpan.FromSeconds(10);

    /// <inheritdoc/>
    public override Task StartAsync(CancellationToken cancellationToken)
    {
        // Before the first request can come in.
        rebuilding.IsUnderWay = jobs.AreVolatile;
        return base.StartAsync(cancellationToken);
    }

    /// <inheritdoc/>
    protected override string Activity => "Rebuilding the queue and scheduling the sweep";

    /// <summary>Once.</summary>
    protected override TimeSpan Interval => Timeout.InfiniteTimeSpan;

    /// <inheritdoc/>
    protected override async Task RunPassAsync(CancellationToken cancellationToken)
    {
        await RemoveTemporariesAsync(cancellationToken);
        await RebuildAsync(cancellationToken);
        Schedule();
        cleanup.Schedule(recurring);
        rebuilding.SetDone();
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
        // A row that was added until here left its job to this rebuild; one that is added after it does not. So look once more.
        rebuilding.IsUnderWay = false;
        var back = cursor is { } last ? new UnfinishedCursor(last.QueuedAt - Overlap, 0) : cursor;
        repaired += (await sweep.RebuildAsync(back, cancellationToken)).Repaired;
        if (repaired > 0)
            Logger.LogInformation("Put {Count} unfinished image requests back into the queue in {Time}.", repaired, Time.GetElapsedTime(started));
    }

    /// <summary>What attempts that are no more have left in the images folder.</summary>
    internal async Task RemoveTemporariesAsync(CancellationToken cancellationToken)
    {
        try
        {
            // Found first and then judged: other machines may be generating into the same folder, and a file that comes
            // meanwhile is one of theirs.
            var found = new HashSet<string>(StringComparer.Ordinal);
            var unnamed = new List<(string JobId, int Attempt)>();
            images.RemoveTemporaries((jobId, attempt) =>
            {
                found.Add(jobId);
                if (attempt is { } number)
                    unnamed.Add((jobId, number));
                return true;
            });
            if (found.Count == 0)
                return;
            await PublishAsync(unnamed, cancellationToken);
            if (!jobs.AreVolatile)
                found.ExceptWith(await JobIdsBeingGeneratedAsync(cancellationToken));
            Logger.LogInformation(
                "Removed {Count} temporary files of images that were cut off.", images.RemoveTemporaries((jobId, _) => !found.Contains(jobId)));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or StoreUnavailableException)
        {
            Logger.LogWarning(e, "Temporary files in {Directory} could not be removed; the next start tries again.", images.Directory);
        }
    }

    /// <summary>A process that died between the row and the rename has left a complete row, and its image under another name.</summary>
    private async Task PublishAsync(IEnumerable<(string JobId, int Attempt)> unnamed, CancellationToken cancellationToken)
    {
        foreach (var (jobId, attempt) in unnamed)
        {
            if (await store.FindByJobIdAsync(jobId, cancellationToken) is { Status: MessageStatus.Complete } message && message.Attempt == attempt)
                images.TryPublish(jobId, attempt);
        }
    }

    private async Task<HashSet<string>> JobIdsBeingGeneratedAsync(CancellationToken cancellationToken)
    {
        var ids = new HashSet<string>(StringComparer.Ordinal);
        UnfinishedCursor? cursor = null;
        while (await store.ListByStatusAsync(MessageStatus.Processing, cursor, 200, cancellationToken) is { Count: > 0 } page)
        {
            ids.UnionWith(page.Select(message => message.JobId).OfType<string>());
            cursor = new UnfinishedCursor(page[^1].QueuedAt!.Value, page[^1].Id); // Only image rows are listed, and those have it.
        }

        return ids;
    }

    /// <summary>Makes the sweep a recurring job, or makes it again what it was.</summary>
    public void Schedule() => recurring.AddOrUpdate(
        SweepId, Job.FromExpression<Sweep>(job => job.RunAsync(CancellationToken.None), MaintenanceQueue), SweepCron, new RecurringJobOptions());
}
