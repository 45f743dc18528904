using ImageQueue.Core.Queue;

namespace ImageQueue.Core.Requests;

/// <summary>Moves a waiting request to the first position, for an operator.</summary>
public sealed class PrioritizeImageRequest(IMessageStore store, IQueueOrder order, ILogger<PrioritizeImageRequest> logger)
{
    /// <summary>Moves the request's job; its row gets an event: the stored position follows the live one.</summary>
    /// <returns>Not applied when it does not wait, or a worker has just dequeued it.</returns>
    public async Task<Transition> MoveAsync(long messageId, CancellationToken cancellationToken)
    {
        var message = await store.FindAsync(messageId, cancellationToken);
        var isMoved = message is { Status: MessageStatus.Queued, HangfireJobId: { } job }
            && await order.TryMoveToFrontAsync(job, cancellationToken);
        if (isMoved)
        {
            logger.LogInformation("Message {MessageId} is moved to the front of the queue by {Actor}.", messageId, Actor.Current);
            await store.NoteAsync(messageId, RequestEventKinds.Prioritized, CancellationToken.None);
        }

        return new Transition(isMoved, message);
    }
}
