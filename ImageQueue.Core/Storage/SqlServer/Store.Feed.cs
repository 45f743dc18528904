using Dapper;

namespace ImageQueue.Core.Storage.SqlServer;

internal sealed partial class SqlServerMessageStore
{
    public async Task<IReadOnlyList<MessageChange>> ChangesSinceAsync(
        long revision, string? conversationId, int limit, CancellationToken cancellationToken)
    {
        var parameters = new StatementParameters().AddRevision("@Since", revision).Add("@Limit", limit).Add(
            "@Characters", IFeedStore.PageCharacters);
        if (conversationId is not null)
            parameters.AddName("@ConversationId", conversationId);
        var rows = await ManyAsync(
            $"""
            {DeclareEnd}
            SELECT page.*
            FROM (
                SELECT TOP (@Limit) {Columns},
                    ISNULL(SUM(CAST(DATALENGTH(content) + DATALENGTH(extra_metadata) AS bigint))
                        OVER (ORDER BY revision ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS BytesBefore
                FROM dbo.messages
                WHERE {(conversationId is null ? "" : "conversation_id = @ConversationId AND ")}revision > @Since AND revision < @End
                ORDER BY revision
            ) AS page
            WHERE page.BytesBefore < 2 * @Characters
            ORDER BY page.Revision;
            """,
            parameters,
            cancellationToken);
        return [.. rows.Select(row => new MessageChange(row.ToMessage()))];
    }

    public async Task<ChangedRows> ListChangesAsync(long revision, int limit, CancellationToken cancellationToken)
    {
        var rows = (await connections.RunAsync(
            connection => connection.QueryAsync<ChangedRowRow>(Command(
                $"""
                {DeclareEnd}
                SELECT TOP (@Limit) id AS Id, conversation_id AS ConversationId, revision AS Revision, @End AS HeldBackAt
                FROM dbo.messages
                WHERE revision > @Since
                ORDER BY revision;
                """,
                new StatementParameters().AddRevision("@Since", revision).Add("@Limit", limit),
                cancellationToken)),
            cancellationToken)).ToList();
        var heldBackAt = rows.Count > 0 ? RowVersion.ToInt64(rows[0].HeldBackAt) : long.MaxValue;
        var safe = rows.Select(row => row.ToChangedRow()).Where(row => row.Revision < heldBackAt).ToList();
        return new ChangedRows(safe, safe.Count < rows.Count ? heldBackAt : null);
    }

    public Task<ChangeMark> ChangeMarkAsync(CancellationToken cancellationToken) => connections.RunAsync(
        connection => connection.QuerySingleAsync<ChangeMark>(Command(
            // A revision counts when it is assigned; its row becomes visible when the transaction ends. Either changes what can be read.
            "SELECT CAST(@@DBTS AS bigint) AS Written, CAST(MIN_ACTIVE_ROWVERSION() AS bigint) AS Ended;",
            new StatementParameters(),
            cancellationToken)),
        cancellationToken);

    public async Task<IReadOnlyList<ChangedRow>> ListAheadAsync(long from, int limit, CancellationToken cancellationToken)
    {
        var rows = await connections.RunAsync(
            connection => connection.QueryAsync<ChangedRowRow>(Command(
                """
                SELECT TOP (@Limit) id AS Id, conversation_id AS ConversationId, revision AS Revision
                FROM dbo.messages
                WHERE revision >= @Since
                ORDER BY revision DESC;
                """,
                new StatementParameters().AddRevision("@Since", from).Add("@Limit", limit),
                cancellationToken)),
            cancellationToken);
        return [.. rows.Select(row => row.ToChangedRow())];
    }

    public async Task<IReadOnlyList<MessageChange>> ReadChangesAsync(IReadOnlyCollection<long> ids, CancellationToken cancellationToken)
    {
        var rows = await ManyAsync(
            $"""
            SELECT {Columns}
            FROM dbo.messages
            WHERE id IN (SELECT those.id FROM OPENJSON(@Ids) WITH (id bigint '$') AS those)
            ORDER BY revision;
            """,
            new StatementParameters().AddText("@Ids", JsonSerializer.Serialize(ids)),
            cancellationToken);
        return [.. rows.Select(row => new MessageChange(row.ToMessage()))];
    }

    public Task<long> LatestRevisionAsync(CancellationToken cancellationToken) =>
        connections.RunAsync(
            async connection => RowVersion.ToInt64(await connection.ExecuteScalarAsync<byte[]?>(Command(
                $"""
                {DeclareEnd}
                SELECT MAX(revision) FROM dbo.messages WHERE revision < @End;
                """,
                new StatementParameters(),
                cancellationToken))),
            cancellationToken);

    /// <summary>
    /// A revision is assigned when a row is written and visible when its transaction ends, so revisions become visible out of order.
    /// Below the lowest of all open transactions nothing can appear any more. Read before the rows, not beside them: under read committed
    /// snapshot a query sees the rows of its start, and a transaction that ends between the two would be skipped for ever.
    /// </summary>
    private const string DeclareEnd = "DECLARE @End binary(8) = MIN_ACTIVE_ROWVERSION();";

    private sealed class ChangedRowRow
    {
        public long Id { get; init; }

        public string ConversationId { get; init; } = "";

        public byte[] Revision { get; init; } = [];

        public byte[] HeldBackAt { get; init; } = [];

        public ChangedRow ToChangedRow() => new(Id, ConversationId, RowVersion.ToInt64(Revision));
    }
}
