using Dapper;

namespace ImageQueue.Core.Storage.SqlServer;

internal sealed partial class SqlServerMessageStore
{
    private const int RequestHashSize = 64;

    public async Task<Message> AddAsync(NewMessage message, CancellationToken cancellationToken)
    {
        var added = await InsertAsync(
            Add,
            Row(message.ConversationId, message.Username, message.Content, message.Role, message.Content, message.ExtraMetadata),
            cancellationToken);
        if (added.Outcome == SubmitOutcome.Forbidden)
            throw await WhyForbiddenAsync(message.ConversationId, cancellationToken);
        signal.Raise();
        return added.ToMessage();
    }

    private const string Add =
        $"""
        {Begin}
        {EnsureConversation}
        IF {IsForeign}
            SELECT N'{SubmitOutcome.Forbidden}' AS Outcome;
        ELSE
            {Insert}
        COMMIT TRANSACTION;
        """;

    private const string Insert =
        $"""
        INSERT INTO dbo.messages (conversation_id, username, role, content, extra_metadata, created_at, updated_at)
            OUTPUT N'{SubmitOutcome.Added}' AS Outcome, {Inserted}
            VALUES (@ConversationId, @Username, @Role, @Content, @Metadata, @Now, @Now);
        """;

    public async Task<Submitted> AddOnceAsync(NewMessage message, IdempotencyKey key, CancellationToken cancellationToken)
    {
        var added = await InsertAsync(
            AddOnce,
            Row(message.ConversationId, message.Username, message.Content, message.Role, message.Content, message.ExtraMetadata)
                .AddText("@IdempotencyKey", key.Key, 200)
                .AddText("@RequestHash", key.RequestHash, RequestHashSize),
            cancellationToken);
        switch (added.Outcome)
        {
            case SubmitOutcome.Forbidden:
                throw await WhyForbiddenAsync(message.ConversationId, cancellationToken);
            case SubmitOutcome.Replay:
                return added.RequestHash == key.RequestHash
                    ? new Submitted(added.ToMessage(), IsReplay: true)
                    : throw new IdempotencyKeyReusedException();
            default:
                signal.Raise();
                return new Submitted(added.ToMessage(), IsReplay: false);
        }
    }

    /// <summary>Of two concurrent batches the index refuses one, which is rolled back, repeated, and finds the other's row.</summary>
    private const string AddOnce =
        $"""
        {Begin}
        {EnsureConversation}
        {EndIfForeignOrReplay}
        ELSE
        BEGIN
            {InsertOnce}
            COMMIT TRANSACTION;
        END
        """;

    private const string InsertOnce =
        $"""
        INSERT INTO dbo.messages
                (conversation_id, username, role, content, extra_metadata, created_at, updated_at, idempotency_key, request_hash)
                OUTPUT N'{SubmitOutcome.Added}' AS Outcome, {Inserted}
                VALUES (@ConversationId, @Username, @Role, @Content, @Metadata, @Now, @Now, @IdempotencyKey, @RequestHash);
        """;

    /// <summary>The parameters of every new row, and of its conversation in case that is new.</summary>
    private StatementParameters Row(
        string conversationId,
        string username,
        string title,
        string role,
        string content,
        MetadataPatch? metadata) => new StatementParameters()
        .AddName("@ConversationId", conversationId)
        .AddName("@Username", username)
        .AddText("@Title", ConversationTitle.From(title), 400)
        .AddText("@Role", role, 10)
        .AddText("@Content", content)
        .AddText("@Metadata", metadata?.ToDocument())
        .Add("@Now", Now());

    private Task<MessageRow> InsertAsync(string batch, StatementParameters parameters, CancellationToken cancellationToken) =>
        connections.RunAsync(
            connection => connection.QuerySingleAsync<MessageRow>(Command(batch, parameters, cancellationToken)), cancellationToken);

    private Task<List<MessageRow>> InsertAllAsync(string batch, StatementParameters parameters, CancellationToken cancellationToken) =>
        connections.RunAsync(
            async connection =>
            {
                // A result for each INSERT, or one that says why there is none.
                await using var results = await connection.QueryMultipleAsync(Command(batch, parameters, cancellationToken));
                var rows = new List<MessageRow>();
                while (!results.IsConsumed)
                    rows.AddRange(await results.ReadAsync<MessageRow>());
                return rows;
            },
            cancellationToken);

    /// <summary>
    /// The first message creates the conversation. Of two that create it at once the second gets a key error, is repeated, and finds it:
    /// no range of ids is locked against other new conversations. The owner is compared by the column's exact collation.
    /// </summary>
    private const string EnsureConversation =
        """
        IF NOT EXISTS (SELECT 1 FROM dbo.conversations WHERE id = @ConversationId)
            INSERT INTO dbo.conversations (id, username, title, created_at) VALUES (@ConversationId, @Username, @Title, @Now);
        """;

    private const string IsForeign = "NOT EXISTS (SELECT 1 FROM dbo.conversations WHERE id = @ConversationId AND username = @Username)";

    /// <summary>Ends the transaction where nothing is added; an ELSE must follow.</summary>
    private const string EndIfForeignOrReplay =
        $"""
        IF {IsForeign}
        BEGIN
            ROLLBACK TRANSACTION;
            SELECT N'{SubmitOutcome.Forbidden}' AS Outcome;
        END
        ELSE IF EXISTS (
            SELECT 1 FROM dbo.messages
            WHERE conversation_id = @ConversationId AND idempotency_key = @IdempotencyKey AND idempotency_key IS NOT NULL)
        BEGIN
            COMMIT TRANSACTION;
            SELECT N'{SubmitOutcome.Replay}' AS Outcome, {Columns}
            FROM dbo.messages
            WHERE conversation_id = @ConversationId AND idempotency_key = @IdempotencyKey AND idempotency_key IS NOT NULL;
        END
        """;

    /// <summary>The result column of the batches.</summary>
    private static class SubmitOutcome
    {
        public const string Added = "added";
        public const string Replay = "replay";
        public const string Forbidden = "forbidden";
        public const string Gone = "gone";
        public const string TooMany = "too many";
        public const string TooMuch = "too much";
    }

    /// <summary>An erased conversation has no owner.</summary>
    private async Task<Exception> WhyForbiddenAsync(string conversationId, CancellationToken cancellationToken) =>
        await FindConversationAsync(conversationId, cancellationToken) is null
            ? new ConversationDeletedException(conversationId)
            : new ConversationForbiddenException(conversationId);

    public async Task<Message> UpdateMessageAsync(long id, string? content, MetadataPatch? patch, CancellationToken cancellationToken)
    {
        var transition = await TransitionAsync(
            "update", id, "", patch, content, StaysSmall(patch), new StatementParameters(), cancellationToken);
        if (transition is { Applied: false, Message: not null })
            throw new DocumentTooLargeException();
        return transition.Message ?? throw new MessageNotFoundException(id);
    }

    /// <summary>
    /// Checks the merged document under the row's lock, at the price of a second JSON_MODIFY. A document that is too large already may
    /// still shrink. DATALENGTH counts bytes of UTF-16.
    /// </summary>
    private static string StaysSmall(MetadataPatch? patch)
    {
        const string exists = "deleted_at IS NULL";
        if (patch is null)
            return exists;
        var length = $"DATALENGTH({JsonModify.For(patch).Expression})";
        return string.Create(
            CultureInfo.InvariantCulture,
            $"{exists} AND ({length} <= {MetadataPatch.MaxDocumentLength * sizeof(char)} OR {length} < DATALENGTH(extra_metadata))");
    }

    public Task<Message?> FindAsync(long id, CancellationToken cancellationToken) =>
        OneAsync(
            $"SELECT {Columns} FROM dbo.messages WHERE id = @Id AND deleted_at IS NULL;",
            new StatementParameters().Add("@Id", id),
            cancellationToken);

    public async Task<Conversation?> FindConversationAsync(string conversationId, CancellationToken cancellationToken)
    {
        var row = await connections.RunAsync(
            connection => connection.QuerySingleOrDefaultAsync<ConversationRow>(Command(
                """
                SELECT id AS Id, username AS Username, title AS Title, created_at AS CreatedAt
                FROM dbo.conversations
                WHERE id = @ConversationId AND username <> N'';
                """,
                new StatementParameters().AddName("@ConversationId", conversationId),
                cancellationToken)),
            cancellationToken);
        return row?.ToConversation();
    }

    public async Task<IReadOnlyList<Message>> ListAsync(
        string conversationId, long after, int limit, CancellationToken cancellationToken) =>
        Messages(await ManyAsync(
            $"""
            SELECT TOP (@Limit) {Columns}
            FROM dbo.messages
            WHERE conversation_id = @ConversationId AND id > @After AND deleted_at IS NULL
            ORDER BY id;
            """,
            new StatementParameters().AddName("@ConversationId", conversationId).Add("@After", after).Add("@Limit", limit),
            cancellationToken));

    public async Task<IReadOnlyList<Message>> ListBackwardsAsync(
        string conversationId, long before, int limit, CancellationToken cancellationToken) =>
        Messages(await ManyAsync(
            $"""
            SELECT TOP (@Limit) {Columns}
            FROM dbo.messages
            WHERE conversation_id = @ConversationId AND id < @Before AND deleted_at IS NULL
            ORDER BY id DESC;
            """,
            new StatementParameters().AddName("@ConversationId", conversationId).Add("@Before", before).Add("@Limit", limit),
            cancellationToken));

    public Task<bool> RenameConversationAsync(string conversationId, string title, CancellationToken cancellationToken) =>
        connections.RunAsync(
        async connection => await connection.ExecuteAsync(Command(
            "UPDATE dbo.conversations SET title = @Title WHERE id = @ConversationId AND username <> N'';",
            new StatementParameters().AddName("@ConversationId", conversationId).AddText("@Title", title, 400),
            cancellationToken)) == 1,
        cancellationToken);

    public async Task<IReadOnlyList<ConversationSummary>> ListConversationsAsync(
        string username, long before, int limit, CancellationToken cancellationToken)
    {
        var rows = await connections.RunAsync(
            connection => connection.QueryAsync<SummaryRow>(Command(
                """
                SELECT TOP (@Limit) c.id AS Id, c.username AS Username, c.title AS Title, c.created_at AS CreatedAt,
                    m.id AS LastMessageId, m.updated_at AS UpdatedAt
                FROM dbo.conversations AS c
                JOIN dbo.messages AS m ON m.id = (
                    SELECT MAX(newest.id) FROM dbo.messages AS newest WHERE newest.conversation_id = c.id AND newest.deleted_at IS NULL)
                WHERE c.username = @Username AND m.id < @Before
                ORDER BY m.id DESC;
                """,
                new StatementParameters().AddName("@Username", username).Add("@Before", before).Add("@Limit", limit),
                cancellationToken)),
            cancellationToken);
        return [.. rows.Select(row => row.ToSummary())];
    }

    private sealed class ConversationRow
    {
        public string Id { get; init; } = "";

        public string Username { get; init; } = "";

        public string? Title { get; init; }

        public DateTime CreatedAt { get; init; }

        public Conversation ToConversation() => new(Id, Username, Title, Utc(CreatedAt));
    }

    private sealed class SummaryRow
    {
        public string Id { get; init; } = "";

        public string Username { get; init; } = "";

        public string? Title { get; init; }

        public DateTime CreatedAt { get; init; }

        public long LastMessageId { get; init; }

        public DateTime UpdatedAt { get; init; }

        public ConversationSummary ToSummary() => new(new Conversation(Id, Username, Title, Utc(CreatedAt)), LastMessageId, Utc(UpdatedAt));
    }
}
