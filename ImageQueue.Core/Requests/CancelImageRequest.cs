using ImageQueue.Core.Generation;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;

namespace ImageQueue.Core.Requests;

/// <summary>Somebody does not want a picture any more.</summary>
public sealed class CancelImageRequest(IMessageStore store, ImageJobs jobs, RunningJobs running, IQueueOrder order, MessageTexts texts)
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
            jobs.Delete(job);
        order.Changed();
        return cancelled;
    }
}
