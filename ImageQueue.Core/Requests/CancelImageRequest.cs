using ImageQueue.Core.Generation;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Requests;

/// <summary>Somebody does not want an image any more.</summary>
public sealed class CancelImageRequest(IRequestStore store, ImageJobs jobs, RunningJobs running, IQueueOrder order, MessageTexts texts, ILogger<CancelImageRequest> logger)
{
    /// <summary>
    /// Cancels a queued or processing request. The row decides: after it, whatever a worker still does is refused by the guards.
    /// </summary>
    public async Task<Transition> CancelAsync(long messageId, CancellationToken cancellationToken)
    {
        var cancelled = await store.CancelAsync(messageId, texts.Cancelled, cancellationToken);
        if (cancelled is not { Applied: true, Message: { } message })
            return cancelled;
        running.Stop(messageId);
        if (message.HangfireJobId is { } job)
        {
            DeleteJob(message.Id, job);
            order.Remove(job);
        }

        return cancelled;
    }

    private void DeleteJob(long messageId, string job)
    {
        try
        {
            jobs.Delete(job);
        }
        catch (Exception e)
        {
            // The row has been cancelled and says so to the job, should it run.
            logger.LogWarning(e, "Message {MessageId} is cancelled, but its Hangfire job {HangfireJobId} could not be deleted.", messageId, job);
        }
    }
}
