using Dapper;

namespace ImageQueue.Core.Storage.Sqlite;

internal sealed partial class SqliteMessageStore
{
    public Task<Transition> AttachJobAsync(long id, string hangfireJobId, string? replaces, CancellationToken cancellationToken) =>
        TransitionAsync(
            operation: null, $"""
            UPDATE messages SET hangfire_job_id = @HangfireJobId, {Touch}
            WHERE id = @Id AND queued_at IS NOT NULL AND status = 'queued' AND hangfire_job_id IS @Replaces
            RETURNING {Columns}
            """,
            new Change(id, Now()) { HangfireJobId = hangfireJobId, Replaces = replaces },
            cancellationToken,
            survivesPowerCut: false); // The jobs are in this process's memory; the next start makes new ones.

    public async Task<IReadOnlyList<long>> AttachJobsAsync(
        IReadOnlyList<(long Id, string HangfireJobId, string? Replaces)> jobs, CancellationToken cancellationToken)
    {
        if (jobs.Count == 0)
            return [];
        var now = Now();
        var refused = await _writer.RunAsync(
            session => jobs.Where(job => session.Execute(
                $"""
                UPDATE messages SET hangfire_job_id = @HangfireJobId, {Touch}
                WHERE id = @Id AND queued_at IS NOT NULL AND status = 'queued' AND hangfire_job_id IS @Replaces
                """,
                [("@Id", job.Id), ("@HangfireJobId", job.HangfireJobId), ("@Replaces", job.Replaces), ("@Now", now)]) == 0)
                .Select(job => job.Id).ToList(),
            cancellationToken,
            survivesPowerCut: false);
        if (refused.Count < jobs.Count)
            _signal.Raise();
        return refused;
    }

    /// <summary>
    /// Gives finished requests new Hangfire jobs, in one commit: their old ones were in an earlier process's memory. Guard of each:
    /// finished, and the stored job is still <c>Replaces</c>. Moves neither updated_at nor the revision, since no client sees it.
    /// </summary>
    /// <returns>The ids it was refused for.</returns>
    public Task<IReadOnlyList<long>> ReplaceEndedJobsAsync(
        IReadOnlyList<(
            long Id,
            string HangfireJobId,
            string? Replaces)> jobs, CancellationToken cancellationToken) => _writer.RunAsync<IReadOnlyList<long>>(
        session => [.. jobs.Where(job => session.Execute(
            """
            UPDATE messages SET hangfire_job_id = @HangfireJobId
            WHERE id = @Id AND hangfire_job_id IS @Replaces AND queued_at IS NOT NULL AND status IN ('complete', 'error', 'cancelled')
            """,
            [("@Id", job.Id), ("@HangfireJobId", job.HangfireJobId), ("@Replaces", job.Replaces)]) == 0).Select(job => job.Id)],
        cancellationToken);

    public async Task<int> SavePositionsAsync(IReadOnlyList<QueuedPosition> positions, CancellationToken cancellationToken)
    {
        if (positions.Count == 0)
            return 0;
        var rows = JsonSerializer.Serialize(positions, MetadataPatch.StoredJson);
        var now = Now();
        var written = await _writer.RunAsync(
            session => session.Connection.Execute(
                // Each row gets its own revision: a page by revision must never split rows of one revision.
                // The unary pluses make the planner seek by id: by status, every queued row would search all of @rows.
                $"""
                UPDATE messages SET
                    extra_metadata = json_set(extra_metadata, '$.queue_position', moved.position),
                    updated_at = @now,
                    revision = (SELECT max(revision) FROM messages) + 1 + moved.ordinal
                FROM (
                    SELECT key AS ordinal, value ->> '$.id' AS id, value ->> '$.hangfire_job_id' AS job, value ->> '$.position' AS position
                    FROM json_each(@rows)) AS moved
                WHERE messages.id = moved.id AND +hangfire_job_id = moved.job AND +queued_at IS NOT NULL AND +status = 'queued'
                    AND extra_metadata ->> '$.queue_position' IS NOT moved.position
                """,
                new { rows, now }),
            cancellationToken);
        if (written > 0)
            _signal.Raise();
        return written;
    }

    public Task<Message?> FindByHangfireJobAsync(string hangfireJobId, CancellationToken cancellationToken) =>
        Task.FromResult(Read(connection => connection.QueryFirstOrDefault<MessageRow>(
            $"SELECT {Columns} FROM messages WHERE hangfire_job_id = @hangfireJobId ORDER BY id DESC LIMIT 1",
            new { hangfireJobId })?.ToMessage()));

    public Task<Message?> FindByJobIdAsync(string jobId, CancellationToken cancellationToken) =>
        Task.FromResult(Read(connection => connection.QueryFirstOrDefault<MessageRow>(
            $"SELECT {Columns} FROM messages WHERE job_id = @jobId AND queued_at IS NOT NULL AND deleted_at IS NULL",
            new { jobId })?.ToMessage()));

    public Task<IReadOnlyList<Message>> ListByStatusAsync(
        string status, UnfinishedCursor? after, int limit, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<Message>>(Read(connection => Messages(connection.Query<MessageRow>(
            $"""
            SELECT {Columns} FROM messages
            WHERE status = @status AND queued_at IS NOT NULL AND (queued_at, id) > (@queuedAt, @id)
            ORDER BY queued_at, id
            LIMIT @limit
            """,
            new { status, queuedAt = after is null ? "" : Write(after.Value.QueuedAt), id = after?.Id ?? 0, limit }))));

    public Task<IReadOnlyList<Message>> ListNewestAsync(string status, int limit, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<Message>>(Read(connection => Messages(connection.Query<MessageRow>(
            $"""
            SELECT {Columns} FROM messages
            WHERE status = @status AND queued_at IS NOT NULL ORDER BY queued_at DESC, id DESC LIMIT @limit
            """,
            new { status, limit }))));

    public Task<IReadOnlyList<Message>> ListSilentAsync(
        TimeSpan silentFor, UnfinishedCursor? after, int limit, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<Message>>(Read(connection => Messages(connection.Query<MessageRow>(
            $"""
            SELECT {Columns} FROM messages
            WHERE status = 'processing' AND queued_at IS NOT NULL AND (queued_at, id) > (@queuedAt, @id)
                AND (heartbeat_at IS NULL OR heartbeat_at < @before)
            ORDER BY queued_at, id
            LIMIT @limit
            """,
            new
            {
                limit,
                queuedAt = after is null ? "" : Write(after.Value.QueuedAt),
                id = after?.Id ?? 0,
                before = Write(_time.GetUtcNow() - silentFor),
            }))));

    public Task<int> CountAsync(string status, CancellationToken cancellationToken) =>
        Task.FromResult(Read(connection => connection.ExecuteScalar<int>(
            "SELECT count(*) FROM messages WHERE status = @status AND queued_at IS NOT NULL", new { status })));

    public Task<IReadOnlyList<WaitingRequest>> ListWaitingAsync(UnfinishedCursor? after, int limit, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<WaitingRequest>>(Waiting("messages", "true", after, limit, olderThan: null));

    public Task<IReadOnlyList<WaitingRequest>> ListJoblessAsync(
        TimeSpan olderThan, UnfinishedCursor? after, int limit, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<WaitingRequest>>(
            Waiting("messages INDEXED BY ix_messages_jobless", "hangfire_job_id IS NULL AND queued_at < @before", after, limit, olderThan));

    public Task<IReadOnlyList<WaitingRequest>> ListWaitingLongerAsync(
        TimeSpan waited, UnfinishedCursor? after, int limit, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<WaitingRequest>>(Waiting("messages", "queued_at < @before", after, limit, waited));

    public Task<IReadOnlyList<WaitingRequest>> FindWaitingAsync(
        IReadOnlyCollection<string> hangfireJobIds, CancellationToken cancellationToken) =>
        // The unary plus makes the planner use the jobs' index: by status it would scan all queued rows.
        Task.FromResult<IReadOnlyList<WaitingRequest>>(Read(connection => ToWaiting(connection.Query<(long, string, string?, long, string)>(
            $"""
            SELECT {WaitingColumns} FROM messages
            WHERE hangfire_job_id IN (SELECT value FROM json_each(@jobs)) AND +queued_at IS NOT NULL AND +status = 'queued'
            """,
            new { jobs = JsonSerializer.Serialize(hangfireJobIds) }))));

    private const string WaitingColumns =
        """
        id, queued_at, hangfire_job_id,
            CASE json_type(extra_metadata, '$.queue_position')
                WHEN 'integer' THEN CAST(extra_metadata ->> '$.queue_position' AS INTEGER) ELSE 0 END,
            username
        """;

    private static List<WaitingRequest> ToWaiting(
        IEnumerable<(long Id, string QueuedAt, string? HangfireJobId, long QueuePosition, string Username)> rows) =>
        rows.Select(row => new WaitingRequest(
            row.Id, Time(row.QueuedAt), row.HangfireJobId, row.QueuePosition is > 0 and <= int.MaxValue ? (int)row.QueuePosition : 0)
        {
            Username = row.Username,
        }).ToList();

    // The index is named where the planner would scan all queued rows.
    private List<WaitingRequest> Waiting(string from, string and, UnfinishedCursor? after, int limit, TimeSpan? olderThan) =>
        Read(connection => ToWaiting(connection.Query<(long, string, string?, long, string)>(
            $"""
            SELECT {WaitingColumns}
            FROM {from}
            WHERE status = 'queued' AND queued_at IS NOT NULL AND (queued_at, id) > (@queuedAt, @id) AND {and}
            ORDER BY queued_at, id
            LIMIT @limit
            """,
            new
            {
                limit,
                queuedAt = after is null ? "" : Write(after.Value.QueuedAt),
                id = after?.Id ?? 0,
                before = olderThan is { } age ? Write(_time.GetUtcNow() - age) : null,
            })));
}
