using System.Data;
using Dapper;

namespace ImageQueue.Core.Storage.SqlServer;

internal sealed partial class SqlServerMessageStore
{
    private const int RequestHashSize = 64;

    public async Task<Submitted> AddAsync(NewMessage message, IdempotencyKey? key, CancellationToken cancellationToken)
    {
        var (outcome, added) = (await InsertAsync(
            Add,
            Row(message)
                .AddText("@IdempotencyKey", key?.Key, IdempotencyKeySize)
                .AddText("@RequestHash", key?.RequestHash, RequestHashSize),
            cancellationToken)).Single();
        switch (outcome)
        {
            case SubmitOutcome.Forbidden:
                throw await WhyForbiddenAsync(message.ConversationId, cancellationToken);
            case SubmitOutcome.Replay:
                return added.RequestHash == key?.RequestHash ? new(added, IsReplay: true) : throw new IdempotencyKeyReusedException();
            default:
                Signal.Raise();
                return new(added, IsReplay: false);
        }
    }

    /// <summary>Of two concurrent batches the index refuses one, which is rolled back, repeated, and finds the other's row.</summary>
    private static readonly string Add =
        $"""
        {Begin}
        {EnsureConversation}
        {EndIfForeignOrReplay("= @IdempotencyKey")}
        ELSE
        BEGIN
            {Insert}
            COMMIT TRANSACTION;
        END
        """;

    private const string Insert =
        $"""
        INSERT INTO dbo.messages
                (conversation_id, username, role, content, extra_metadata, created_at, updated_at, idempotency_key, request_hash)
                OUTPUT N'{SubmitOutcome.Added}' AS Outcome, {Inserted}
                VALUES (@ConversationId, @Username, @Role, @Content, @Metadata, @Now, @Now, @IdempotencyKey, @RequestHash);
        """;

    /// <summary>The parameters of every new row, and of its conversation in case that is new.</summary>
    /// <param name="title">The text that titles a new conversation; null: the content.</param>
    private StatementParameters Row(NewMessage message, string? title = null) => new StatementParameters()
        .AddName("@ConversationId", message.ConversationId)
        .AddName("@Username", message.Username)
        .AddText("@Title", ConversationTitle.From(title ?? message.Content), 400)
        .AddText("@Role", message.Role, 10)
        .AddText("@Content", message.Content)
        .AddText("@Metadata", message.ExtraMetadata?.ToDocument())
        .Add("@Now", Now());

    private Task<List<(string Outcome, Message Message)>> InsertAsync(
        string batch, StatementParameters parameters, CancellationToken cancellationToken) =>
        connections.RunAsync(
            async connection =>
            {
                // A result for each INSERT, or one that says why there is none.
                await using var reader = await connection.ExecuteReaderAsync(
                    Command(batch, parameters, cancellationToken), CommandBehavior.SequentialAccess);
                var rows = new List<(string, Message)>();
                do
                    rows.AddRange(await ReadAsync(reader, cancellationToken));
                while (await reader.NextResultAsync(cancellationToken));
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
    /// <summary>A repeated request finds all its messages that have not been erased.</summary>
    private static string EndIfForeignOrReplay(string isOfKey) =>
        $"""
        IF {IsForeign}
        BEGIN
            ROLLBACK TRANSACTION;
            SELECT N'{SubmitOutcome.Forbidden}' AS Outcome;
        END
        ELSE IF EXISTS (
            SELECT 1 FROM dbo.messages
            WHERE conversation_id = @ConversationId AND idempotency_key {isOfKey} AND idempotency_key IS NOT NULL)
        BEGIN
            COMMIT TRANSACTION;
            SELECT N'{SubmitOutcome.Replay}' AS Outcome, {Columns}
            FROM dbo.messages
            WHERE conversation_id = @ConversationId AND idempotency_key {isOfKey} AND idempotency_key IS NOT NULL
            ORDER BY id;
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

    /// <summary>
    /// Checks the merged document under the row's lock, at the price of a second JSON_MODIFY. A document that is too large already may
    /// still shrink. DATALENGTH counts bytes of UTF-16.
    /// </summary>
    protected override string StaysSmall(MetadataPatch patch)
    {
        var length = $"DATALENGTH({JsonModify.For(patch).Expression})";
        return string.Create(
            CultureInfo.InvariantCulture,
            $"({length} <= {MetadataPatch.MaxDocumentLength * sizeof(char)} OR {length} < DATALENGTH(extra_metadata))");
    }

    public Task<Message?> FindAsync(long id, CancellationToken cancellationToken) =>
        OneAsync<Message>(
            $"SELECT {Columns} FROM dbo.messages WHERE id = @Id AND deleted_at IS NULL;", new StatementParameters().Add("@Id", id),
            cancellationToken);

    public Task<Conversation?> FindConversationAsync(string conversationId, CancellationToken cancellationToken) =>
        OneAsync<Conversation>(
            """
            SELECT id AS Id, username AS Username, title AS Title, created_at AS CreatedAt
            FROM dbo.conversations
            WHERE id = @ConversationId AND username <> N'';
            """,
            new StatementParameters().AddName("@ConversationId", conversationId), cancellationToken);

    public Task<IReadOnlyList<Message>> ListAsync(string conversationId, long after, int limit, CancellationToken cancellationToken) =>
        ManyAsync<Message>(
            $"""
            SELECT TOP (@Limit) {Columns}
            FROM dbo.messages
            WHERE conversation_id = @ConversationId AND id > @After AND deleted_at IS NULL
            ORDER BY id;
            """,
            new StatementParameters().AddName("@ConversationId", conversationId).Add("@After", after).Add("@Limit", limit),
            cancellationToken);

    public Task<IReadOnlyList<Message>> ListBackwardsAsync(
        string conversationId, long before, int limit, CancellationToken cancellationToken) =>
        ManyAsync<Message>(
            $"""
            SELECT TOP (@Limit) {Columns}
            FROM dbo.messages
            WHERE conversation_id = @ConversationId AND id < @Before AND deleted_at IS NULL
            ORDER BY id DESC;
            """,
            new StatementParameters().AddName("@ConversationId", conversationId).Add("@Before", before).Add("@Limit", limit),
            cancellationToken);

    public async Task<bool> RenameConversationAsync(string conversationId, string title, CancellationToken cancellationToken) =>
        await ExecuteAsync(
            "UPDATE dbo.conversations SET title = @Title WHERE id = @ConversationId AND username <> N'';",
            new StatementParameters().AddName("@ConversationId", conversationId).AddText("@Title", title, 400), cancellationToken) == 1;

    public Task<IReadOnlyList<ConversationSummary>> ListConversationsAsync(
        string username, long before, int limit, CancellationToken cancellationToken) =>
        ManyAsync<(string Id, string Username, string? Title, DateTimeOffset At, long Last, DateTimeOffset UpdatedAt), ConversationSummary>(
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
            row => new(new(row.Id, row.Username, row.Title, row.At), row.Last, row.UpdatedAt),
            cancellationToken);
}
