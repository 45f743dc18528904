using Dapper;
using Microsoft.Data.Sqlite;

namespace ImageQueue.Core.Messages.Sqlite;

internal sealed partial class SqliteMessageStore
{
    public Task<Message?> FindAsync(long id, CancellationToken cancellationToken) =>
        Task.FromResult(Read(connection => Find(connection, id)));

    private static Message? Find(SqliteConnection connection, long id) =>
        connection.QuerySingleOrDefault<MessageRow>($"SELECT {Columns} FROM messages WHERE id = @id", new { id })?.ToMessage();

    public Task<Message?> FindByHangfireJobAsync(string hangfireJobId, CancellationToken cancellationToken) =>
        Task.FromResult(Read(connection => connection.QueryFirstOrDefault<MessageRow>(
            $"SELECT {Columns} FROM messages WHERE hangfire_job_id = @hangfireJobId", new { hangfireJobId })?.ToMessage()));

    public Task<Message?> FindByJobIdAsync(string jobId, CancellationToken cancellationToken) =>
        Task.FromResult(Read(connection => connection.QueryFirstOrDefault<MessageRow>(
            $"SELECT {Columns} FROM messages WHERE job_id = @jobId AND queued_at IS NOT NULL", new { jobId })?.ToMessage()));

    public Task<Conversation?> FindConversationAsync(string conversationId, CancellationToken cancellationToken) =>
        Task.FromResult(Read(connection => connection.QuerySingleOrDefault<ConversationRow>(
            "SELECT id AS Id, username AS Username, title AS Title, created_at AS CreatedAt FROM conversations WHERE id = @conversationId",
            new { conversationId })?.ToConversation()));

    public Task<IReadOnlyList<Message>> ListAsync(string conversationId, long after, int limit, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<Message>>(Read(connection => Messages(connection.Query<MessageRow>(
            $"SELECT {Columns} FROM messages WHERE conversation_id = @conversationId AND id > @after ORDER BY id LIMIT @limit",
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
        Task.FromResult<IReadOnlyList<WaitingRequest>>(Read(connection => connection.Query<(long Id, string QueuedAt, string? HangfireJobId)>(
            """
            SELECT id, queued_at, hangfire_job_id FROM messages
            WHERE status = 'queued' AND queued_at IS NOT NULL AND (queued_at, id) > (@queuedAt, @id)
            ORDER BY queued_at, id
            LIMIT @limit
            """,
            new { limit, queuedAt = after is null ? "" : Write(after.Value.QueuedAt), id = after?.Id ?? 0 })
            .Select(row => new WaitingRequest(row.Id, Time(row.QueuedAt), row.HangfireJobId)).ToList()));

    public Task<IReadOnlyList<Message>> ListNewestAsync(string status, int limit, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<Message>>(Read(connection => Messages(connection.Query<MessageRow>(
            $"SELECT {Columns} FROM messages WHERE status = @status AND queued_at IS NOT NULL ORDER BY queued_at DESC, id DESC LIMIT @limit",
            new { status, limit }))));

    public Task<int> CountAsync(string status, CancellationToken cancellationToken) =>
        Task.FromResult(Read(connection => connection.ExecuteScalar<int>(
            "SELECT count(*) FROM messages WHERE status = @status AND queued_at IS NOT NULL", new { status })));

    public Task<IReadOnlyList<MessageChange>> ChangesSinceAsync(long revision, string? conversationId, int limit, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<MessageChange>>(Read(connection => connection.Query<MessageRow>(
            // The unary plus keeps the planner on the index that serves the question: one conversation's own, or the revision's.
            $"""
            SELECT {Columns}, (SELECT username FROM conversations c WHERE c.id = conversation_id) AS Username
            FROM messages
            WHERE {(conversationId is null ? "revision > @revision" : "conversation_id = @conversationId AND +revision > @revision")}
            ORDER BY revision
            LIMIT @limit
            """,
            new { revision, conversationId, limit }).Select(row => new MessageChange(row.Username, row.ToMessage())).ToList()));

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
