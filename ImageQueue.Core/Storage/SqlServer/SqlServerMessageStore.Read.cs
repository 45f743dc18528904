using System.Text.Json;
using Dapper;
using ImageQueue.Core.Messages;

namespace ImageQueue.Core.Storage.SqlServer;

internal sealed partial class SqlServerMessageStore
{
    public Task<Message?> FindAsync(long id, CancellationToken cancellationToken) =>
        OneAsync($"SELECT {Columns} FROM dbo.messages WHERE id = @Id AND deleted_at IS NULL;", new StatementParameters().Add("@Id", id), cancellationToken);

    public Task<Message?> FindByHangfireJobAsync(string hangfireJobId, CancellationToken cancellationToken) =>
        OneAsync(
            $"SELECT TOP (1) {Columns} FROM dbo.messages WHERE hangfire_job_id = @HangfireJobId AND hangfire_job_id IS NOT NULL ORDER BY id;",
            new StatementParameters().AddText("@HangfireJobId", hangfireJobId, HangfireJobIdSize),
            cancellationToken);

    public Task<Message?> FindByJobIdAsync(string jobId, CancellationToken cancellationToken) =>
        OneAsync(
            $"SELECT TOP (1) {Columns} FROM dbo.messages WHERE job_id = @JobId AND queued_at IS NOT NULL AND deleted_at IS NULL ORDER BY id;",
            new StatementParameters().AddText("@JobId", jobId, 32),
            cancellationToken);

    public async Task<Conversation?> FindConversationAsync(string conversationId, CancellationToken cancellationToken)
    {
        var row = await connections.RunAsync(
            connection => connection.QuerySingleOrDefaultAsync<ConversationRow>(Command(
                "SELECT id AS Id, username AS Username, title AS Title, created_at AS CreatedAt FROM dbo.conversations WHERE id = @ConversationId AND username <> N'';",
                new StatementParameters().AddText("@ConversationId", conversationId, NameSize),
                cancellationToken)),
            cancellationToken);
        return row?.ToConversation();
    }

    public async Task<IReadOnlyList<Message>> ListAsync(string conversationId, long after, int limit, CancellationToken cancellationToken) =>
        Messages(await ManyAsync(
            $"SELECT TOP (@Limit) {Columns} FROM dbo.messages WHERE conversation_id = @ConversationId AND id > @After AND deleted_at IS NULL ORDER BY id;",
            new StatementParameters().AddText("@ConversationId", conversationId, NameSize).Add("@After", after).Add("@Limit", limit),
            cancellationToken));

    public async Task<IReadOnlyList<Message>> ListByStatusAsync(string status, UnfinishedCursor? after, int limit, CancellationToken cancellationToken) =>
        Messages(await ManyAsync(
            $"""
            SELECT TOP (@Limit) {Columns}
            FROM dbo.messages
            WHERE queued_at IS NOT NULL AND status = @Status AND {IsBehind}
            ORDER BY queued_at, id;
            """,
            Place(after).AddText("@Status", status, 20).Add("@Limit", limit),
            cancellationToken));

    public async Task<IReadOnlyList<Message>> ListNewestAsync(string status, int limit, CancellationToken cancellationToken) =>
        Messages(await ManyAsync(
            $"""
            SELECT TOP (@Limit) {Columns}
            FROM dbo.messages
            WHERE queued_at IS NOT NULL AND status = @Status
            ORDER BY queued_at DESC, id DESC;
            """,
            new StatementParameters().AddText("@Status", status, 20).Add("@Limit", limit),
            cancellationToken));

    public async Task<IReadOnlyList<WaitingRequest>> ListWaitingAsync(UnfinishedCursor? after, int limit, CancellationToken cancellationToken)
    {
        var rows = await WaitingAsync("", Place(after).Add("@Limit", limit), cancellationToken);
        return [.. rows];
    }

    public async Task<IReadOnlyList<WaitingRequest>> ListJoblessAsync(
        TimeSpan olderThan, UnfinishedCursor? after, int limit, CancellationToken cancellationToken)
    {
        var rows = await WaitingAsync(
            " AND hangfire_job_id IS NULL AND queued_at < DATEADD(millisecond, -@Age, SYSUTCDATETIME())",
            Place(after).Add("@Limit", limit).Add("@Age", (int)olderThan.TotalMilliseconds),
            cancellationToken);
        return [.. rows];
    }

    public async Task<IReadOnlyList<WaitingRequest>> ListWaitingLongerAsync(
        TimeSpan waited, UnfinishedCursor? after, int limit, CancellationToken cancellationToken)
    {
        var rows = await WaitingAsync(
            " AND queued_at < DATEADD(millisecond, -@Age, SYSUTCDATETIME())",
            Place(after).Add("@Limit", limit).Add("@Age", (int)waited.TotalMilliseconds),
            cancellationToken);
        return [.. rows];
    }

    public async Task<IReadOnlyList<WaitingRequest>> FindWaitingAsync(IReadOnlyCollection<string> hangfireJobIds, CancellationToken cancellationToken)
    {
        var rows = await connections.RunAsync(
            connection => connection.QueryAsync<(long Id, DateTime QueuedAt, string? HangfireJobId, int QueuePosition)>(Command(
                $"""
                SELECT id, queued_at, hangfire_job_id, ISNULL(TRY_CAST(JSON_VALUE(extra_metadata, N'$."queue_position"') AS int), 0)
                FROM dbo.messages
                WHERE hangfire_job_id IN (SELECT those.job COLLATE Latin1_General_100_BIN2 FROM OPENJSON(@Jobs) WITH (job nvarchar(100) '$') AS those)
                    AND hangfire_job_id IS NOT NULL AND {IsQueued};
                """,
                new StatementParameters().AddText("@Jobs", System.Text.Json.JsonSerializer.Serialize(hangfireJobIds)),
                cancellationToken)),
            cancellationToken);
        return [.. rows.Select(row => new WaitingRequest(row.Id, Utc(row.QueuedAt), row.HangfireJobId, Math.Max(0, row.QueuePosition)))];
    }

    private async Task<IEnumerable<WaitingRequest>> WaitingAsync(string and, StatementParameters parameters, CancellationToken cancellationToken)
    {
        var rows = await connections.RunAsync(
            connection => connection.QueryAsync<(long Id, DateTime QueuedAt, string? HangfireJobId, int QueuePosition)>(Command(
                $"""
                SELECT TOP (@Limit) id, queued_at, hangfire_job_id, ISNULL(TRY_CAST(JSON_VALUE(extra_metadata, N'$."queue_position"') AS int), 0)
                FROM dbo.messages
                WHERE {IsQueued} AND {IsBehind}{and}
                ORDER BY queued_at, id;
                """,
                parameters,
                cancellationToken)),
            cancellationToken);
        return rows.Select(row => new WaitingRequest(row.Id, Utc(row.QueuedAt), row.HangfireJobId, row.QueuePosition));
    }

    public async Task<IReadOnlyList<Message>> ListSilentAsync(TimeSpan silentFor, UnfinishedCursor? after, int limit, CancellationToken cancellationToken) =>
        Messages(await ManyAsync(
            $"""
            SELECT TOP (@Limit) {Columns}
            FROM dbo.messages
            WHERE {IsProcessing} AND {IsBehind}
                AND (heartbeat_at IS NULL OR heartbeat_at < DATEADD(millisecond, -@Age, SYSUTCDATETIME()))
            ORDER BY queued_at, id;
            """,
            Place(after).Add("@Limit", limit).Add("@Age", (int)silentFor.TotalMilliseconds),
            cancellationToken));

    /// <summary>Behind a place in the queue. The first condition alone is one that an index seeks by.</summary>
    private const string IsBehind = "queued_at >= @QueuedAt AND (queued_at > @QueuedAt OR id > @Id)";

    public Task<int> CountAsync(string status, CancellationToken cancellationToken) =>
        connections.RunAsync(
            connection => connection.ExecuteScalarAsync<int>(Command(
                "SELECT COUNT(*) FROM dbo.messages WHERE queued_at IS NOT NULL AND status = @Status;",
                new StatementParameters().AddText("@Status", status, 20),
                cancellationToken)),
            cancellationToken);

    public async Task<IReadOnlyList<MessageChange>> ChangesSinceAsync(long revision, string? conversationId, int limit, CancellationToken cancellationToken)
    {
        var parameters = new StatementParameters().AddRevision("@Since", revision).Add("@Limit", limit);
        if (conversationId is not null)
            parameters.AddText("@ConversationId", conversationId, NameSize);
        var rows = await ManyAsync(
            $"""
            {DeclareEnd}
            SELECT TOP (@Limit) {Columns}, {Owner}
            FROM dbo.messages
            WHERE {(conversationId is null ? "" : "conversation_id = @ConversationId AND ")}revision > @Since AND revision < @End
            ORDER BY revision;
            """,
            parameters,
            cancellationToken);
        return [.. rows.Select(row => new MessageChange(row.Username, row.ToMessage()))];
    }

    /// <summary>Rows of an earlier release do not have it themselves.</summary>
    private const string Owner =
        "ISNULL(username, (SELECT conversations.username FROM dbo.conversations WHERE conversations.id = messages.conversation_id)) AS Username";

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
            // A revision is counted when it is given, and its row is seen when its transaction ends: either changes what can be read.
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
            SELECT {Columns}, {Owner}
            FROM dbo.messages
            WHERE id IN (SELECT those.id FROM OPENJSON(@Ids) WITH (id bigint '$') AS those)
            ORDER BY revision;
            """,
            new StatementParameters().AddText("@Ids", JsonSerializer.Serialize(ids)),
            cancellationToken);
        return [.. rows.Select(row => new MessageChange(row.Username, row.ToMessage()))];
    }

    private sealed class ChangedRowRow
    {
        public long Id { get; init; }

        public string ConversationId { get; init; } = "";

        public byte[] Revision { get; init; } = [];

        public byte[] HeldBackAt { get; init; } = [];

        public ChangedRow ToChangedRow() => new(Id, ConversationId, RowVersion.ToInt64(Revision));
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
    /// A revision is given when a row is written and seen when its transaction ends, so revisions become visible out of order.
    /// Below the lowest of all unfinished transactions nothing can appear any more. Read before the rows, not beside
    /// them: under read committed snapshot a query sees what was there when it began, and a transaction that ends between
    /// the two would be passed over for ever.
    /// </summary>
    private const string DeclareEnd = "DECLARE @End binary(8) = MIN_ACTIVE_ROWVERSION();";

    private static StatementParameters Place(UnfinishedCursor? after) =>
        new StatementParameters().Add("@QueuedAt", after is { } cursor ? Cut(cursor.QueuedAt) : DateTime.MinValue).Add("@Id", after?.Id ?? 0);

    private async Task<Message?> OneAsync(string sql, StatementParameters parameters, CancellationToken cancellationToken) =>
        Messages(await ManyAsync(sql, parameters, cancellationToken)).SingleOrDefault();

    private Task<IEnumerable<MessageRow>> ManyAsync(string sql, StatementParameters parameters, CancellationToken cancellationToken) =>
        connections.RunAsync(connection => connection.QueryAsync<MessageRow>(Command(sql, parameters, cancellationToken)), cancellationToken);

    private static List<Message> Messages(IEnumerable<MessageRow> rows) => rows.Select(row => row.ToMessage()).ToList();

    private sealed class ConversationRow
    {
        public string Id { get; init; } = "";

        public string Username { get; init; } = "";

        public string? Title { get; init; }

        public DateTime CreatedAt { get; init; }

        public Conversation ToConversation() => new(Id, Username, Title, Utc(CreatedAt));
    }
}
