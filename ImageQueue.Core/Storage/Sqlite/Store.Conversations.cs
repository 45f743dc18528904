namespace ImageQueue.Core.Storage.Sqlite;

internal sealed partial class SqliteMessageStore
{
    public async Task<Submitted> AddAsync(NewMessage message, IdempotencyKey? key, CancellationToken cancellationToken)
    {
        var now = Now();
        var submitted = await _writer.RunAsync(
            session =>
            {
                EnsureConversation(session, message.ConversationId, message.Username, message.Content, now);
                if (FindByKey(session, message.ConversationId, key?.Key) is { } earlier)
                {
                    return earlier.RequestHash == key!.RequestHash // It has found the message.
                        ? new Submitted(earlier, IsReplay: true)
                        : throw new IdempotencyKeyReusedException();
                }

                return new Submitted(Insert(session, message, now, key?.Key, key?.RequestHash), IsReplay: false);
            },
            cancellationToken);
        if (!submitted.IsReplay)
            Signal.Raise();
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

    private static Message? FindByKey(SqliteSession session, string conversationId, string? key) => key is null
        ? null
        : session.QuerySingleOrDefault(
            $"SELECT {Columns} FROM messages WHERE conversation_id = @ConversationId AND idempotency_key = @Key",
            [("@ConversationId", conversationId), ("@Key", key)], ReadMessage);

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

    /// <param name="work">Null: the message is no image request.</param>
    private static Message Insert(
        SqliteSession session, NewMessage row, string now, string? key, string? requestHash, double? work = null, string? actor = null) =>
        session.QuerySingleOrDefault(
            InsertRow,
            [
                ("@ConversationId", row.ConversationId), ("@Username", row.Username), ("@Role", row.Role), ("@Content", row.Content),
                ("@Metadata", row.ExtraMetadata?.ToDocument()), ("@Now", now), ("@QueuedAt", work is null ? null : now), ("@Work", work),
                ("@IdempotencyKey", key), ("@RequestHash", requestHash), ("@Why", null), ("@Actor", actor),
            ],
            ReadMessage)!; // An INSERT returns its row.

    protected override string StaysSmall(MetadataPatch patch) => string.Create(
        CultureInfo.InvariantCulture,
        $"length({Merged}) <= max({MetadataPatch.MaxDocumentLength}, length(ifnull(extra_metadata, '')) - 1)");

    public Task<Message?> FindAsync(long id, CancellationToken cancellationToken) =>
        OneAsync<Message>($"SELECT {Columns} FROM messages WHERE id = @id AND deleted_at IS NULL", new { id });

    public Task<Conversation?> FindConversationAsync(string conversationId, CancellationToken cancellationToken) =>
        OneAsync<Conversation>(
            "SELECT id, username, title, created_at FROM conversations WHERE id = @conversationId AND username <> ''",
            new { conversationId = StoredName.Normalize(conversationId) });

    public Task<IReadOnlyList<Message>> ListAsync(string conversationId, long after, int limit, CancellationToken cancellationToken) =>
        ManyAsync<Message>(
            $"""
            SELECT {Columns} FROM messages
            WHERE conversation_id = @conversationId AND id > @after AND deleted_at IS NULL ORDER BY id LIMIT @limit
            """,
            new { conversationId = StoredName.Normalize(conversationId), after, limit });

    public Task<IReadOnlyList<Message>> ListBackwardsAsync(
        string conversationId, long before, int limit, CancellationToken cancellationToken) =>
        ManyAsync<Message>(
            $"""
            SELECT {Columns} FROM messages
            WHERE conversation_id = @conversationId AND id < @before AND deleted_at IS NULL ORDER BY id DESC LIMIT @limit
            """,
            new { conversationId = StoredName.Normalize(conversationId), before, limit });

    public async Task<bool> RenameConversationAsync(string conversationId, string title, CancellationToken cancellationToken) =>
        await ExecuteAsync(
            "UPDATE conversations SET title = @title WHERE id = @conversationId AND username <> ''",
            new { conversationId = StoredName.Normalize(conversationId), title }, cancellationToken) == 1;

    public Task<IReadOnlyList<ConversationSummary>> ListConversationsAsync(
        string username, long before, int limit, CancellationToken cancellationToken) =>
        ManyAsync<(string Id, string Username, string? Title, DateTimeOffset At, long Last, DateTimeOffset UpdatedAt), ConversationSummary>(
            """
            SELECT c.id, c.username, c.title, c.created_at, m.id, m.updated_at
            FROM conversations c
            JOIN messages m ON m.id = (
                SELECT max(newest.id) FROM messages newest WHERE newest.conversation_id = c.id AND newest.deleted_at IS NULL)
            WHERE c.username = @username AND m.id < @before
            ORDER BY m.id DESC
            LIMIT @limit
            """,
            new { username = StoredName.Normalize(username), before, limit },
            row => new(new(row.Id, row.Username, row.Title, row.At), row.Last, row.UpdatedAt));
}
