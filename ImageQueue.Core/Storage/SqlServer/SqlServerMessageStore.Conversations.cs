using System.Globalization;
using Dapper;
using ImageQueue.Core.Messages;

namespace ImageQueue.Core.Storage.SqlServer;

internal sealed partial class SqlServerMessageStore
{
    private const int RequestHashSize = 64;

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
                return added.RequestHash == key.RequestHash ? new Submitted(added.ToMessage(), IsReplay: true) : throw new IdempotencyKeyReusedException();
            default:
                signal.Raise();
                return new Submitted(added.ToMessage(), IsReplay: false);
        }
    }

    private const string InsertOnce =
        $"""
        INSERT INTO dbo.messages (conversation_id, username, role, content, extra_metadata, created_at, updated_at, idempotency_key, request_hash)
                OUTPUT N'{SubmitOutcome.Added}' AS Outcome, {Inserted}
                VALUES (@ConversationId, @Username, @Role, @Content, @Metadata, @Now, @Now, @IdempotencyKey, @RequestHash);
        """;

    /// <summary>Two at once: the index lets one of them in, and the other's batch, undone whole, is repeated and finds it.</summary>
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

    public async Task<IReadOnlyList<Message>> ListBackwardsAsync(string conversationId, long before, int limit, CancellationToken cancellationToken) =>
        Messages(await ManyAsync(
            $"SELECT TOP (@Limit) {Columns} FROM dbo.messages WHERE conversation_id = @ConversationId AND id < @Before AND deleted_at IS NULL ORDER BY id DESC;",
            new StatementParameters().AddText("@ConversationId", conversationId, NameSize).Add("@Before", before).Add("@Limit", limit),
            cancellationToken));

    public async Task<IReadOnlyList<ConversationSummary>> ListConversationsAsync(string username, long before, int limit, CancellationToken cancellationToken)
    {
        var rows = await connections.RunAsync(
            connection => connection.QueryAsync<SummaryRow>(Command(
                """
                SELECT TOP (@Limit) c.id AS Id, c.username AS Username, c.title AS Title, c.created_at AS CreatedAt, m.id AS LastMessageId, m.updated_at AS UpdatedAt
                FROM dbo.conversations AS c
                JOIN dbo.messages AS m ON m.id = (SELECT MAX(newest.id) FROM dbo.messages AS newest WHERE newest.conversation_id = c.id AND newest.deleted_at IS NULL)
                WHERE c.username = @Username AND m.id < @Before
                ORDER BY m.id DESC;
                """,
                new StatementParameters().AddText("@Username", username, NameSize).Add("@Before", before).Add("@Limit", limit),
                cancellationToken)),
            cancellationToken);
        return [.. rows.Select(row => row.ToSummary())];
    }

    /// <summary>
    /// Holds for the merged document, under the row's lock; JSON_MODIFY runs twice for it. One that is too large already may
    /// still shrink. DATALENGTH counts bytes of UTF-16.
    /// </summary>
    private static string StaysSmall(MetadataPatch? patch) => patch is null ? "deleted_at IS NULL" : string.Create(
        CultureInfo.InvariantCulture,
        $"deleted_at IS NULL AND (DATALENGTH({JsonModify.For(patch).Expression}) <= {MetadataPatch.MaxDocumentLength * sizeof(char)} OR DATALENGTH({JsonModify.For(patch).Expression}) < DATALENGTH(extra_metadata))");

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
