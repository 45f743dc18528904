using Dapper;
using Microsoft.Data.Sqlite;

namespace ImageQueue.Core.Storage.Sqlite;

internal sealed partial class SqliteMessageStore
{
    public async Task<Message> AddAsync(NewMessage message, CancellationToken cancellationToken)
    {
        var now = Now();
        var added = await _writer.RunAsync(
            session =>
            {
                EnsureConversation(session, message.ConversationId, message.Username, message.Content, now);
                return Insert(session, NewRow.Of(message), now);
            },
            cancellationToken);
        _signal.Raise();
        return added;
    }

    public async Task<Submitted> AddOnceAsync(NewMessage message, IdempotencyKey key, CancellationToken cancellationToken)
    {
        var now = Now();
        var submitted = await _writer.RunAsync(
            session =>
            {
                EnsureConversation(session, message.ConversationId, message.Username, message.Content, now);
                if (FindByKey(session, message.ConversationId, key.Key) is { } earlier)
                {
                    return earlier.RequestHash == key.RequestHash
                        ? new Submitted(earlier, IsReplay: true)
                        : throw new IdempotencyKeyReusedException();
                }

                var row = NewRow.Of(message) with { IdempotencyKey = key.Key, RequestHash = key.RequestHash };
                return new Submitted(Insert(session, row, now), IsReplay: false);
            },
            cancellationToken);
        if (!submitted.IsReplay)
            _signal.Raise();
        return submitted;
    }

    private static void EnsureConversation(SqliteSession session, string id, string username, string title, string now)
    {
        // There is one writer: no other adds it between the two statements.
        var owner = session.QuerySingleOrDefault(
            "SELECT username FROM conversations WHERE id = @Id", [("@Id", id)], row => row.GetString(0));
        if (owner is null)
        {
            session.Execute(
                "INSERT INTO conversations (id, username, title, created_at) VALUES (@Id, @Username, @Title, @Now)",
                [("@Id", id), ("@Username", username), ("@Title", ConversationTitle.From(title)), ("@Now", now)]);
            return;
        }

        if (owner.Length == 0)
            throw new ConversationDeletedException(id);
        if (!string.Equals(owner, username, StringComparison.Ordinal))
            throw new ConversationForbiddenException(id);
    }

    private static Message? FindByKey(SqliteSession session, string conversationId, string key) => session.QuerySingleOrDefault(
        $"SELECT {Columns} FROM messages WHERE conversation_id = @ConversationId AND idempotency_key = @Key",
        [("@ConversationId", conversationId), ("@Key", key)],
        MessageRow.Read)?.ToMessage();

    private static readonly string InsertRow =
        $"""
        INSERT INTO messages (
            conversation_id, username, role, content, extra_metadata, created_at, updated_at, queued_at, work,
            idempotency_key, request_hash, events, revision)
        VALUES (
            @ConversationId, @Username, @Role, @Content, @Metadata, @Now, @Now, @QueuedAt, @Work,
            @IdempotencyKey, @RequestHash, CASE WHEN @QueuedAt IS NOT NULL THEN {Line(RequestEventKinds.Submitted, attempt: "0")} END,
            {NextRevision})
        RETURNING {Columns}
        """;

    private static Message Insert(SqliteSession session, NewRow row, string now) => session.QuerySingleOrDefault(
        InsertRow,
        [
            ("@ConversationId", row.ConversationId), ("@Username", row.Username), ("@Role", row.Role), ("@Content", row.Content), (
                "@Metadata", row.Metadata?.ToDocument()),
            ("@Now", now), ("@QueuedAt", row.QueuedAt), ("@Work", row.Work), (
                "@IdempotencyKey", row.IdempotencyKey), ("@RequestHash", row.RequestHash), ("@Why", null), ("@By", row.By),
        ],
        MessageRow.Read)!.ToMessage(); // An INSERT returns its row.

    private sealed record NewRow(string ConversationId, string Username, string Role, string Content, MetadataPatch? Metadata)
    {
        public string? QueuedAt { get; init; }

        public double? Work { get; init; }

        public string? IdempotencyKey { get; init; }

        public string? RequestHash { get; init; }

        public string? By { get; init; }

        public static NewRow Of(NewMessage message) =>
            new(message.ConversationId, message.Username, message.Role, message.Content, message.ExtraMetadata);
    }

    public async Task<Message> UpdateMessageAsync(long id, string? content, MetadataPatch? patch, CancellationToken cancellationToken)
    {
        var transition = await TransitionAsync(
            "update", patch is null
                ? $"""
                    UPDATE messages SET content = ifnull(@Content, content), {Touch}
                    WHERE id = @Id AND deleted_at IS NULL
                    RETURNING {Columns}
                    """
                : $"UPDATE messages SET {Merge} WHERE id = @Id AND deleted_at IS NULL AND {StaysSmall} RETURNING {Columns}",
            new Change(id, Now(), patch?.Json, content),
            cancellationToken);
        if (transition is { Applied: false, Message: not null })
            throw new DocumentTooLargeException();
        return transition.Message ?? throw new MessageNotFoundException(id);
    }

    /// <summary>A document that is too large already may still shrink.</summary>
    private static readonly string StaysSmall = string.Create(
        CultureInfo.InvariantCulture, $"{MergedLength} <= max({MetadataPatch.MaxDocumentLength}, length(ifnull(extra_metadata, '')) - 1)");

    private const string MergedLength = $"length(json_patch(ifnull(extra_metadata, '{EmptyObject}'), @Patch))";

    public Task<Message?> FindAsync(long id, CancellationToken cancellationToken) =>
        Task.FromResult(Read(connection => Find(connection, id)));

    private static Message? Find(SqliteConnection connection, long id) =>
        connection.QuerySingleOrDefault<MessageRow>(
            $"SELECT {Columns} FROM messages WHERE id = @id AND deleted_at IS NULL", new { id })?.ToMessage();

    public Task<Conversation?> FindConversationAsync(string conversationId, CancellationToken cancellationToken) =>
        Task.FromResult(Read(connection => connection.QuerySingleOrDefault<ConversationRow>(
            """
            SELECT id AS Id, username AS Username, title AS Title, created_at AS CreatedAt
            FROM conversations WHERE id = @conversationId AND username <> ''
            """,
            new { conversationId = StoredName.Normalize(conversationId) })?.ToConversation()));

    public Task<IReadOnlyList<Message>> ListAsync(string conversationId, long after, int limit, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<Message>>(Read(connection => Messages(connection.Query<MessageRow>(
            $"""
            SELECT {Columns} FROM messages
            WHERE conversation_id = @conversationId AND id > @after AND deleted_at IS NULL ORDER BY id LIMIT @limit
            """,
            new { conversationId = StoredName.Normalize(conversationId), after, limit }))));

    public Task<IReadOnlyList<Message>> ListBackwardsAsync(
        string conversationId, long before, int limit, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<Message>>(Read(connection => Messages(connection.Query<MessageRow>(
            $"""
            SELECT {Columns} FROM messages
            WHERE conversation_id = @conversationId AND id < @before AND deleted_at IS NULL ORDER BY id DESC LIMIT @limit
            """,
            new { conversationId = StoredName.Normalize(conversationId), before, limit }))));

    public Task<bool> RenameConversationAsync(string conversationId, string title, CancellationToken cancellationToken) => _writer.RunAsync(
        session => session.Connection.Execute(
            "UPDATE conversations SET title = @title WHERE id = @conversationId AND username <> ''",
            new { conversationId = StoredName.Normalize(conversationId), title }) == 1,
        cancellationToken);

    public Task<IReadOnlyList<ConversationSummary>> ListConversationsAsync(
        string username, long before, int limit, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<ConversationSummary>>(Read(connection => connection.Query<SummaryRow>(
            """
            SELECT c.id AS Id, c.username AS Username, c.title AS Title, c.created_at AS CreatedAt,
                m.id AS LastMessageId, m.updated_at AS UpdatedAt
            FROM conversations c
            JOIN messages m ON m.id = (
                SELECT max(newest.id) FROM messages newest WHERE newest.conversation_id = c.id AND newest.deleted_at IS NULL)
            WHERE c.username = @username AND m.id < @before
            ORDER BY m.id DESC
            LIMIT @limit
            """,
            new { username = StoredName.Normalize(username), before, limit }).Select(row => row.ToSummary()).ToList()));

    private sealed class ConversationRow
    {
        public string Id { get; init; } = "";

        public string Username { get; init; } = "";

        public string? Title { get; init; }

        public string CreatedAt { get; init; } = "";

        public Conversation ToConversation() => new(Id, Username, Title, Time(CreatedAt));
    }

    private sealed class SummaryRow
    {
        public string Id { get; init; } = "";

        public string Username { get; init; } = "";

        public string? Title { get; init; }

        public string CreatedAt { get; init; } = "";

        public long LastMessageId { get; init; }

        public string UpdatedAt { get; init; } = "";

        public ConversationSummary ToSummary() =>
            new(new Conversation(Id, Username, Title, Time(CreatedAt)), LastMessageId, Time(UpdatedAt));
    }
}
