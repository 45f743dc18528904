using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;
using Microsoft.Extensions.Options;

namespace ImageQueue.Core.Requests;

/// <summary>Somebody wants a failed or cancelled picture after all.</summary>
public sealed class RetryImageRequest(IMessageStore store, EnqueueImageRequest queue, IQueueOrder order, IOptions<QueueOptions> options)
{
    /// <summary>Puts a request in error or cancelled at the queue's tail again, under a new Hangfire job.</summary>
    public async Task<Transition> RetryAsync(long messageId, CancellationToken cancellationToken)
    {
        var position = (await order.GetAsync(cancellationToken)).Count + 1;
        var retried = await store.RetryAsync(messageId, position, options.Value.UserLimits, cancellationToken);
        return retried is { Applied: true, Message: { } message }
            ? retried with { Message = await queue.EnqueueAsync(message) }
            : retried;
    }
}
