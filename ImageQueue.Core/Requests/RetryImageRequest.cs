using ImageQueue.Core.Queue;

namespace ImageQueue.Core.Requests;

/// <summary>Retries a request in error or cancelled.</summary>
public sealed class RetryImageRequest(
    IRequestStore store, EnqueueImageRequest queue, QueuePositions positions, IOptions<QueueOptions> options,
    ILogger<RetryImageRequest> logger)
{
    /// <summary>Queues the request at the tail, under a new Hangfire job, within the limits of a submit.</summary>
    /// <exception cref="TooManyPendingException">The user's or the whole queue is full.</exception>
    /// <exception cref="StoreUnavailableException">The database cannot be written; nothing was changed.</exception>
    public Task<Transition> RetryAsync(long messageId, CancellationToken cancellationToken) =>
        RetryAsync(messageId, options.Value.UserLimits, cancellationToken);

    /// <summary>Queues the request for an operator, whom a user's limits do not bind.</summary>
    /// <exception cref="TooManyPendingException">The whole queue is full.</exception>
    /// <exception cref="StoreUnavailableException">The database cannot be written; nothing was changed.</exception>
    public Task<Transition> RetryForOperatorAsync(long messageId, CancellationToken cancellationToken) =>
        RetryAsync(messageId, UserLimits.None, cancellationToken);

    private async Task<Transition> RetryAsync(long messageId, UserLimits limits, CancellationToken cancellationToken)
    {
        var waiting = await positions.CountAsync(cancellationToken);
        if (waiting >= options.Value.MaxLength)
            throw TooManyPendingException.OfAll(options.Value.MaxLength);
        var retried = await store.RetryAsync(messageId, waiting + 1, limits, cancellationToken);
        if (retried is not { Applied: true, Message: { } message })
            return retried;
        logger.LogRetried(message);
        return retried with { Message = await queue.EnqueueAsync(message) };
    }
}
