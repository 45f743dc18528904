using Hangfire;
using Hangfire.States;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Requests;

namespace ImageQueue.Core.Recovery;

/// <summary>
/// Finds requests whose Hangfire job is missing, deleted, failed, over, or owned by a dead server, and repairs each once. Many
/// processes may sweep at once, and again.
/// </summary>
/// <remarks>
/// Causes: a crash between the row's commit and Hangfire's, a worker that died or lost its database, jobs that expired or were changed
/// without a filter (direct SQL), a state that Hangfire failed to write. Silence is measured by the database's clock alone.
/// </remarks>
public sealed class Sweep(
    IQueueStore store, EnqueueImageRequest enqueue, QueueRebuildState rebuilding, ImageJobs jobs, RunningJobs running, IQueueOrder order,
    RequestRepairs repairs, ILogger<Sweep> logger)
{
    private const string ActorName = "sweep";

    /// <summary>How long a submit may take from its row to its Hangfire job.</summary>
    internal static readonly TimeSpan EnqueueGrace = TimeSpan.FromSeconds(10);

    /// <summary>Rows that are read and repaired together; their writes share a commit.</summary>
    private const int BatchSize = 200;

    private const int PageSize = 2000;

    /// <summary>How many waiting rows one sweep compares with the queue. The next sweep continues a longer queue.</summary>
    private const int MostCompared = 20_000;

    private UnfinishedCursor? _compared;

    /// <summary>What Hangfire calls.</summary>
    [AutomaticRetry(Attempts = 0)]
    [KeepBriefly]
    [JobDisplayName("Sweep: repair stuck requests")]
    public Task RunAsync(CancellationToken cancellationToken) =>
        // Away from Hangfire's thread; see GenerateImageJob.RunAsync.
        Task.Run(() => SweepAsync(cancellationToken), CancellationToken.None);

    /// <summary>Looks at everything unfinished.</summary>
    /// <returns>How many requests were repaired.</returns>
    internal async Task<int> SweepAsync(CancellationToken cancellationToken)
    {
        Actor.Current = ActorName;
        if (rebuilding.IsUnderWay)
            return 0; // The rebuild looks at every row itself.
        var repaired = await SweepSilentAsync(cancellationToken);
        repaired += await SweepJoblessAsync(cancellationToken);
        repaired += await SweepWaitingAsync(cancellationToken);
        if (repaired > 0)
            logger.LogWarning("The sweep repaired {Count} requests.", repaired);
        return repaired;
    }

    /// <summary>
    /// The sweep of a start with an empty queue: each processing row was cut off, each queued row needs a job. Never reads the queue's
    /// order, and may be repeated after an interruption.
    /// </summary>
    /// <param name="from">Where to continue in the waiting rows; null: at the first.</param>
    /// <returns>How many requests were repaired, and the last row that was seen.</returns>
    internal async Task<(int Repaired, UnfinishedCursor? Cursor)> RebuildAsync(UnfinishedCursor? from, CancellationToken cancellationToken)
    {
        Actor.Current = ActorName;
        var repaired = await RebuildProcessingAsync(cancellationToken);
        var cursor = from;
        var attaching = Task.FromResult(0);
        try
        {
            while (await store.ListWaitingAsync(cursor, PageSize, cancellationToken) is { Count: > 0 } page)
            {
                // A row with a job that will run was enqueued before, or was claimed and given back.
                var enqueued = enqueue.EnqueueAll([.. page.Where(row => row.HangfireJobId is not { } job || !jobs.WillRun(job))]);
                repaired += await attaching;
                // Hangfire does one half of the work and the database the other: rows of a page are written while the next page is
                // enqueued.
                attaching = Task.Run(() => enqueue.AttachAsync(enqueued), CancellationToken.None);
                cursor = new UnfinishedCursor(page[^1].QueuedAt, page[^1].Id);
                cancellationToken.ThrowIfCancellationRequested();
            }
        }
        finally
        {
            repaired += await attaching; // The next try starts after its writes.
        }

        return (repaired, cursor);
    }

    /// <summary>Requests that an earlier process was generating when it died come first.</summary>
    private async Task<int> RebuildProcessingAsync(CancellationToken cancellationToken)
    {
        var repaired = 0;
        await foreach (var message in store.ListProcessingAsync(BatchSize, cancellationToken))
        {
            var isOurs = running.IsRunning(message.Id) || (message.HangfireJobId is { } job && jobs.Find(job) is not null);
            if (!isOurs && await repairs.AbandonAsync(message, null, "its process is gone", AttemptCharge.Failure, cancellationToken))
                repaired++;
        }

        return repaired;
    }

    private async Task<int> SweepSilentAsync(CancellationToken cancellationToken)
    {
        var repaired = 0;
        UnfinishedCursor? cursor = null;
        while (await store.ListSilentAsync(Heartbeat.SuspectAfter, cursor, BatchSize, cancellationToken) is { Count: > 0 } page)
        {
            var verySilent = (await store.ListSilentAsync(Heartbeat.DeadAfter, cursor, BatchSize, cancellationToken))
                .Select(message => message.Id)
                .ToHashSet();
            foreach (var message in page)
            {
                if (await RepairSilentAsync(message, verySilent.Contains(message.Id), cancellationToken))
                    repaired++;
                cursor = new UnfinishedCursor(message.QueuedAt!.Value, message.Id); // Only image rows are listed, and those have it.
            }
        }

        return repaired;
    }

    /// <param name="message">Processing, without a heartbeat for <see cref="Heartbeat.SuspectAfter"/>.</param>
    /// <param name="isVerySilent">Without one for <see cref="Heartbeat.DeadAfter"/>.</param>
    private async Task<bool> RepairSilentAsync(Message message, bool isVerySilent, CancellationToken cancellationToken)
    {
        if (running.IsRunning(message.Id))
            return false;
        var state = message.HangfireJobId is { } job ? jobs.Find(job) : null;
        return await (state switch
        {
            null => Abandon("its Hangfire job is gone", AttemptCharge.Failure),
            { Name: var name } when name == DeletedState.StateName && !ImageJobs.IsOurs(state.Reason) =>
                repairs.CancelAsync(message.HangfireJobId!, cancellationToken), // It has a state, so there is a job.
            { Name: var name } when name == DeletedState.StateName || name == FailedState.StateName || name == SucceededState.StateName =>
                Abandon($"its Hangfire job is over ({name}) but its row is not", AttemptCharge.None),
            { Name: var name } when name == ProcessingState.StateName && !jobs.IsServerKnown(state) =>
                Abandon("its Hangfire server died", AttemptCharge.Failure, message.HangfireJobId),
            _ when !isVerySilent => Task.FromResult(false),
            { Name: var name } when name == ProcessingState.StateName => Abandon(
                $"its worker has been silent for {Heartbeat.DeadAfter.TotalSeconds:0} s", AttemptCharge.None, message.HangfireJobId),
            { Name: var name } when ImageJobs.WillRunIn(name) => repairs.RequeueForItsJobAsync(message, cancellationToken),
            _ => Task.FromResult(false),
        });

        Task<bool> Abandon(string reason, AttemptCharge charge, string? place = null) =>
            repairs.AbandonAsync(message, place, reason, charge, cancellationToken);
    }

    private async Task<int> SweepJoblessAsync(CancellationToken cancellationToken)
    {
        var repaired = 0;
        UnfinishedCursor? cursor = null;
        while (await store.ListJoblessAsync(EnqueueGrace, cursor, PageSize, cancellationToken) is { Count: > 0 } page)
        {
            var enqueued = await enqueue.EnqueueAgainAsync(page);
            if (enqueued > 0)
                logger.LogWarning("{Count} messages are enqueued, {First} among them: they had no Hangfire job.", enqueued, page[0].Id);
            repaired += enqueued;
            cursor = new UnfinishedCursor(page[^1].QueuedAt, page[^1].Id);
        }

        return repaired;
    }

    private async Task<int> SweepWaitingAsync(CancellationToken cancellationToken)
    {
        var repaired = 0;
        var snapshot = await order.GetAsync(cancellationToken);
        for (var compared = 0; compared < MostCompared; compared += PageSize)
        {
            var page = await store.ListWaitingAsync(_compared, PageSize, cancellationToken);

            // Jobs in the snapshot will run; only the few others are looked up one by one.
            foreach (var row in page)
            {
                if (row.HangfireJobId is { } job
                    && snapshot.PositionOf(job) is null
                    && await RepairWaitingAsync(row, job, cancellationToken))
                {
                    repaired++;
                }
            }

            _compared = page.Count < PageSize ? null : new UnfinishedCursor(page[^1].QueuedAt, page[^1].Id);
            if (_compared is null)
                break;
        }

        return repaired;
    }

    private async Task<bool> RepairWaitingAsync(WaitingRequest row, string job, CancellationToken cancellationToken)
    {
        var state = jobs.Find(job);
        if (state?.Name == ProcessingState.StateName && !jobs.AreVolatile && !jobs.IsServerKnown(state))
            return repairs.TryGiveBack(row.Id, job);
        if (ImageJobs.WillRunIn(state?.Name))
            return false;
        if (state?.Name == DeletedState.StateName && !ImageJobs.IsOurs(state.Reason))
            return await repairs.CancelAsync(job, cancellationToken);
        if (state?.Name == FailedState.StateName)
            return await repairs.FailUnstartableAsync(row.Id, job, cancellationToken);
        return await repairs.EnqueueAsync(row, state is null ? "gone" : $"over ({state.Name})");
    }
}
