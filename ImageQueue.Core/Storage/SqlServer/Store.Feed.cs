using System.Buffers.Binary;

namespace ImageQueue.Core.Storage.SqlServer;

internal sealed partial class SqlServerMessageStore
{
    public Task<IReadOnlyList<MessageChange>> ChangesSinceAsync(
        long revision, string? conversationId, int limit, CancellationToken cancellationToken)
    {
        var parameters = new StatementParameters().AddRevision("@Since", revision).Add("@Limit", limit)
            .Add("@Characters", IFeedStore.PageCharacters);
        if (conversationId is not null)
            parameters.AddName("@ConversationId", conversationId);
        return ManyAsync<Message, MessageChange>(
            $"""
            {DeclareEnd}
            SELECT page.*
            FROM (
                SELECT TOP (@Limit) {Columns},
                    ISNULL(SUM(CAST(ISNULL(DATALENGTH(content), 0) + ISNULL(DATALENGTH(extra_metadata), 0) AS bigint))
                        OVER (ORDER BY revision ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS BytesBefore
                FROM dbo.messages
                WHERE {(conversationId is null ? "" : "conversation_id = @ConversationId AND ")}revision > @Since AND revision < @End
                ORDER BY revision
            ) AS page
            WHERE page.BytesBefore < 2 * @Characters
            ORDER BY page.RevisionBytes;
            """,
            parameters,
            message => new(message),
            cancellationToken);
    }

    public async Task<ChangedRows> ListChangesAsync(long revision, int limit, CancellationToken cancellationToken)
    {
        var rows = await ManyAsync<(long Id, string ConversationId, byte[] Revision, byte[] HeldBackAt)>(
            $"""
            {DeclareEnd}
            SELECT TOP (@Limit) id AS Id, conversation_id AS ConversationId, revision AS Revision, @End AS HeldBackAt
            FROM dbo.messages
            WHERE revision > @Since
            ORDER BY revision;
            """,
            new StatementParameters().AddRevision("@Since", revision).Add("@Limit", limit),
            cancellationToken);
        var heldBackAt = rows.Count > 0 ? ToRevision(rows[0].HeldBackAt) : long.MaxValue;
        var safe = rows.Select(row => new ChangedRow(row.Id, row.ConversationId, ToRevision(row.Revision)))
            .Where(row => row.Revision < heldBackAt).ToList();
        return new ChangedRows(safe, safe.Count < rows.Count ? heldBackAt : null);
    }

    public Task<ChangeMark> ChangeMarkAsync(CancellationToken cancellationToken) => OneAsync<ChangeMark>(
        // A revision counts when it is assigned; its row becomes visible when the transaction ends. Either changes what can be read.
        "SELECT CAST(@@DBTS AS bigint) AS Written, CAST(MIN_ACTIVE_ROWVERSION() AS bigint) AS Ended;",
        new StatementParameters(), cancellationToken);

    public Task<IReadOnlyList<ChangedRow>> ListAheadAsync(long from, int limit, CancellationToken cancellationToken) =>
        ManyAsync<(long Id, string ConversationId, byte[] Revision), ChangedRow>(
            """
            SELECT TOP (@Limit) id AS Id, conversation_id AS ConversationId, revision AS Revision
            FROM dbo.messages
            WHERE revision >= @Since
            ORDER BY revision DESC;
            """,
            new StatementParameters().AddRevision("@Since", from).Add("@Limit", limit),
            row => new(row.Id, row.ConversationId, ToRevision(row.Revision)),
            cancellationToken);

    public Task<IReadOnlyList<MessageChange>> ReadChangesAsync(IReadOnlyCollection<long> ids, CancellationToken cancellationToken) =>
        ManyAsync<Message, MessageChange>(
            $"""
            SELECT {Columns}
            FROM dbo.messages
            WHERE id IN (SELECT those.id FROM OPENJSON(@Ids) WITH (id bigint '$') AS those)
            ORDER BY revision;
            """,
            new StatementParameters().AddText("@Ids", JsonSerializer.Serialize(ids)),
            message => new(message),
            cancellationToken);

    public async Task<long> LatestRevisionAsync(CancellationToken cancellationToken) =>
        ToRevision(await ScalarAsync<byte[]>(
            $"""
            {DeclareEnd}
            SELECT MAX(revision) FROM dbo.messages WHERE revision < @End;
            """,
            new StatementParameters(),
            cancellationToken));

    /// <summary>
    /// A revision is assigned when a row is written and visible when its transaction ends, so revisions become visible out of order.
    /// Below the lowest of all open transactions nothing can appear any more. Read before the rows, not beside them: under read committed
    /// snapshot a query sees the rows of its start, and a transaction that ends between the two would be skipped for ever.
    /// </summary>
    private const string DeclareEnd = "DECLARE @End binary(8) = MIN_ACTIVE_ROWVERSION();";

    private static long ToRevision(byte[]? version) => version is null ? 0 : BinaryPrimitives.ReadInt64BigEndian(version);
}
