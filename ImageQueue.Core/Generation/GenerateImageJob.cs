using Hangfire;
using Hangfire.Server;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Requests;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace ImageQueue.Core.Generation;

/// <summary>The Hangfire job of one image request: waits for a free Forge, claims the row, paints, and writes how it ended.</summary>
/// <remarks>
/// The row decides; Hangfire's state follows it: complete is Succeeded, error is Failed, cancelled is Deleted. A crash anywhere
/// here leaves a processing row, which the next run of the same job claims again, or the sweep gives to another one.
/// </remarks>
public sealed partial class GenerateImageJob(
    IMessageStore store,
    ForgePool pool,
    IForgeClient forge,
    ForgeModels models,
    ProgressPump pump,
    ImageFiles images,
    FailurePolicy policy,
    MessageTexts texts,
    HeldJobs held,
    Turns turns,
    RunningJobs running,
    ImageJobs jobs,
    OperatorWishes wishes,
    FollowOperators operators,
    IQueueOrder order,
    IOptions<ForgeOptions> options,
    IOptions<ShutdownOptions> shutdown,
    TimeProvider time,
    ILogger<GenerateImageJob> logger)
{
    /// <summary>How long a picture's end is kept at hand when the database is away; minutes of painting should not be lost to it.</summary>
    private static readonly TimeSpan FinishPatience = TimeSpan.FromMinutes(10);

    /// <summary>The same when the process stops: then the row stays processing, and the next start finds it.</summary>
    private static readonly TimeSpan FinishPatienceWhenStopping = TimeSpan.FromSeconds(2);

    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(5);

    /// <summary>What Hangfire calls. Attempts are counted in the row: a Hangfire retry would send the request to the queue's tail.</summary>
    [AutomaticRetry(Attempts = 0)]
    [JobDisplayName("Image for message {0}")]
    public Task RunAsync(long messageId, PerformContext context, CancellationToken cancellationToken) =>
        // Hangfire runs a job's continuations on the worker's own thread, and stops doing so once the token is cancelled: what
        // a job awaits after that would never go on (CoreBackgroundJobPerformer.InvokeOnTaskPump). So not on that thread.
        Task.Run(
            () => RunAsync(new Run(messageId, context.BackgroundJob.Id, context.CancellationToken, cancellationToken)), CancellationToken.None);

    /// <summary>Paints the message's picture.</summary>
    /// <exception cref="ImageRequestFailedException">The request has ended in error; its row says so.</exception>
    /// <exception cref="OperationCanceledException">The process stops and Hangfire puts the job back, or the job was taken from this worker.</exception>
    /// <exception cref="JobAbortedException">The job was taken from this worker.</exception>
    internal async Task RunAsync(Run run)
    {
        while (!await TryAsync(run))
        {
            // Given back by this very job, or retried by an operator: it keeps its turn.
        }
    }

    /// <returns>False when the request is to be begun again.</returns>
    private async Task<bool> TryAsync(Run run)
    {
        using var turn = turns.Begin(run.HangfireJobId);
        using var holding = held.Hold(run.HangfireJobId);
        order.Changed();
        var (lease, outage) = await AcquireAsync(turn, run.Cancelled);
        using var _ = lease;
        var claim = await ClaimAsync(run);
        holding.Dispose();
        order.Changed();
        if (claim is not { Applied: true, Message: { } message })
            return await FollowRowAsync(run);
        return lease is null
            ? await FailAsync(run, message, policy.NoBackend().Failure!.Value, outage) // NoBackend always ends it.
            : await AttemptAsync(run, message, lease);
    }

    /// <summary>Waits for a server; no lease, but the reason, when none is healthy for too long.</summary>
    private async Task<(ForgeLease? Lease, ForgeException? Outage)> AcquireAsync(Turns.Turn turn, CancellationToken cancellationToken)
    {
        try
        {
            await turn.ComeAsync(cancellationToken);
            var acquiring = pool.AcquireAsync(options.Value.WaitForBackend, cancellationToken);
            turn.Dispose(); // In line, though perhaps not yet at its head.
            return (await acquiring, null);
        }
        catch (ForgeException e)
        {
            return (null, e);
        }
    }

    /// <summary>Waits for the database as long as it takes: failing here would run the whole queue dry into errors.</summary>
    private async Task<Transition> ClaimAsync(Run run)
    {
        for (var pause = FirstPause; ; pause = Longer(pause))
        {
            try
            {
                return await store.ClaimAsync(run.MessageId, run.HangfireJobId, null, run.Cancelled);
            }
            catch (StoreUnavailableException e)
            {
                logger.LogWarning(e, "Message {MessageId} cannot be claimed; trying again in {Pause}.", run.MessageId, pause);
                await Task.Delay(pause, time, run.Cancelled);
            }
        }
    }

    /// <returns>False when the request is to be begun again.</returns>
    private async Task<bool> AttemptAsync(Run run, Message message, ForgeLease lease)
    {
        using var stop = new CancellationTokenSource();
        using var registration = running.Register(message.Id, stop);
        var tries = message.Failures + 1;
        if (tries > options.Value.MaxAttempts)
        {
            // Every earlier attempt took its process with it, or this one would not be needed.
            return await FailAsync(run, message, new(ErrorCodes.Abandoned, texts.Abandoned(tries - 1)), null);
        }

        Exception failure;
        try
        {
            switch (await PaintAsync(run, message, lease, stop.Token))
            {
                case PaintEnd.Complete:
                    return true;
                case PaintEnd.Stopping:
                    throw await GiveBackAsync(run, message);
                case PaintEnd.Deleted:
                    await operators.CancelAsync(run.HangfireJobId, CancellationToken.None);
                    throw new OperationCanceledException(run.Cancelled);
                default:
                    return await FollowRowAsync(run);
            }
        }
        catch (Exception e) when (MeansFailure(e, run))
        {
            failure = e;
        }

        if (failure is ForgeException { Failure: ForgeFailure.Unavailable } unavailable)
        {
            if (run.Cancelled.IsCancellationRequested)
                throw await GiveBackAsync(run, message); // Forge and we are stopping together, as the simulator and we always do.
            lease.ReportUnavailable(unavailable.Reason);
        }

        if (policy.Decide(failure, tries).Failure is { } end)
            return await FailAsync(run, message, end, failure);
        logger.LogWarning(failure, "Message {MessageId}, attempt {Attempt}: {Backend} failed; trying again.", message.Id, message.Attempt, lease.Backend.Name);
        var requeued = await RequeueAsync(run, message);
        return !requeued.Applied && await FollowRowAsync(run);
    }

    /// <summary>Whether the request failed, and not this worker: a job that was taken from it, or a database that stays away, say nothing of the request.</summary>
    private static bool MeansFailure(Exception e, Run run) => e switch
    {
        OperationCanceledException => !run.Cancelled.IsCancellationRequested,
        ImageRequestFailedException or JobAbortedException or StoreUnavailableException => false,
        _ => true,
    };

    /// <summary>The row must not look as if somebody were still painting; Hangfire puts its job back at this exception.</summary>
    private async Task<OperationCanceledException> GiveBackAsync(Run run, Message message)
    {
        var requeued = await RequeueAsync(run, message);
        if (requeued.Applied)
            logger.LogInformation("Message {MessageId} goes back into the queue, with its turn.", message.Id);
        return new OperationCanceledException(run.Cancelled);
    }

    private Task<Transition> RequeueAsync(Run run, Message message) =>
        FinishAsync(run, message, () => store.RequeueAsync(message.Id, message.Attempt, blamed: true, CancellationToken.None));

    /// <returns>False when the row was lost meanwhile and can be claimed again.</returns>
    /// <exception cref="ImageRequestFailedException">The request has ended in error.</exception>
    private async Task<bool> FailAsync(Run run, Message message, RequestFailure failure, Exception? cause)
    {
        logger.LogError(cause, "Message {MessageId}, attempt {Attempt}: {Sentence}", message.Id, message.Attempt, failure.Sentence);
        var failed = await FinishAsync(
            run, message, () => store.FailAsync(message.Id, message.Attempt, texts.Failed(failure.Sentence), failure, CancellationToken.None));
        return failed.Applied || IsMine(failed.Message, message, MessageStatus.Error)
            ? throw new ImageRequestFailedException(failure.Sentence, cause)
            : await FollowRowAsync(run);
    }

    /// <summary>Repeats a last write that the database was not there for.</summary>
    private async Task<Transition> FinishAsync(Run run, Message message, Func<Task<Transition>> finish)
    {
        var started = time.GetTimestamp();
        for (var pause = FirstPause; ; pause = Longer(pause))
        {
            try
            {
                return await finish();
            }
            catch (StoreUnavailableException e)
                when (time.GetElapsedTime(started) < (run.Cancelled.IsCancellationRequested ? FinishPatienceWhenStopping : FinishPatience))
            {
                logger.LogWarning(e, "How message {MessageId} ended could not be stored; trying again in {Pause}.", message.Id, pause);
                await Task.Delay(pause, time, CancellationToken.None);
            }
        }
    }

    /// <summary>A repeated write is refused when the first one was stored after all.</summary>
    private static bool IsMine(Message? now, Message claimed, string status) => now?.Status == status && now.Attempt == claimed.Attempt;

    /// <summary>
    /// The row is not this job's to write. Brings Hangfire's state into line with it, or the row with what an operator has asked
    /// of this job.
    /// </summary>
    /// <returns>False when the row can be claimed.</returns>
    private async Task<bool> FollowRowAsync(Run run)
    {
        // Who is no longer the job's worker has no say in how it ends.
        run.Hangfire.ThrowIfCancellationRequested();

        // An operator has put the failed or deleted job back, and this worker was quicker than the one who brings that to the
        // row. Without a wish the row has the last word: it was cancelled a moment ago, and its job is about to be deleted.
        if (wishes.FindRetry(run.HangfireJobId) is { } wish)
        {
            await operators.RetryAsync(run.HangfireJobId, run.Cancelled);
            wishes.Close(wish);
        }

        // Read after the wish: whoever else granted it did so before taking it away.
        var message = await store.FindAsync(run.MessageId, run.Cancelled);
        var isMine = message?.HangfireJobId == run.HangfireJobId;
        logger.LogInformation("Message {MessageId} is {Status}; job {HangfireJobId} does not paint it.", run.MessageId, message?.Status ?? "gone", run.HangfireJobId);
        switch (message?.Status)
        {
            case MessageStatus.Queued:
            case MessageStatus.Processing when isMine:
                return false;
            case MessageStatus.Complete when isMine:
                return true;
            case MessageStatus.Error when isMine:
                throw new ImageRequestFailedException(message.Error ?? texts.Unexpected);
            case MessageStatus.Cancelled when isMine:
                jobs.Delete(run.HangfireJobId);
                break;
            default:
                jobs.Delete(run.HangfireJobId, message is null ? "its message is gone" : "another job has the request");
                break;
        }

        order.Changed();
        return true; // Hangfire changes nothing about a job that is deleted by now.
    }

    private static TimeSpan Longer(TimeSpan pause) => pause * 2 < LongestPause ? pause * 2 : LongestPause;

    /// <summary>One run of a Hangfire job.</summary>
    /// <param name="MessageId">The message.</param>
    /// <param name="HangfireJobId">The job.</param>
    /// <param name="Hangfire">Throws when the job is no longer this worker's.</param>
    /// <param name="Cancelled">
    /// Cancelled as soon as this process is asked to stop (what is being painted then has <see cref="ShutdownOptions.DrainTimeout"/>),
    /// and soon after the job was taken from this worker: deleted, or put back into the queue.
    /// </param>
    internal sealed record Run(long MessageId, string HangfireJobId, IJobCancellationToken Hangfire, CancellationToken Cancelled);
}
