using Hangfire;
using Hangfire.States;
using Hangfire.Storage;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace ImageQueue.Core.Requests;

/// <summary>
/// Finds requests whose Hangfire job is missing, deleted, failed, over, or owned by a dead server, and puts each right once.
/// Every repair is a guarded write, so many machines may sweep at once, and again.
/// </summary>
/// <remarks>
/// What leads here: a crash between the row's commit and Hangfire's, a worker that died or was cut off from the database,
/// jobs that expired or were changed without a filter (direct SQL), Hangfire failing to write a state.
/// </remarks>
public sealed class Sweep(
    IMessageStore store,
    EnqueueImageRequest queue,
    ImageJobs jobs,
    RunningJobs running,
    IQueueOrder order,
    MessageTexts texts,
    IOptions<ForgeOptions> options,
    TimeProvider time,
    ILogger<Sweep> logger)
{
    /// <summary>How long a row without a heartbeat is believed to be painted all the same; the pump writes one each ten seconds.</summary>
    internal static readonly TimeSpan HeartbeatTimeout = TimeSpan.FromSeconds(60);

    /// <summary>The same where there is more against it than silence: its Hangfire job is not running, or its server is gone.</summary>
    internal static readonly TimeSpan QuietTime = TimeSpan.FromSeconds(20);

    /// <summary>How long a submit may take from its row to its Hangfire job.</summary>
    internal static readonly TimeSpan EnqueueGrace = TimeSpan.FromSeconds(10);

    /// <summary>Rows that are read, and repaired, together; the repairs' writes share a commit.</summary>
    private const int BatchSize = 200;

    private const int LookSize = 2000;

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
        if (queue.IsRebuilding)
            return 0; // The rebuild is such a look itself, and comes to every row.
        var repaired = await SweepProcessingAsync(cancellationToken);
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
        var repaired = await SweepProcessingAsync(cancellationToken);
        var cursor = from;
        while (await store.ListWaitingAsync(cursor, BatchSize, cancellationToken) is { Count: > 0 } page)
        {
            // A row that has a living job was come to before, or was claimed and given back. Hangfire gets the others in
            // order; only the writes that follow run side by side.
            var jobless = page.Where(row => row.HangfireJobId is not { } job || !jobs.WillRun(job)).ToList();
            await Task.WhenAll(jobless.Select(row => queue.EnqueueAgainAsync(row.Id, row.HangfireJobId)));
            repaired += jobless.Count;
            cursor = new UnfinishedCursor(page[^1].QueuedAt, page[^1].Id);
            cancellationToken.ThrowIfCancellationRequested();
        }

        return (repaired, cursor);
    }

    private async Task<int> SweepProcessingAsync(CancellationToken cancellationToken)
    {
        var repaired = 0;
        UnfinishedCursor? cursor = null;
        while (await store.ListByStatusAsync(MessageStatus.Processing, cursor, BatchSize, cancellationToken) is { Count: > 0 } page)
        {
            foreach (var message in page)
            {
                if (await RepairProcessingAsync(message, cancellationToken))
                    repaired++;
                cursor = new UnfinishedCursor(message.QueuedAt!.Value, message.Id); // Only image rows are listed, and those have it.
            }
        }

        return repaired;
    }

    private async Task<bool> RepairProcessingAsync(Message message, CancellationToken cancellationToken)
    {
        if (running.IsRunning(message.Id))
            return false;
        var state = message.HangfireJobId is { } job ? jobs.Find(job) : null;
        var silence = time.GetUtcNow() - (message.HeartbeatAt ?? message.UpdatedAt);
        switch (state?.Name)
        {
            case null when jobs.AreVolatile:
                return await GiveUpAsync(message, null, "its process is gone", cancellationToken);
            case null when silence > QuietTime:
                return await GiveUpAsync(message, null, "its Hangfire job is gone", cancellationToken);
            case var name when name == DeletedState.StateName:
                return await CancelAsync(message.Id, message.HangfireJobId!, cancellationToken); // It has a state, so there is a job.
            case var name when (name == FailedState.StateName || name == SucceededState.StateName) && silence > QuietTime:
                return await GiveUpAsync(message, message.HangfireJobId, $"its Hangfire job is over ({name}) without its end", cancellationToken);
            case var name when name == ProcessingState.StateName && silence > QuietTime && !jobs.IsServerKnown(state!):
                return await GiveUpAsync(message, message.HangfireJobId, "its Hangfire server is gone", cancellationToken);
            case var name when name == ProcessingState.StateName && silence > HeartbeatTimeout:
                return await GiveUpAsync(message, message.HangfireJobId, $"its worker has been silent for {silence.TotalSeconds:0} s", cancellationToken);
            case var name when ImageJobs.WillRunIn(name) && name != ProcessingState.StateName && silence > HeartbeatTimeout:
                return await RequeueForItsJobAsync(message, cancellationToken);
            default:
                return false;
        }
    }

    /// <summary>A worker is given up for dead: the request is queued again, or ends in error when that has happened too often.</summary>
    /// <param name="message">The request.</param>
    /// <param name="job">Its job, if Hangfire still knows it.</param>
    /// <param name="why">For the log, and for the job's history.</param>
    /// <param name="cancellationToken">Gives up.</param>
    private async Task<bool> GiveUpAsync(Message message, string? job, string why, CancellationToken cancellationToken)
    {
        var tries = message.Failures + 1;
        if (tries >= options.Value.MaxAttempts)
        {
            // It may be what kills its workers: run again at every start, it would kill every start.
            var sentence = texts.Abandoned(tries);
            var failed = await store.FailAsync(message.Id, message.Attempt, texts.Failed(sentence), new RequestFailure(ErrorCodes.Abandoned, sentence), cancellationToken);
            if (!failed.Applied)
                return false;
            logger.LogError("Message {MessageId}: {Why}, in attempt {Tries} of {MaxAttempts}; it is given up.", message.Id, why, tries, options.Value.MaxAttempts);
            if (job is not null)
                jobs.Fail(job, sentence);
            return true;
        }

        if (!(await store.RequeueAsync(message.Id, message.Attempt, blamed: true, cancellationToken)).Applied)
            return false;
        logger.LogWarning("Message {MessageId}: {Why}, in attempt {Tries} of {MaxAttempts}; it is queued again.", message.Id, why, tries, options.Value.MaxAttempts);
        await queue.EnqueueAgainAsync(message.Id, message.HangfireJobId);
        // After it has a new one: a crash in between must not leave a row whose only job looks deleted by an operator. A
        // worker that lives after all is told by this to stop.
        if (job is not null)
            jobs.Delete(job, $"given up, since {why}");
        return true;
    }

    /// <summary>Its job was put back while it was painted, and waits; so does the request.</summary>
    private async Task<bool> RequeueForItsJobAsync(Message message, CancellationToken cancellationToken)
    {
        var requeued = await store.RequeueAsync(message.Id, message.Attempt, blamed: false, cancellationToken);
        if (requeued.Applied)
            logger.LogWarning("Message {MessageId} is queued again: its Hangfire job {HangfireJobId} was put back into the queue.", message.Id, message.HangfireJobId);
        return requeued.Applied;
    }

    private async Task<int> SweepWaitingAsync(CancellationToken cancellationToken)
    {
        var repaired = 0;
        var snapshot = await order.GetAsync(cancellationToken);
        UnfinishedCursor? cursor = null;
        while (await store.ListWaitingAsync(cursor, LookSize, cancellationToken) is { Count: > 0 } page)
        {
            // Who is in the snapshot will run; only the few others are asked for one by one.
            foreach (var row in page.Where(row => row.HangfireJobId is not { } job || snapshot.PositionOf(job) is null))
            {
                if (await RepairWaitingAsync(row, cancellationToken))
                    repaired++;
            }

            cursor = new UnfinishedCursor(page[^1].QueuedAt, page[^1].Id);
        }

        return repaired;
    }

    private async Task<bool> RepairWaitingAsync(WaitingRequest row, CancellationToken cancellationToken)
    {
        if (row.HangfireJobId is not { } job)
        {
            return time.GetUtcNow() - row.QueuedAt > EnqueueGrace
                && await EnqueueAsync(row, "it had no Hangfire job");
        }

        var state = jobs.Find(job)?.Name;
        if (ImageJobs.WillRunIn(state))
            return false;
        if (state == DeletedState.StateName)
            return await CancelAsync(row.Id, job, cancellationToken);
        return state == FailedState.StateName
            ? await FailAsync(row.Id, job, cancellationToken)
            : await EnqueueAsync(row, state is null ? "its Hangfire job was gone" : $"its Hangfire job was over ({state})");
    }

    private async Task<bool> EnqueueAsync(WaitingRequest row, string why)
    {
        var enqueued = await queue.EnqueueAgainAsync(row.Id, row.HangfireJobId);
        if (enqueued.Applied)
            logger.LogWarning("Message {MessageId} is enqueued: {Why}.", row.Id, why);
        return enqueued.Applied;
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
        await store.FailAsync(messageId, message.Attempt, texts.Failed(texts.Unexpected), new RequestFailure(ErrorCodes.Unexpected, texts.Unexpected), cancellationToken);
        return true;
    }
}
