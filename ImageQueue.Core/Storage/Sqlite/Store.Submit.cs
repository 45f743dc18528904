using ImageQueue.Core.Messages;

namespace ImageQueue.Core.Storage.Sqlite;

internal sealed partial class SqliteMessageStore
{
    public async Task<Submitted> SubmitAsync(NewImageMessage message, UserLimits limits, CancellationToken cancellationToken)
    {
        var now = Now();
        var patch = MessagePatches.Submit(message);
        var submitted = await _writer.RunAsync(
            session =>
            {
                EnsureConversation(session, message.ConversationId, message.Username, message.Prompt, now);
                if (FindReplay(session, message) is { } earlier)
                    return new Submitted(earlier, IsReplay: true);
                _shares.Add(session, message.Username, message.Work, limits);
                var row = new NewRow(message.ConversationId, message.Username, MessageRole.Bot, MessagePatches.PendingContent, patch)
                {
                    QueuedAt = now,
                    Work = message.Work,
                    IdempotencyKey = message.IdempotencyKey,
                    RequestHash = message.RequestHash,
                };
                return new Submitted(Insert(session, row, now), IsReplay: false);
            },
            cancellationToken);
        if (submitted.IsReplay)
            return submitted;
        _metrics?.RecordSubmit();
        _signal.Raise();
        return submitted;
    }

    private static Message? FindReplay(SqliteSession session, NewImageMessage message)
    {
        var earlier = message.IdempotencyKey is { } key ? FindByKey(session, message.ConversationId, key) : null;
        return earlier is null || message.IsSameRequestAs(earlier) ? earlier : throw new IdempotencyKeyReusedException();
    }

    public Task<Transition> RetryAsync(long id, int queuePosition, UserLimits limits, CancellationToken cancellationToken) =>
        TransitionAsync(
            "retry",
            $"""
            UPDATE messages SET queued_at = @Now, finished_at = NULL, heartbeat_at = NULL, hangfire_job_id = NULL, failures = 0,
                disruptions = 0,
                {Note(RequestEventKinds.Retried)}, {Merge}
            WHERE id = @Id AND queued_at IS NOT NULL AND status IN ('error', 'cancelled')
            RETURNING {Columns}
            """,
            new Change(id, Now(), MessagePatches.Retry(queuePosition).Json, MessagePatches.PendingContent),
            cancellationToken,
            before: session =>
            {
                // In the writer's transaction, as a submit's: no other write adds to this user's share in between.
                if (session.QuerySingleOrDefault(
                    """
                    SELECT username, ifnull(work, 0) FROM messages
                    WHERE id = @Id AND queued_at IS NOT NULL AND status IN ('error', 'cancelled')
                    """,
                    [("@Id", id)],
                    row => new RetriedRow(row.GetString(0), row.GetDouble(1))) is { } row)
                {
                    _shares.Add(session, row.Username, row.Work, limits);
                }
            });

    private sealed record RetriedRow(string Username, double Work);
}
