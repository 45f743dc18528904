using ImageQueue.Core.Generation;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Requests;

namespace ImageQueue.Core.Recovery;

/// <summary>The repairs of stuck requests. Each is a guarded write, so that many processes may repair at once, and again.</summary>
public sealed class RequestRepairs(
    IMessageStore store, EnqueueImageRequest enqueue, CancelImageRequest cancel, ImageJobs jobs, IQueueOrder order, FailurePolicy policy,
    MessageTexts texts, ILogger<RequestRepairs> logger)
{
    /// <summary>Takes a request from a worker that is dead: queues it again in its place, or ends it after too many failures.</summary>
    /// <param name="job">Its job, if its place in the queue can be restored.</param>
    /// <param name="charge">A failure when the request may have killed its worker.</param>
    internal async Task<bool> AbandonAsync(
        Message message, string? job, string reason, AttemptCharge charge, CancellationToken cancellationToken)
    {
        var failures = message.Failures + (charge == AttemptCharge.Failure ? 1 : 0);
        if (policy.IsExhausted(failures))
        {
            // It may be what kills its workers: run again at every start, it would kill every start.
            var failure = policy.Abandoned(failures) with { Reason = reason };
            if (await store.FailAsync(message.Id, message.Attempt, texts.Failed(failure.Sentence), failure, cancellationToken)
                is not { Applied: true, Message: { } failed })
            {
                return false;
            }

            logger.LogFinished(texts.UsersInLogs, failed);
            logger.LogError("Message {MessageId} ends in error: {Reason}; {Failures} failures.", message.Id, reason, failures);
            if (job is not null)
                jobs.Fail(job, failure.Sentence);
            return true;
        }

        if (!(await store.RequeueAsync(message.Id, message.Attempt, charge, cancellationToken, reason)).Applied)
            return false;
        logger.LogWarning(
            "Message {MessageId}, attempt {Attempt}: {Reason}; requeued, {Failures} failures.",
            message.Id, message.Attempt, reason, failures);

        // A worker that lives after all is stopped by the change of its job's state. If it claims the row again before that, the row
        // is its own, and the next worker finds the job's entry stale.
        if (job is null || !jobs.TryGiveBack(job, fetched: null, $"given up, since {reason}"))
            await enqueue.EnqueueAgainAsync(message.Id, message.HangfireJobId, message.Username);
        return true;
    }

    /// <summary>Its job was requeued during the generation, and waits; so must the request.</summary>
    internal async Task<bool> RequeueForItsJobAsync(Message message, CancellationToken cancellationToken)
    {
        var requeued = await store.RequeueAsync(
            message.Id, message.Attempt, AttemptCharge.None, cancellationToken, "its Hangfire job was put back into the queue");
        if (requeued.Applied)
        {
            logger.LogWarning(
                "Message {MessageId} is queued again: its Hangfire job {HangfireJobId} was put back into the queue.",
                message.Id, message.HangfireJobId);
        }

        return requeued.Applied;
    }

    /// <summary>Enqueues a waiting request whose job is missing or over.</summary>
    internal async Task<bool> EnqueueAsync(WaitingRequest row, string reason)
    {
        var enqueued = await enqueue.EnqueueAgainAsync(row.Id, row.HangfireJobId, row.Username);
        if (enqueued.Applied)
            logger.LogWarning("Message {MessageId} is enqueued: its Hangfire job was {Reason}.", row.Id, reason);
        return enqueued.Applied;
    }

    /// <summary>Gives the job back to its place: its worker died between fetch and claim.</summary>
    internal bool TryGiveBack(long messageId, string job)
    {
        if (!jobs.TryGiveBack(job, fetched: null, "its Hangfire server died before the claim"))
            return false;
        logger.LogWarning(
            "Message {MessageId}: Hangfire job {HangfireJobId} is back in the queue; its server died before the claim.", messageId, job);
        return true;
    }

    internal async Task<bool> CancelAsync(string job, CancellationToken cancellationToken) =>
        (await cancel.CancelByJobAsync(job, cancellationToken)).Applied;

    /// <summary>Ends a waiting request in error, and its job with it.</summary>
    internal async Task<bool> FailWaitingAsync(long messageId, string? job, RequestFailure failure, CancellationToken cancellationToken)
    {
        if (await store.FailQueuedAsync(messageId, job, texts.Failed(failure.Sentence), failure, cancellationToken)
            is not { Applied: true, Message: { } failed })
        {
            return false;
        }

        logger.LogFinished(texts.UsersInLogs, failed);
        if (job is null)
            return true;
        // A crash here leaves a job that fails by the row when a worker takes it.
        if (jobs.WillRun(job))
            jobs.Fail(job, failure.Sentence);
        order.Remove(job);
        return true;
    }

    /// <summary>Ends a request whose job Hangfire could not start: its code was not found, or a service could not be created.</summary>
    internal async Task<bool> FailUnstartableAsync(long messageId, string job, CancellationToken cancellationToken)
    {
        var isFailed = await FailWaitingAsync(
            messageId, job, new RequestFailure(ErrorCodes.Unexpected, texts.Unexpected), cancellationToken);
        if (isFailed)
            logger.LogError("Message {MessageId} ends in error: Hangfire could not start its job {HangfireJobId}.", messageId, job);
        return isFailed;
    }
}
