namespace ImageQueue.Core.Messages;

/// <summary>The rows of uploads. A row counts the messages that name it; its file is named by its id.</summary>
public interface IUploadStore
{
    /// <exception cref="ConversationDeletedException">The conversation was erased; nothing was added.</exception>
    Task AddUploadAsync(Upload upload, CancellationToken cancellationToken);

    /// <summary>Null when there is no such upload.</summary>
    Task<Upload?> FindUploadAsync(string id, CancellationToken cancellationToken);

    /// <summary>
    /// Lets a finished message name its uploads no longer, and removes the rows that no other message names. Once: the names are taken out
    /// of the metadata in the same transaction.
    /// </summary>
    Task ReleaseUploadsAsync(long messageId, CancellationToken cancellationToken);

    /// <summary>Removes the rows of a conversation's uploads that no message names.</summary>
    /// <returns>Their ids.</returns>
    Task<IReadOnlyList<string>> ForgetUploadsOfAsync(string conversationId, CancellationToken cancellationToken);

    /// <summary>Removes those of these rows that no message names.</summary>
    /// <returns>Their ids.</returns>
    Task<IReadOnlyList<string>> ForgetUploadsAsync(IReadOnlyCollection<string> ids, CancellationToken cancellationToken);

    /// <summary>Removes rows older than that which no message names, by the database's clock.</summary>
    /// <param name="ids">Ids of files.</param>
    /// <param name="olderThan">Since they were added.</param>
    /// <returns>Those of <paramref name="ids"/> that have no row, before or now.</returns>
    Task<IReadOnlyList<string>> ForgetUnusedUploadsAsync(
        IReadOnlyCollection<string> ids, TimeSpan olderThan, CancellationToken cancellationToken);
}

/// <summary>An image that a user has uploaded.</summary>
/// <param name="Id">32 lower-case hex digits, unguessable.</param>
/// <param name="ConversationId">Its owner is that of the conversation, which may come to exist later.</param>
/// <param name="Width">Pixels.</param>
/// <param name="Height">Pixels.</param>
public sealed record Upload(string Id, string ConversationId, int Width, int Height)
{
    public string ConversationId { get; init; } = StoredName.Normalize(ConversationId);
}
