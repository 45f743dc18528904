using Dapper;

namespace ImageQueue.Core.Storage.SqlServer;

internal sealed partial class SqlServerMessageStore
{
    /// <summary>
    /// Most rows of one statement: each row looks itself up in the JSON, so the work grows with the square of their number.
    /// </summary>
    private const int MaxRowsPerStatement = 200;

    public async Task<IReadOnlyList<long>> AttachJobsAsync(
        IReadOnlyList<(long Id, string HangfireJobId, string? Replaces)> jobs, CancellationToken cancellationToken)
    {
        if (jobs.Count == 0)
            return [];
        var attached = await connections.RunAsync(
            async connection =>
            {
                var ids = new HashSet<long>();
                await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
                foreach (var rows in jobs.Chunk(MaxRowsPerStatement))
                {
                    var parameters = Rows(rows.Select(job => new { job.Id, job.HangfireJobId, job.Replaces }));
                    ids.UnionWith(await connection.QueryAsync<long>(
                        new CommandDefinition(AttachJobs, parameters, transaction, cancellationToken: cancellationToken)));
                }

                await transaction.CommitAsync(cancellationToken);
                return ids;
            },
            cancellationToken);
        if (attached.Count > 0)
            Signal.Raise();
        return [.. jobs.Select(job => job.Id).Where(id => !attached.Contains(id))];
    }

    private const string AttachJobs =
        $"""
        UPDATE dbo.messages
        SET hangfire_job_id = (SELECT MAX(attached.job) FROM {Attached} WHERE attached.id = messages.id), updated_at = @Now
        OUTPUT inserted.id
        WHERE id IN (SELECT attached.id FROM {Attached}) AND {IsQueued} AND EXISTS (
            SELECT 1 FROM {Attached}
            WHERE attached.id = messages.id
                AND ISNULL(attached.replaces COLLATE Latin1_General_100_BIN2, N'') = ISNULL(messages.hangfire_job_id, N''));
        """;

    private const string Attached =
        "OPENJSON(@Rows) WITH (id bigint '$.id', job nvarchar(100) '$.hangfire_job_id', replaces nvarchar(100) '$.replaces') AS attached";

    public async Task<int> SavePositionsAsync(IReadOnlyList<QueuedPosition> positions, CancellationToken cancellationToken)
    {
        var written = 0;
        foreach (var rows in positions.Chunk(MaxRowsPerStatement))
            written += await ExecuteAsync(SavePositions, Rows(rows), cancellationToken);
        if (written > 0)
            Signal.Raise();
        return written;
    }

    private StatementParameters Rows<T>(IEnumerable<T> rows) =>
        new StatementParameters().AddText("@Rows", JsonSerializer.Serialize(rows, MetadataPatch.StoredJson)).Add("@Now", Now());

    // By the clustered key, so that locks are taken in a claim's order: the row first, then its indexes.
    // OPENJSON's columns have the database's collation; jobs are compared exactly.
    private const string SavePositions =
        $"""
        UPDATE dbo.messages
        SET extra_metadata = JSON_MODIFY(
                {JsonModify.Document}, N'$."queue_position"', (SELECT MAX(moved.position) FROM {Moved} WHERE moved.id = messages.id)),
            updated_at = @Now
        WHERE id IN (SELECT moved.id FROM {Moved}) AND {IsQueued} AND hangfire_job_id IS NOT NULL AND EXISTS (
            SELECT 1 FROM {Moved}
            WHERE moved.id = messages.id AND moved.job COLLATE Latin1_General_100_BIN2 = messages.hangfire_job_id
                AND moved.position <> ISNULL(TRY_CAST(JSON_VALUE(messages.extra_metadata, N'$."queue_position"') AS int), -1));
        """;

    private const string Moved =
        "OPENJSON(@Rows) WITH (id bigint '$.id', job nvarchar(100) '$.hangfire_job_id', position int '$.position') AS moved";

    public Task<Message?> FindByHangfireJobAsync(string hangfireJobId, CancellationToken cancellationToken) =>
        OneAsync<Message>(
            $"""
            SELECT TOP (1) {Columns}
            FROM dbo.messages
            WHERE hangfire_job_id = @HangfireJobId AND hangfire_job_id IS NOT NULL
            ORDER BY id DESC;
            """,
            new StatementParameters().AddText("@HangfireJobId", hangfireJobId, HangfireJobIdSize),
            cancellationToken);

    public Task<Message?> FindByJobIdAsync(string jobId, CancellationToken cancellationToken) =>
        OneAsync<Message>(
            $"""
            SELECT TOP (1) {Columns}
            FROM dbo.messages
            WHERE job_id = @JobId AND queued_at IS NOT NULL AND deleted_at IS NULL
            ORDER BY id;
            """,
            new StatementParameters().AddText("@JobId", jobId, 32),
            cancellationToken);

    public Task<IReadOnlyList<Message>> ListByStatusAsync(
        string status, UnfinishedCursor? after, int limit, CancellationToken cancellationToken) =>
        ManyAsync<Message>(
            $"""
            SELECT TOP (@Limit) {Columns}
            FROM dbo.messages
            WHERE queued_at IS NOT NULL AND status = @Status AND {IsBehind}
            ORDER BY queued_at, id;
            """,
            Place(after, limit).AddText("@Status", status, 20),
            cancellationToken);

    public Task<IReadOnlyList<Message>> ListNewestAsync(string status, int limit, CancellationToken cancellationToken) =>
        ManyAsync<Message>(
            $"""
            SELECT TOP (@Limit) {Columns}
            FROM dbo.messages
            WHERE queued_at IS NOT NULL AND status = @Status
            ORDER BY queued_at DESC, id DESC;
            """,
            new StatementParameters().AddText("@Status", status, 20).Add("@Limit", limit),
            cancellationToken);

    public Task<IReadOnlyList<Message>> ListSilentAsync(
        TimeSpan silentFor, UnfinishedCursor? after, int limit, CancellationToken cancellationToken) =>
        ManyAsync<Message>(
            $"""
            SELECT TOP (@Limit) {Columns}
            FROM dbo.messages
            WHERE {IsProcessing} AND {IsBehind}
                AND (heartbeat_at IS NULL OR heartbeat_at < DATEADD(millisecond, -@Age, SYSUTCDATETIME()))
            ORDER BY queued_at, id;
            """,
            Place(after, limit, silentFor),
            cancellationToken);

    public Task<int> CountAsync(string status, CancellationToken cancellationToken) => ScalarAsync<int>(
        "SELECT COUNT(*) FROM dbo.messages WHERE queued_at IS NOT NULL AND status = @Status;",
        new StatementParameters().AddText("@Status", status, 20), cancellationToken);

    public Task<IReadOnlyList<WaitingRequest>> ListWaitingAsync(UnfinishedCursor? after, int limit, CancellationToken cancellationToken) =>
        WaitingAsync("", Place(after, limit), cancellationToken);

    public Task<IReadOnlyList<WaitingRequest>> ListJoblessAsync(
        TimeSpan olderThan, UnfinishedCursor? after, int limit, CancellationToken cancellationToken) =>
        WaitingAsync(
            " AND hangfire_job_id IS NULL AND queued_at < DATEADD(millisecond, -@Age, SYSUTCDATETIME())", Place(after, limit, olderThan),
            cancellationToken);

    public Task<IReadOnlyList<WaitingRequest>> ListWaitingLongerAsync(
        TimeSpan waited, UnfinishedCursor? after, int limit, CancellationToken cancellationToken) =>
        WaitingAsync(" AND queued_at < DATEADD(millisecond, -@Age, SYSUTCDATETIME())", Place(after, limit, waited), cancellationToken);

    public Task<IReadOnlyList<WaitingRequest>> FindWaitingAsync(
        IReadOnlyCollection<string> hangfireJobIds, CancellationToken cancellationToken) =>
        ManyAsync<WaitingRequest, WaitingRequest>(
            $"""
            SELECT {WaitingColumns}
            FROM dbo.messages
            WHERE hangfire_job_id IN (
                    SELECT those.job COLLATE Latin1_General_100_BIN2 FROM OPENJSON(@Jobs) WITH (job nvarchar(100) '$') AS those)
                AND hangfire_job_id IS NOT NULL AND {IsQueued};
            """,
            new StatementParameters().AddText("@Jobs", JsonSerializer.Serialize(hangfireJobIds)),
            Checked,
            cancellationToken);

    private Task<IReadOnlyList<WaitingRequest>> WaitingAsync(
        string and, StatementParameters parameters, CancellationToken cancellationToken) =>
        ManyAsync<WaitingRequest, WaitingRequest>(
            $"""
            SELECT TOP (@Limit) {WaitingColumns}
            FROM dbo.messages
            WHERE {IsQueued} AND {IsBehind}{and}
            ORDER BY queued_at, id;
            """,
            parameters,
            Checked,
            cancellationToken);

    private static WaitingRequest Checked(WaitingRequest row) => row with { QueuePosition = Math.Max(0, row.QueuePosition) };

    /// <summary>Behind a place in the queue. An index seeks by the first condition only.</summary>
    private const string IsBehind = "queued_at >= @QueuedAt AND (queued_at > @QueuedAt OR id > @Id)";

    private static StatementParameters Place(UnfinishedCursor? after, int limit, TimeSpan? age = null)
    {
        var queuedAt = after is { } cursor ? Cut(cursor.QueuedAt) : DateTime.MinValue;
        var parameters = new StatementParameters().Add("@QueuedAt", queuedAt).Add("@Id", after?.Id ?? 0).Add("@Limit", limit);
        return age is { } past ? parameters.Add("@Age", (int)past.TotalMilliseconds) : parameters;
    }

    private const string WaitingColumns =
        """
        id AS Id, queued_at AS QueuedAt, hangfire_job_id AS HangfireJobId, username AS Username,
            ISNULL(TRY_CAST(JSON_VALUE(extra_metadata, N'$."queue_position"') AS int), 0) AS QueuePosition
        """;
}
