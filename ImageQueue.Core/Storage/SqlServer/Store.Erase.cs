namespace ImageQueue.Core.Storage.SqlServer;

internal sealed partial class SqlServerMessageStore
{
    public Task<Transition> EraseAsync(long id, CancellationToken cancellationToken) =>
        TransitionAsync(
            new(null, id, $"{Erased} ", "deleted_at IS NULL", Why(null))
            { Content = "", Before = [ForgetTitle, Release("deleted_at IS NULL AND queued_at IS NOT NULL")] },
            cancellationToken);

    /// <summary>The tombstone says that the message was deleted and, for an image, its job_id, which names no file any more.</summary>
    private static readonly string Erased =
        $$"""
        extra_metadata = CASE WHEN queued_at IS NULL THEN N'{"status":"deleted"}'
                ELSE JSON_MODIFY(N'{"status":"deleted","progress":0,"queue_position":0}', N'$."job_id"', job_id) END,
            username = N'', hangfire_job_id = NULL, idempotency_key = NULL, request_hash = NULL, backend = NULL, heartbeat_at = NULL,
            finished_at = NULL, work = NULL, events = {{Line(RequestEventKinds.Erased)}}, failures = 0, disruptions = 0,
            deleted_at = SYSUTCDATETIME(),
        """;

    /// <summary>A conversation's title is the beginning of its first message.</summary>
    private const string ForgetTitle =
        """
        UPDATE dbo.conversations
        SET title = NULL
        WHERE id = (SELECT erased.conversation_id FROM dbo.messages AS erased WHERE erased.id = @Id)
            AND NOT EXISTS (SELECT 1 FROM dbo.messages AS earlier WHERE earlier.conversation_id = conversations.id AND earlier.id < @Id);
        """;

    public async Task<bool> CloseConversationAsync(string conversationId, CancellationToken cancellationToken) =>
        await ExecuteAsync(
            "UPDATE dbo.conversations SET username = N'', title = NULL WHERE id = @ConversationId AND username <> N'';",
            new StatementParameters().AddName("@ConversationId", conversationId), cancellationToken) > 0;

    public Task<IReadOnlyList<string>> ListClosedConversationsAsync(int limit, CancellationToken cancellationToken) =>
        ManyAsync<string>(
            """
            SELECT TOP (@Limit) id FROM dbo.conversations
            WHERE username = N'' AND EXISTS
                (SELECT 1 FROM dbo.messages AS rest WHERE rest.conversation_id = conversations.id AND rest.deleted_at IS NULL);
            """,
            new StatementParameters().Add("@Limit", limit),
            cancellationToken);

    public Task<int> ForgetErasedAsync(TimeSpan olderThan, int limit, CancellationToken cancellationToken) => ScalarAsync<int>(
        """
        DELETE TOP (@Limit) FROM dbo.messages
        WHERE deleted_at IS NOT NULL AND deleted_at < DATEADD(second, -@Seconds, SYSUTCDATETIME());
        DECLARE @Forgotten int = @@ROWCOUNT;
        DELETE FROM dbo.conversations
        WHERE username = N''
            AND NOT EXISTS (SELECT 1 FROM dbo.messages AS any_message WHERE any_message.conversation_id = conversations.id);
        SELECT @Forgotten;
        """,
        new StatementParameters().Add("@Limit", limit).Add("@Seconds", (int)Math.Min(int.MaxValue, olderThan.TotalSeconds)),
        cancellationToken);
}
