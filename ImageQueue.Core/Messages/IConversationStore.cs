namespace ImageQueue.Core.Messages;

/// <summary>Conversations and their messages: what the chat app reads, writes and erases.</summary>
public interface IConversationStore
{
    /// <summary>Adds a plain message; the first message of a conversation creates it, owned by that username.</summary>
    /// <param name="message">The message.</param>
    /// <param name="key">The same key with the same request returns the message that it added before. Null: there is none.</param>
    /// <exception cref="ConversationForbiddenException">The conversation belongs to another username.</exception>
    /// <exception cref="IdempotencyKeyReusedException">The key was used in this conversation for another request.</exception>
    Task<Submitted> AddAsync(NewMessage message, IdempotencyKey? key, CancellationToken cancellationToken);

    /// <summary>Null content keeps the content, null patch keeps the metadata; with both null only updated_at moves.</summary>
    /// <exception cref="DocumentTooLargeException">
    /// The merged metadata would exceed <see cref="MetadataPatch.MaxDocumentLength"/>, and be larger than it is.
    /// </exception>
    /// <exception cref="MessageNotFoundException">There is no such message.</exception>
    Task<Message> UpdateMessageAsync(long id, string? content, MetadataPatch? patch, CancellationToken cancellationToken);

    Task<Message?> FindAsync(long id, CancellationToken cancellationToken);

    Task<Conversation?> FindConversationAsync(string conversationId, CancellationToken cancellationToken);

    /// <summary>Messages of a conversation with an id above <paramref name="after"/>, in id order.</summary>
    Task<IReadOnlyList<Message>> ListAsync(string conversationId, long after, int limit, CancellationToken cancellationToken);

    /// <summary>Messages of a conversation with an id below <paramref name="before"/>, newest first.</summary>
    Task<IReadOnlyList<Message>> ListBackwardsAsync(string conversationId, long before, int limit, CancellationToken cancellationToken);

    /// <summary>
    /// A user's conversations by their newest message, newest first; only those whose newest id is below <paramref name="before"/>.
    /// </summary>
    Task<IReadOnlyList<ConversationSummary>> ListConversationsAsync(
        string username, long before, int limit, CancellationToken cancellationToken);

    /// <returns>False when there is no such conversation, or it is erased.</returns>
    Task<bool> RenameConversationAsync(string conversationId, string title, CancellationToken cancellationToken);

    /// <summary>
    /// Erases content, metadata, owner and bookkeeping, and the title of the conversation that began with this message; status becomes
    /// <c>deleted</c>. The row stays as a tombstone, which only the feed shows. Guard: exists, and not erased.
    /// </summary>
    /// <returns>The tombstone; no message when there was none to erase.</returns>
    Task<Transition> EraseAsync(long id, CancellationToken cancellationToken);

    /// <summary>
    /// Erases a conversation's owner and title, not its messages. Its id cannot be used again until its last tombstone is gone.
    /// </summary>
    /// <returns>False when there was none.</returns>
    Task<bool> CloseConversationAsync(string conversationId, CancellationToken cancellationToken);

    /// <summary>Ids of closed conversations that still have messages: an erasure was interrupted.</summary>
    Task<IReadOnlyList<string>> ListClosedConversationsAsync(int limit, CancellationToken cancellationToken);

    /// <summary>
    /// Removes tombstones older than that, by the database's clock, and closed conversations without any. The row with the highest
    /// revision stays where revisions are counted from it.
    /// </summary>
    /// <returns>How many tombstones were removed.</returns>
    Task<int> ForgetErasedAsync(TimeSpan olderThan, int limit, CancellationToken cancellationToken);
}

public sealed record Conversation(string Id, string Username, string? Title, DateTimeOffset CreatedAt);

/// <summary>A conversation in a list of them.</summary>
/// <param name="Conversation">The conversation.</param>
/// <param name="LastMessageId">Its newest message.</param>
/// <param name="UpdatedAt">When that message was last written.</param>
public sealed record ConversationSummary(Conversation Conversation, long LastMessageId, DateTimeOffset UpdatedAt);

/// <summary>What makes a repeated request known.</summary>
/// <param name="Key">The submitter's key, unique in its conversation.</param>
/// <param name="RequestHash">What was sent with it: <see cref="Requests.RequestFingerprint"/>.</param>
public sealed record IdempotencyKey(string Key, string RequestHash);

/// <summary>A plain message to add.</summary>
public sealed record NewMessage(string ConversationId, string Username, string Role, string Content, MetadataPatch? ExtraMetadata)
{
    public string ConversationId { get; } = StoredName.Normalize(ConversationId);

    public string Username { get; } = StoredName.Normalize(Username);
}

/// <summary>The result of a submission.</summary>
/// <param name="Message">The message.</param>
/// <param name="IsReplay">True when the idempotency key had been used before and nothing was added.</param>
public readonly record struct Submitted(Message Message, bool IsReplay);
