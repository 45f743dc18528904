namespace ImageQueue.Core.Storage.Sqlite;

internal sealed partial class SqliteMessageStore
{
    public async Task<IReadOnlyList<Submitted>> SubmitAsync(
        IReadOnlyList<NewImageMessage> messages, UserLimits limits, CancellationToken cancellationToken)
    {
        var (now, first, by) = (Now(), messages[0], Actor.Current); // The writer's thread has no actor.
        var patches = messages.Select(MessagePatches.Submit).ToList();
        var submitted = await _writer.RunAsync<IReadOnlyList<Submitted>>(
            session =>
            {
                EnsureConversation(session, first.ConversationId, first.Username, first.Prompt, now);
                if (FindReplay(session, first) is { } earlier)
                {
                    return
                    [
                        new Submitted(earlier, IsReplay: true),
                        .. messages.Skip(1).Select(message => FindReplay(session, message)).OfType<Message>()
                            .Select(message => new Submitted(message, IsReplay: true)),
                    ];
                }

                _shares.Add(session, first.Username, first.Work, limits, messages.Count);
                UseUploads(session, first.Source, messages.Count);
                return [.. messages.Zip(patches, (message, patch) => new Submitted(Insert(session, RowOf(message, patch), now), false))];

                NewRow RowOf(NewImageMessage message, MetadataPatch patch) =>
                    new(message.ConversationId, message.Username, MessageRole.Bot, MessagePatches.PendingContent, patch)
                    {
                        QueuedAt = now,
                        Work = message.Work,
                        IdempotencyKey = message.IdempotencyKey,
                        RequestHash = message.RequestHash,
                        By = by,
                    };
            },
            cancellationToken);
        if (submitted[0].IsReplay)
            return submitted;
        foreach (var _ in submitted)
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
