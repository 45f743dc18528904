using ImageQueue.Core.Generation;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Storage;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Requests;

/// <summary>
/// Somebody wants a message, or a whole conversation, to be gone: words, metadata and files. Begun again after a crash, it goes on
/// where it was.
/// </summary>
public sealed class EraseMessages(IMessageStore store, CancelImageRequest cancel, ImageFiles images, IMessageDatabase database, ILogger<EraseMessages> logger)
{
    private const int PageSize = 100;

    /// <summary>Messages of one conversation that are erased at a time.</summary>
    private const int AtOnce = 8;

    /// <summary>Erases a message; an image under way is cancelled first.</summary>
    /// <returns>False when there is no such message.</returns>
    /// <exception cref="IOException">A file could not be removed; the message is still there.</exception>
    public async Task<bool> EraseAsync(long id, CancellationToken cancellationToken)
    {
        if (await store.FindAsync(id, cancellationToken) is not { } message || !await EraseAsync(message, cancellationToken))
            return false;
        await database.SettleAsync(cancellationToken);
        return true;
    }

    /// <summary>Erases a conversation and all its messages.</summary>
    /// <returns>False when there is nothing of it.</returns>
    /// <exception cref="IOException">A file could not be removed; called again, it goes on.</exception>
    public async Task<bool> EraseConversationAsync(string conversationId, CancellationToken cancellationToken)
    {
        // Closed first: nothing is added to what is being erased.
        var isErased = await store.CloseConversationAsync(conversationId, cancellationToken);
        while (await store.ListAsync(conversationId, 0, PageSize, cancellationToken) is { Count: > 0 } page)
        {
            isErased = true;
            await Parallel.ForEachAsync(
                page,
                new ParallelOptions { MaxDegreeOfParallelism = AtOnce, CancellationToken = cancellationToken },
                async (message, stop) => await EraseAsync(message, stop));
        }

        if (isErased)
            await database.SettleAsync(cancellationToken);
        return isErased;
    }

    /// <summary>
    /// The files go before the row, so that a crash leaves a message that can be erased again, and never a file that nobody knows
    /// of; and once more after it, for what a worker has shown of the image before it learnt of its end.
    /// </summary>
    private async Task<bool> EraseAsync(Message message, CancellationToken cancellationToken)
    {
        if (message.Status is MessageStatus.Queued or MessageStatus.Processing && (await cancel.CancelAsync(message.Id, cancellationToken)).Message is { } cancelled)
            message = cancelled;
        Remove(message);
        if ((await store.EraseAsync(message.Id, cancellationToken)).Message is not { } tombstone)
            return false;
        Remove(tombstone);
        logger.LogInformation("Message {MessageId} is erased.", message.Id);
        return true;
    }

    private void Remove(Message message)
    {
        if (message.JobId is { } jobId)
            images.RemoveAll(jobId, message.Attempt);
    }
}
