using System.Text.Json;
using Dapper;
using ImageQueue.Core.Messages;
using Microsoft.Data.Sqlite;

namespace ImageQueue.Core.Storage.Sqlite;

internal sealed partial class SqliteMessageStore
{
    public Task<Message?> FindAsync(long id, CancellationToken cancellationToken) =>
        Task.FromResult(Read(connection => Find(connection, id)));

    private static Message? Find(SqliteConnection connection, long id) =>
        connection.QuerySingleOrDefault<MessageRow>($"SELECT {Columns} FROM messages WHERE id = @id AND deleted_at IS NULL", new { id })?.ToMessage();

    public Task<Message?> FindByHangfireJobAsync(string hangfireJobId, CancellationToken cancellationToken) =>
        Task.FromResult(Read(connection => connection.QueryFirstOrDefault<MessageRow>(
            $"SELECT {Columns} FROM messages WHERE hangfire_job_id = @hangfireJobId", new { hangfireJobId })?.ToMessage()));

    public Task<Message?> FindByJobIdAsync(string jobId, CancellationToken cancellationToken) =>
        Task.FromResult(Read(connection => connection.QueryFirstOrDefault<MessageRow>(
            $"SELECT {Columns} FROM messages WHERE job_id = @jobId AND queued_at IS NOT NULL AND deleted_at IS NULL", new { jobId })?.ToMessage()));

    public Task<Conversation?> FindConversationAsync(string conversationId, CancellationToken cancellationToken) =>
        Task.FromResult(Read(connection => connection.QuerySingleOrDefault<ConversationRow>(
            "SELECT id AS Id, username AS Username, title AS Title, created_at AS CreatedAt FROM conversations WHERE id = @conversationId AND username <> ''",
            new { conversationId })?.ToConversation()));

    public Task<IReadOnlyList<Message>> ListAsync(string conversationId, long after, int limit, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<Message>>(Read(connection => Messages(connection.Query<MessageRow>(
            $"SELECT {Columns} FROM messages WHERE conversation_id = @conversationId AND id > @after AND deleted_at IS NULL ORDER BY id LIMIT @limit",
            new { conversationId, after, limit }))));

    public Task<IReadOnlyList<Message>> ListByStatusAsync(string status, UnfinishedCursor? after, int limit, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<Message>>(Read(connection => Messages(connection.Query<MessageRow>(
            $"""
            SELECT {Columns} FROM messages
            WHERE status = @status AND queued_at IS NOT NULL AND (queued_at, id) > (@queuedAt, @id)
            ORDER BY queued_at, id
            LIMIT @limit
            """,
            new { status, queuedAt = after is null ? "" : Write(after.Value.QueuedAt), id = after?.Id ?? 0, limit }))));

    public Task<IReadOnlyList<WaitingRequest>> ListWaitingAsync(UnfinishedCursor? after, int limit, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<WaitingRequest>>(Waiting("messages", "true", after, limit, olderThan: null));

    public Task<IReadOnlyList<WaitingRequest>> ListJoblessAsync(
        TimeSpan olderThan, UnfinishedCursor? after, int limit, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<WaitingRequest>>(Waiting("messages INDEXED BY ix_messages_jobless", "hangfire_job_id IS NULL AND queued_at < @before", after, limit, olderThan));

    public Task<IReadOnlyList<WaitingRequest>> ListWaitingLongerAsync(
        TimeSpan waited, UnfinishedCursor? after, int limit, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<WaitingRequest>>(Waiting("messages", "queued_at < @before", after, limit, waited));

    public Task<IReadOnlyList<WaitingRequest>> FindWaitingAsync(IReadOnlyCollection<string> hangfireJobIds, CancellationToken cancellationToken) =>
        // The unary plus keeps the planner on the jobs' own index: with the status' it looks through all that wait.
        Task.FromResult<IReadOnlyList<WaitingRequest>>(Read(connection => ToWaiting(connection.Query<(long, string, string?, long)>(
            $"SELECT {WaitingColumns} FROM messages WHERE hangfire_job_id IN (SELECT value FROM json_each(@jobs)) AND +queued_at IS NOT NULL AND +status = 'queued'",
            new { jobs = System.Text.Json.JsonSerializer.Serialize(hangfireJobIds) }))));

    private const string WaitingColumns =
        """
        id, queued_at, hangfire_job_id,
            CASE json_type(extra_metadata, '$.queue_position') WHEN 'integer' THEN CAST(extra_metadata ->> '$.queue_position' AS INTEGER) ELSE 0 END
        """;

    private static List<WaitingRequest> ToWaiting(IEnumerable<(long Id, string QueuedAt, string? HangfireJobId, long QueuePosition)> rows) =>
        rows.Select(row => new WaitingRequest(row.Id, Time(row.QueuedAt), row.HangfireJobId, row.QueuePosition is > 0 and <= int.MaxValue ? (int)row.QueuePosition : 0)).ToList();

    // The index is named where it must be: left to itself the planner looks through all that wait.
    private List<WaitingRequest> Waiting(string from, string and, UnfinishedCursor? after, int limit, TimeSpan? olderThan) =>
        Read(connection => ToWaiting(connection.Query<(long, string, string?, long)>(
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

    public Task<IReadOnlyList<Message>> ListSilentAsync(TimeSpan silentFor, UnfinishedCursor? after, int limit, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<Message>>(Read(connection => Messages(connection.Query<MessageRow>(
            $"""
            SELECT {Columns} FROM messages
            WHERE status = 'processing' AND queued_at IS NOT NULL AND (queued_at, id) > (@queuedAt, @id)
                AND (heartbeat_at IS NULL OR heartbeat_at < @before)
            ORDER BY queued_at, id
            LIMIT @limit
            """,
            new { queuedAt = after is null ? "" : Write(after.Value.QueuedAt), id = after?.Id ?? 0, before = Write(_time.GetUtcNow() - silentFor), limit }))));

    public Task<IReadOnlyList<Message>> ListNewestAsync(string status, int limit, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<Message>>(Read(connection => Messages(connection.Query<MessageRow>(
            $"SELECT {Columns} FROM messages WHERE status = @status AND queued_at IS NOT NULL ORDER BY queued_at DESC, id DESC LIMIT @limit",
            new { status, limit }))));

    public Task<int> CountAsync(string status, CancellationToken cancellationToken) =>
        Task.FromResult(Read(connection => connection.ExecuteScalar<int>(
            "SELECT count(*) FROM messages WHERE status = @status AND queued_at IS NOT NULL", new { status })));

    public Task<IReadOnlyList<MessageChange>> ChangesSinceAsync(long revision, string? conversationId, int limit, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<MessageChange>>(Read(connection => connection.Query<MessageRow>(
            $"""
            SELECT {Columns}, username AS Username
            FROM messages
            WHERE {(conversationId is null ? "" : "conversation_id = @conversationId AND ")}revision > @revision
            ORDER BY revision
            LIMIT @limit
            """,
            new { revision, conversationId, limit }).Select(row => new MessageChange(row.Username, row.ToMessage())).ToList()));

    // One writer at a time gives the revisions and commits them in that order: nothing is ever held back.
    public Task<ChangedRows> ListChangesAsync(long revision, int limit, CancellationToken cancellationToken) =>
        Task.FromResult(new ChangedRows(
            Read(connection => connection.Query<(long Id, string ConversationId, long Revision)>(
                "SELECT id, conversation_id, revision FROM messages WHERE revision > @revision ORDER BY revision LIMIT @limit",
                new { revision, limit }).Select(row => new ChangedRow(row.Id, row.ConversationId, row.Revision)).ToList()),
            HeldBackAt: null));

    public Task<ChangeMark> ChangeMarkAsync(CancellationToken cancellationToken)
    {
        lock (_marking)
        {
            try
            {
                // By one connection that stays open: it is told of the commits of all others, and looks into no page of the file.
                _mark ??= Mark(Open());
                return Task.FromResult(new ChangeMark((long)_mark.ExecuteScalar()!, 0)); // It always has a value.
            }
            catch (SqliteException e)
            {
                CloseMark();
                throw SqliteErrors.Translate(e);
            }
        }

        static SqliteCommand Mark(SqliteConnection connection)
        {
            var command = connection.CreateCommand();
            command.CommandText = "PRAGMA data_version";
            return command;
        }
    }

    /// <summary>Call it holding <see cref="_marking"/>.</summary>
    private void CloseMark()
    {
        _mark?.Connection?.Dispose();
        _mark?.Dispose();
        _mark = null;
    }

    public Task<IReadOnlyList<ChangedRow>> ListAheadAsync(long from, int limit, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<ChangedRow>>([]);

    public Task<IReadOnlyList<MessageChange>> ReadChangesAsync(IReadOnlyCollection<long> ids, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<MessageChange>>(Read(connection => connection.Query<MessageRow>(
            // The unary plus keeps the planner on the ids: it would look through all revisions for the order.
            $"SELECT {Columns}, username AS Username FROM messages WHERE id IN (SELECT value FROM json_each(@ids)) ORDER BY +revision",
            new { ids = JsonSerializer.Serialize(ids) }).Select(row => new MessageChange(row.Username, row.ToMessage())).ToList()));

    public Task<long> LatestRevisionAsync(CancellationToken cancellationToken) =>
        Task.FromResult(Read(connection => connection.ExecuteScalar<long>("SELECT ifnull(max(revision), 0) FROM messages")));

    private static List<Message> Messages(IEnumerable<MessageRow> rows) => rows.Select(row => row.ToMessage()).ToList();

    private sealed class ConversationRow
    {
        public string Id { get; init; } = "";

        public string Username { get; init; } = "";

        public string? Title { get; init; }

        public string CreatedAt { get; init; } = "";

        public Conversation ToConversation() => new(Id, Username, Title, Time(CreatedAt));
    }
}
