using ImageQueue.Core.Generation;
using ImageQueue.Core.Storage;

namespace ImageQueue.Core.Requests;

/// <summary>Erases a message, or a whole conversation: words, metadata and files.</summary>
public sealed class EraseMessages(
    IMessageStore store, CancelImageRequest cancel, ImageFiles images, UsedUploads uploads, IMessageDatabase database,
    ILogger<EraseMessages> logger)
{
    private const int PageSize = 100;

    /// <summary>Messages of one conversation that are erased at a time.</summary>
    private const int Concurrency = 8;

    /// <summary>Erases a message; an image that is generated is cancelled first.</summary>
    /// <returns>False when there is no such message.</returns>
    /// <exception cref="IOException">A file could not be removed; the message is still there.</exception>
    public async Task<bool> EraseAsync(long id, CancellationToken cancellationToken)
    {
        if (await store.FindAsync(id, cancellationToken) is not { } message || !await EraseAsync(message, cancellationToken))
            return false;
        await database.SettleAsync(CancellationToken.None);
        return true;
    }

    /// <summary>
    /// Erases a conversation and all its messages. Once it is closed nothing depends on the caller; a crash after that leaves a closed
    /// conversation, which <see cref="FinishAsync"/> finishes.
    /// </summary>
    /// <returns>False when there is no such conversation.</returns>
    /// <exception cref="IOException">A file could not be removed; another call goes on.</exception>
    public async Task<bool> EraseConversationAsync(string conversationId, CancellationToken cancellationToken)
    {
        // Closed first: no message is added to a conversation that is being erased.
        var isErased = await store.CloseConversationAsync(conversationId, cancellationToken);
        isErased |= await EraseAllAsync(conversationId, CancellationToken.None);
        if (isErased)
            await database.SettleAsync(CancellationToken.None);
        return isErased;
    }

    /// <summary>Erases what is left of closed conversations.</summary>
    /// <returns>How many there were.</returns>
    public async Task<int> FinishAsync(CancellationToken cancellationToken)
    {
        var finished = 0;
        foreach (var conversationId in await store.ListClosedConversationsAsync(PageSize, cancellationToken))
        {
            try
            {
                if (!await EraseAllAsync(conversationId, cancellationToken))
                    continue;
                finished++;
                logger.LogInformation("Conversation {ConversationId} is erased: an earlier call had closed it.", conversationId);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                logger.LogWarning(
                    e, "Conversation {ConversationId} is not erased, since a file could not be removed; the next pass tries again.",
                    conversationId);
            }
        }

        if (finished > 0)
            await database.SettleAsync(cancellationToken);
        return finished;
    }

    private async Task<bool> EraseAllAsync(string conversationId, CancellationToken cancellationToken)
    {
        var isErased = false;
        await uploads.RemoveUnusedAsync(conversationId, cancellationToken);
        while (await store.ListAsync(conversationId, 0, PageSize, cancellationToken) is { Count: > 0 } page)
        {
            isErased = true;
            await Parallel.ForEachAsync(
                page, new ParallelOptions { MaxDegreeOfParallelism = Concurrency, CancellationToken = cancellationToken },
                async (message, stop) => await EraseAsync(message, stop));
        }

        return isErased;
    }

    /// <summary>
    /// The files go before the row, so that a crash leaves a message that can be erased again, and never a file without a row; and once
    /// more after it, for previews that a worker wrote before it saw the row.
    /// </summary>
    private async Task<bool> EraseAsync(Message message, CancellationToken cancellationToken)
    {
        if (message.Status is MessageStatus.Queued or MessageStatus.Processing
            && (await cancel.CancelAsync(message.Id, cancellationToken)).Message is { } cancelled)
        {
            message = cancelled;
        }

        Remove(message);
        if ((await store.EraseAsync(message.Id, cancellationToken)).Message is not { } tombstone)
            return false;
        Remove(tombstone);
        await uploads.RemoveFilesAsync(message, CancellationToken.None);
        logger.LogInformation("Message {MessageId} is erased by {Actor}.", message.Id, Actor.Current);
        return true;
    }

    private void Remove(Message message)
    {
        if (message.JobId is { } jobId)
            images.RemoveAll(jobId, message.Attempt);
    }
}
