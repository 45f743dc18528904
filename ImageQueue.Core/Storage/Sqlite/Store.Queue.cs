using Dapper;

namespace ImageQueue.Core.Storage.Sqlite;

internal sealed partial class SqliteMessageStore
{
    public async Task<IReadOnlyList<long>> AttachJobsAsync(
        IReadOnlyList<(long Id, string HangfireJobId, string? Replaces)> jobs, CancellationToken cancellationToken)
    {
        if (jobs.Count == 0)
            return [];
        var refused = await _writer.RunAsync(
            session => Refused(
                session,
                jobs,
                $"""
                UPDATE messages SET hangfire_job_id = @HangfireJobId, {Touch}
                WHERE id = @Id AND {IsQueued} AND hangfire_job_id IS @Replaces
                """),
            cancellationToken,
            survivesPowerCut: false);
        if (refused.Count < jobs.Count)
            Signal.Raise();
        return refused;
    }

    /// <summary>
    /// Gives finished requests new Hangfire jobs, in one commit: their old ones were in an earlier process's memory. Guard of each:
    /// finished, and the stored job is still <c>Replaces</c>. Moves neither updated_at nor the revision, since no client sees it.
    /// </summary>
    /// <returns>The ids it was refused for.</returns>
    public Task<IReadOnlyList<long>> ReplaceEndedJobsAsync(
        IReadOnlyList<(long Id, string HangfireJobId, string? Replaces)> jobs, CancellationToken cancellationToken) =>
        _writer.RunAsync(
            session => Refused(
                session,
                jobs,
                """
                UPDATE messages SET hangfire_job_id = @HangfireJobId
                WHERE id = @Id AND hangfire_job_id IS @Replaces AND queued_at IS NOT NULL AND status IN ('complete', 'error', 'cancelled')
                """),
            cancellationToken);

    /// <summary>The ids that the UPDATE was refused for.</summary>
    private IReadOnlyList<long> Refused(
        SqliteSession session, IEnumerable<(long Id, string HangfireJobId, string? Replaces)> jobs, string update)
    {
        var now = Now();
        return
        [
            .. jobs.Where(job => session.Execute(
                update,
                [("@Id", job.Id), ("@HangfireJobId", job.HangfireJobId), ("@Replaces", job.Replaces), ("@Now", now)]) == 0)
                .Select(job => job.Id),
        ];
    }

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
            Signal.Raise();
        return written;
    }

    public Task<Message?> FindByHangfireJobAsync(string hangfireJobId, CancellationToken cancellationToken) =>
        OneAsync<Message>($"SELECT {Columns} FROM messages WHERE id = ({NewestOfJob})", new { HangfireJobId = hangfireJobId });

    public Task<Message?> FindByJobIdAsync(string jobId, CancellationToken cancellationToken) =>
        OneAsync<Message>(
            $"SELECT {Columns} FROM messages WHERE job_id = @jobId AND queued_at IS NOT NULL AND deleted_at IS NULL LIMIT 1",
            new { jobId });

    public Task<IReadOnlyList<Message>> ListByStatusAsync(
        string status, UnfinishedCursor? after, int limit, CancellationToken cancellationToken) =>
        ListAsync<Message>(Columns, "messages", "status = @status", after, limit, status: status);

    public Task<IReadOnlyList<Message>> ListNewestAsync(string status, int limit, CancellationToken cancellationToken) =>
        ManyAsync<Message>(
            $"""
            SELECT {Columns} FROM messages
            WHERE status = @status AND queued_at IS NOT NULL ORDER BY queued_at DESC, id DESC LIMIT @limit
            """,
            new { status, limit });

    public Task<IReadOnlyList<Message>> ListSilentAsync(
        TimeSpan silentFor, UnfinishedCursor? after, int limit, CancellationToken cancellationToken) =>
        ListAsync<Message>(
            Columns, "messages", "status = 'processing' AND (heartbeat_at IS NULL OR heartbeat_at < @before)", after, limit, silentFor);

    public Task<int> CountAsync(string status, CancellationToken cancellationToken) =>
        ReadAsync(connection => connection.ExecuteScalar<int>(
            "SELECT count(*) FROM messages WHERE status = @status AND queued_at IS NOT NULL", new { status }));

    public Task<IReadOnlyList<WaitingRequest>> ListWaitingAsync(UnfinishedCursor? after, int limit, CancellationToken cancellationToken) =>
        ListAsync<WaitingRequest>(WaitingColumns, "messages", "status = 'queued'", after, limit);

    public Task<IReadOnlyList<WaitingRequest>> ListJoblessAsync(
        TimeSpan olderThan, UnfinishedCursor? after, int limit, CancellationToken cancellationToken) =>
        ListAsync<WaitingRequest>(
            WaitingColumns,
            "messages INDEXED BY ix_messages_jobless", // The planner would scan all queued rows.
            "status = 'queued' AND hangfire_job_id IS NULL AND queued_at < @before",
            after, limit, olderThan);

    public Task<IReadOnlyList<WaitingRequest>> ListWaitingLongerAsync(
        TimeSpan waited, UnfinishedCursor? after, int limit, CancellationToken cancellationToken) =>
        ListAsync<WaitingRequest>(WaitingColumns, "messages", "status = 'queued' AND queued_at < @before", after, limit, waited);

    public Task<IReadOnlyList<WaitingRequest>> FindWaitingAsync(
        IReadOnlyCollection<string> hangfireJobIds, CancellationToken cancellationToken) =>
        ManyAsync<WaitingRequest>(
            // The unary plus makes the planner use the jobs' index: by status it would scan all queued rows.
            $"""
            SELECT {WaitingColumns} FROM messages
            WHERE hangfire_job_id IN (SELECT value FROM json_each(@jobs)) AND +queued_at IS NOT NULL AND +status = 'queued'
            """,
            new { jobs = JsonSerializer.Serialize(hangfireJobIds) });

    private const string WaitingColumns =
        """
        id, queued_at, hangfire_job_id, username,
            CASE WHEN json_type(extra_metadata, '$.queue_position') = 'integer'
                AND extra_metadata ->> '$.queue_position' BETWEEN 1 AND 2147483647
                THEN extra_metadata ->> '$.queue_position' ELSE 0 END AS queue_position
        """;

    /// <summary>Image requests behind a place in the queue, oldest place first.</summary>
    /// <param name="age">Of <c>@before</c>.</param>
    private Task<IReadOnlyList<T>> ListAsync<T>(
        string columns, string from, string where, UnfinishedCursor? after, int limit, TimeSpan age = default, string? status = null)
    {
        var queuedAt = after is { } place ? StoredTime.Write(place.QueuedAt) : "";
        return ManyAsync<T>(
            $"""
            SELECT {columns} FROM {from}
            WHERE queued_at IS NOT NULL AND (queued_at, id) > (@queuedAt, @id) AND {where}
            ORDER BY queued_at, id
            LIMIT @limit
            """,
            new { queuedAt, id = after?.Id ?? 0, limit, before = Ago(age), status });
    }
}
