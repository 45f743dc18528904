using Dapper;

namespace ImageQueue.Core.Storage.Sqlite;

internal sealed partial class SqliteMessageStore
{
    public Task<Transition> EraseAsync(long id, CancellationToken cancellationToken) =>
        TransitionAsync(
            new(null, id, $"{Erased} ", "deleted_at IS NULL", Why(null)) { Content = "", Before = [ForgetTitle, .. Release("TRUE")] },
            cancellationToken);

    /// <summary>The tombstone says that the message was deleted and, for an image, its job_id, which names no file any more.</summary>
    private static readonly string Erased =
        $$"""
        extra_metadata = CASE WHEN queued_at IS NULL THEN '{"status":"deleted"}'
                ELSE json_object('status', 'deleted', 'progress', 0, 'queue_position', 0, 'job_id', job_id) END,
            username = '', hangfire_job_id = NULL, idempotency_key = NULL, request_hash = NULL, backend = NULL, heartbeat_at = NULL,
            finished_at = NULL, work = NULL, events = {{Line(RequestEventKinds.Erased)}}, failures = 0, disruptions = 0,
            deleted_at = @Now,
        """;

    /// <summary>A conversation's title is the beginning of its first message.</summary>
    private const string ForgetTitle =
        """
        UPDATE conversations SET title = NULL
        WHERE id = (SELECT conversation_id FROM messages WHERE id = @Id)
            AND NOT EXISTS (SELECT 1 FROM messages earlier WHERE earlier.conversation_id = conversations.id AND earlier.id < @Id)
        """;

    public async Task<bool> CloseConversationAsync(string conversationId, CancellationToken cancellationToken) =>
        await ExecuteAsync(
            "UPDATE conversations SET username = '', title = NULL WHERE id = @conversationId AND username <> ''",
            new { conversationId = StoredName.Normalize(conversationId) }, cancellationToken) > 0;

    public Task<IReadOnlyList<string>> ListClosedConversationsAsync(int limit, CancellationToken cancellationToken) =>
        ManyAsync<string>(
            """
            SELECT id FROM conversations
            WHERE username = '' AND EXISTS (SELECT 1 FROM messages WHERE conversation_id = conversations.id AND deleted_at IS NULL)
            LIMIT @limit
            """,
            new { limit });

    public Task<int> ForgetErasedAsync(TimeSpan olderThan, int limit, CancellationToken cancellationToken)
    {
        var before = Ago(olderThan);
        return _writer.RunAsync(
            session =>
            {
                // The next revision is the highest one plus 1: its row stays.
                var forgotten = session.Connection.Execute(
                    """
                    DELETE FROM messages
                    WHERE id IN (
                            SELECT id FROM messages WHERE deleted_at IS NOT NULL AND deleted_at < @before ORDER BY deleted_at LIMIT @limit)
                        AND revision < (SELECT max(revision) FROM messages)
                    """,
                    new { before, limit });
                session.Connection.Execute(
                    """
                    DELETE FROM conversations
                    WHERE username = '' AND NOT EXISTS (SELECT 1 FROM messages WHERE conversation_id = conversations.id)
                    """);
                return forgotten;
            },
            cancellationToken);
    }

    /// <summary>
    /// Empties the write-ahead log in the background: within moments, or as soon as no reader has an older snapshot open.
    /// <c>secure_delete</c> makes SQLite write zeros over what a statement frees in the file itself.
    /// </summary>
    public Task SettleAsync(CancellationToken cancellationToken)
    {
        _writer.Checkpoints.Truncate();
        return Task.CompletedTask;
    }

    /// <summary>Ends when the log is empty after the newest <see cref="SettleAsync"/>.</summary>
    internal Task Settled => _writer.Checkpoints.Truncated;
}
