using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;

namespace ImageQueue.Core.Requests;

/// <summary>Somebody wants a failed or cancelled picture after all.</summary>
public sealed class RetryImageRequest(IMessageStore store, EnqueueImageRequest queue, IQueueOrder order)
{
    /// <summary>Puts a request in error or cancelled at the queue's tail again, under a new Hangfire job.</summary>
    public async Task<Transition> RetryAsync(long messageId, CancellationToken cancellationToken)
    {
        var position = (await order.GetAsync(cancellationToken)).Count + 1;
        var retried = await store.RetryAsync(messageId, position, cancellationToken);
        return retried is { Applied: true, Message: { } message }
            ? retried with { Message = await queue.EnqueueAsync(message) }
            : retried;
    }
}
