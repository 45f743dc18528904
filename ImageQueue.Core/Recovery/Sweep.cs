using Hangfire;
using Hangfire.States;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Requests;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace ImageQueue.Core.Recovery;

/// <summary>
/// Finds requests whose Hangfire job is missing, deleted, failed, over, or owned by a dead server, and puts each right once.
/// Every repair is a guarded write, so many machines may sweep at once, and again.
/// </summary>
/// <remarks>
/// What leads here: a crash between the row's commit and Hangfire's, a worker that died or was cut off from the database,
/// jobs that expired or were changed without a filter (direct SQL), Hangfire failing to write a state. Silence is judged by the
/// database's clock alone.
/// </remarks>
public sealed class Sweep(
    IMessageStore store,
    EnqueueImageRequest queue,
    QueueRebuildState rebuilding,
    ImageJobs jobs,
    RunningJobs running,
    IQueueOrder order,
    FailurePolicy policy,
    MessageTexts texts,
    IOptions<ForgeOptions> options,
    ILogger<Sweep> logger)
{
    /// <summary>How long a submit may take from its row to its Hangfire job.</summary>
    internal static readonly TimeSpan EnqueueGrace = TimeSpan.FromSeconds(10);

    /// <summary>Rows that are read, and repaired, together; the repairs' writes share a commit.</summary>
    private const int BatchSize = 200;

    private const int LookSize = 2000;

    /// <summary>How many waiting rows one sweep compares with the queue; of a longer queue each sweep takes the next part.</summary>
    private const int MostCompared = 20_000;

    private UnfinishedCursor? _compared;

    /// <summary>What Hangfire calls.</summary>
    [AutomaticRetry(Attempts = 0)]
    [KeepBriefly]
    [JobDisplayName("Sweep: find requests that are stuck, and put them right")]
    public Task RunAsync(CancellationToken cancellationToken) =>
        // Away from Hangfire's thread; see GenerateImageJob.RunAsync.
        Task.Run(() => SweepAsync(cancellationToken), CancellationToken.None);

    /// <summary>One look at everything unfinished.</summary>
    /// <returns>How many requests were put right.</returns>
    internal async Task<int> SweepAsync(CancellationToken cancellationToken)
    {
        if (rebuilding.IsUnderWay)
            return 0; // The rebuild is such a look itself, and comes to every row.
        var repaired = await SweepSilentAsync(cancellationToken);
        repaired += await SweepJoblessAsync(cancellationToken);
        repaired += await SweepWaitingAsync(cancellationToken);
        if (repaired > 0)
            logger.LogWarning("The sweep put {Count} requests right.", repaired);
        return repaired;
    }

    /// <summary>
    /// The look at a start whose queue is empty: whatever is processing was cut off, whatever is queued needs a job. Never asks
    /// for the queue's order, and may be repeated when it was interrupted.
    /// </summary>
    /// <param name="from">Where to go on in the rows that wait; null: from the beginning.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <returns>How many requests were put right, and the last place in the queue that was seen.</returns>
    internal async Task<(int Repaired, UnfinishedCursor? Cursor)> RebuildAsync(UnfinishedCursor? from, CancellationToken cancellationToken)
    {
        var repaired = await RebuildProcessingAsync(cancellationToken);
        var cursor = from;
        var attaching = Task.FromResult(0);
        try
        {
            while (await store.ListWaitingAsync(cursor, LookSize, cancellationToken) is { Count: > 0 } page)
            {
                // A row that has a living job was come to before, or was claimed and given back.
                var enqueued = queue.EnqueueAll([.. page.Where(row => row.HangfireJobId is not { } job || !jobs.WillRun(job))]);
                repaired += await attaching;
                // Half of the work is Hangfire's and half the database's: the rows of one page learn their jobs while the next page gets its.
                attaching = Task.Run(() => queue.AttachAsync(enqueued), CancellationToken.None);
                cursor = new UnfinishedCursor(page[^1].QueuedAt, page[^1].Id);
                cancellationToken.ThrowIfCancellationRequested();
            }
        }
        finally
        {
            repaired += await attaching; // Whoever tries again looks at what it has left.
        }

        return (repaired, cursor);
    }

    /// <summary>What an earlier process was generating when it died goes first.</summary>
    private async Task<int> RebuildProcessingAsync(CancellationToken cancellationToken)
    {
        var repaired = 0;
        UnfinishedCursor? cursor = null;
        while (await store.ListByStatusAsync(MessageStatus.Processing, cursor, BatchSize, cancellationToken) is { Count: > 0 } page)
        {
            foreach (var message in page)
            {
                cursor = new UnfinishedCursor(message.QueuedAt!.Value, message.Id); // Only image rows are listed, and those have it.
                var isOurs = running.IsRunning(message.Id) || (message.HangfireJobId is { } job && jobs.Find(job) is not null);
                if (!isOurs && await GiveUpAsync(message, null, "its process is gone", AttemptCharge.Failure, cancellationToken))
                    repaired++;
            }
        }

        return repaired;
    }

    private async Task<int> SweepSilentAsync(CancellationToken cancellationToken)
    {
        var repaired = 0;
        UnfinishedCursor? cursor = null;
        while (await store.ListSilentAsync(Heartbeat.SuspectAfter, cursor, BatchSize, cancellationToken) is { Count: > 0 } page)
        {
            var verySilent = (await store.ListSilentAsync(Heartbeat.DeadAfter, cursor, BatchSize, cancellationToken)).Select(message => message.Id).ToHashSet();
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
    /// <param name="isVerySilent">And even for <see cref="Heartbeat.DeadAfter"/>.</param>
    /// <param name="cancellationToken">Gives up.</param>
    private async Task<bool> RepairSilentAsync(Message message, bool isVerySilent, CancellationToken cancellationToken)
    {
        if (running.IsRunning(message.Id))
            return false;
        var state = message.HangfireJobId is { } job ? jobs.Find(job) : null;
        switch (state?.Name)
        {
            case null:
                return await GiveUpAsync(message, null, "its Hangfire job is gone", AttemptCharge.Failure, cancellationToken);
            case var name when name == DeletedState.StateName && !ImageJobs.IsOurs(state.Reason):
                return await CancelAsync(message.Id, message.HangfireJobId!, cancellationToken); // It has a state, so there is a job.
            case var name when name == DeletedState.StateName || name == FailedState.StateName || name == SucceededState.StateName:
                return await GiveUpAsync(message, null, $"its Hangfire job is over ({name}) without its end", AttemptCharge.None, cancellationToken);
            case var name when name == ProcessingState.StateName && !jobs.IsServerKnown(state):
                return await GiveUpAsync(message, message.HangfireJobId, "its Hangfire server died without a word", AttemptCharge.Failure, cancellationToken);
            case var name when name == ProcessingState.StateName && isVerySilent:
                return await GiveUpAsync(message, message.HangfireJobId, $"its worker has been silent for {Heartbeat.DeadAfter.TotalSeconds:0} s", AttemptCharge.None, cancellationToken);
            case var name when ImageJobs.WillRunIn(name) && name != ProcessingState.StateName && isVerySilent:
                return await RequeueForItsJobAsync(message, cancellationToken);
            default:
                return false;
        }
    }

    /// <summary>A worker is given up for dead: the request is queued again, in its place, or ends in error when that has happened too often.</summary>
    /// <param name="message">The request.</param>
    /// <param name="job">Its job, if its place in the queue may be had again.</param>
    /// <param name="why">For the log, and for the job's history.</param>
    /// <param name="charge">A failure when the request may be what killed its worker.</param>
    /// <param name="cancellationToken">Gives up.</param>
    private async Task<bool> GiveUpAsync(Message message, string? job, string why, AttemptCharge charge, CancellationToken cancellationToken)
    {
        var failures = message.Failures + (charge == AttemptCharge.Failure ? 1 : 0);
        if (policy.IsExhausted(failures))
        {
            // It may be what kills its workers: run again at every start, it would kill every start.
            var end = policy.Abandoned(failures) with { Reason = why };
            if (!(await store.FailAsync(message.Id, message.Attempt, texts.Failed(end.Sentence), end, cancellationToken)).Applied)
                return false;
            logger.LogError("Message {MessageId}: {Why}, failure {Failures} of {MaxAttempts}; it is given up.", message.Id, why, failures, options.Value.MaxAttempts);
            if (job is not null)
                jobs.Fail(job, end.Sentence);
            return true;
        }

        if (!(await store.RequeueAsync(message.Id, message.Attempt, charge, cancellationToken, why)).Applied)
            return false;
        logger.LogWarning("Message {MessageId}, attempt {Attempt}: {Why}; it is queued again ({Failures} failures of its own).", message.Id, message.Attempt, why, failures);

        // A worker that lives after all is stopped by the change of its job's state. Should it claim the row again before
        // that, the row is its, and the entry that was given back finds nothing to do.
        if (job is null || !jobs.TryGiveBack(job, fetched: null, $"given up, since {why}"))
            await queue.EnqueueAgainAsync(message.Id, message.HangfireJobId);
        return true;
    }

    /// <summary>Its job was put back while it was generated, and waits; so does the request.</summary>
    private async Task<bool> RequeueForItsJobAsync(Message message, CancellationToken cancellationToken)
    {
        var requeued = await store.RequeueAsync(message.Id, message.Attempt, AttemptCharge.None, cancellationToken, "its Hangfire job was put back into the queue");
        if (requeued.Applied)
            logger.LogWarning("Message {MessageId} is queued again: its Hangfire job {HangfireJobId} was put back into the queue.", message.Id, message.HangfireJobId);
        return requeued.Applied;
    }

    private async Task<int> SweepJoblessAsync(CancellationToken cancellationToken)
    {
        var repaired = 0;
        UnfinishedCursor? cursor = null;
        while (await store.ListJoblessAsync(EnqueueGrace, cursor, LookSize, cancellationToken) is { Count: > 0 } page)
        {
            var enqueued = await queue.EnqueueAgainAsync(page);
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
        for (var compared = 0; compared < MostCompared; compared += LookSize)
        {
            var page = await store.ListWaitingAsync(_compared, LookSize, cancellationToken);

            // Who is in the snapshot will run; only the few others are asked for one by one.
            foreach (var row in page)
            {
                if (row.HangfireJobId is { } job && snapshot.PositionOf(job) is null && await RepairWaitingAsync(row.Id, job, cancellationToken))
                    repaired++;
            }

            _compared = page.Count < LookSize ? null : new UnfinishedCursor(page[^1].QueuedAt, page[^1].Id);
            if (_compared is null)
                break;
        }

        return repaired;
    }

    private async Task<bool> RepairWaitingAsync(long messageId, string job, CancellationToken cancellationToken)
    {
        var state = jobs.Find(job);
        if (state?.Name == ProcessingState.StateName && !jobs.AreVolatile && !jobs.IsServerKnown(state))
            return TryGiveBack(messageId, job);
        if (ImageJobs.WillRunIn(state?.Name))
            return false;
        if (state?.Name == DeletedState.StateName && !ImageJobs.IsOurs(state.Reason))
            return await CancelAsync(messageId, job, cancellationToken);
        if (state?.Name == FailedState.StateName)
            return await FailAsync(messageId, job, cancellationToken);
        var enqueued = await queue.EnqueueAgainAsync(messageId, job);
        if (enqueued.Applied)
            logger.LogWarning("Message {MessageId} is enqueued: its Hangfire job was {What}.", messageId, state is null ? "gone" : $"over ({state.Name})");
        return enqueued.Applied;
    }

    /// <summary>Its worker died between the fetch and the claim.</summary>
    private bool TryGiveBack(long messageId, string job)
    {
        if (!jobs.TryGiveBack(job, fetched: null, "its Hangfire server died before it was begun"))
            return false;
        logger.LogWarning("Message {MessageId}'s Hangfire job {HangfireJobId} is back in the queue: its server died before it was begun.", messageId, job);
        return true;
    }

    private async Task<bool> CancelAsync(long messageId, string job, CancellationToken cancellationToken)
    {
        var cancelled = await store.CancelByHangfireJobAsync(job, texts.Cancelled, cancellationToken);
        if (cancelled.Applied)
            logger.LogWarning("Message {MessageId} is cancelled: its Hangfire job {HangfireJobId} was deleted.", messageId, job);
        return cancelled.Applied;
    }

    /// <summary>
    /// Hangfire could not even begin the job (its code was not found, a service could not be made), and would not the next time.
    /// </summary>
    private async Task<bool> FailAsync(long messageId, string job, CancellationToken cancellationToken)
    {
        // Claimed first: only its own attempt may end a request in error.
        if (await store.ClaimAsync(messageId, job, backend: null, lease: null, cancellationToken) is not { Applied: true, Message: { } message })
            return false;
        logger.LogError("Message {MessageId} ends in error: Hangfire could not run its job {HangfireJobId}.", messageId, job);
        var end = new RequestFailure(ErrorCodes.Unexpected, texts.Unexpected);
        await store.FailAsync(messageId, message.Attempt, texts.Failed(end.Sentence), end, cancellationToken);
        return true;
    }
}
