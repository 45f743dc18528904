using System.Text.Json;
using Dapper;
using ImageQueue.Core.Messages;

namespace ImageQueue.Core.Storage.Sqlite;

internal sealed partial class SqliteMessageStore
{
    public async Task<Message> AddAsync(NewMessage message, CancellationToken cancellationToken)
    {
        var now = Now();
        var added = await _writer.RunAsync(
            session =>
            {
                EnsureConversation(session, message.ConversationId, message.Username, message.Content, now);
                return Insert(session, NewRow.Of(message), now);
            },
            cancellationToken);
        _signal.Raise();
        return added;
    }

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
                RefuseTooMany(session, message.Username, message.Work, limits);
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
        _metrics?.Submitted();
        _signal.Raise();
        return submitted;
    }

    private static void EnsureConversation(SqliteSession session, string id, string username, string title, string now)
    {
        // The writer is alone: nobody adds it between the two.
        var owner = session.QuerySingleOrDefault("SELECT username FROM conversations WHERE id = @Id", [("@Id", id)], row => row.GetString(0));
        if (owner is null)
        {
            session.Execute(
                "INSERT INTO conversations (id, username, title, created_at) VALUES (@Id, @Username, @Title, @Now)",
                [("@Id", id), ("@Username", username), ("@Title", ConversationTitle.From(title)), ("@Now", now)]);
            return;
        }

        if (owner.Length == 0)
            throw new ConversationDeletedException(id);
        if (!string.Equals(owner, username, StringComparison.Ordinal))
            throw new ConversationForbiddenException(id);
    }

    private static Message? FindReplay(SqliteSession session, NewImageMessage message)
    {
        var earlier = message.IdempotencyKey is { } key ? FindByKey(session, message.ConversationId, key) : null;
        return earlier is null || message.IsSameRequestAs(earlier) ? earlier : throw new IdempotencyKeyReusedException();
    }

    private static Message? FindByKey(SqliteSession session, string conversationId, string key) => session.QuerySingleOrDefault(
        $"SELECT {Columns} FROM messages WHERE conversation_id = @ConversationId AND idempotency_key = @Key",
        [("@ConversationId", conversationId), ("@Key", key)],
        MessageRow.Read)?.ToMessage();

    private static void RefuseTooMany(SqliteSession session, string username, double work, UserLimits limits)
    {
        if (limits == UserLimits.None)
            return;
        var share = session.QuerySingleOrDefault(
            "SELECT count(*), total(work) FROM messages INDEXED BY ix_messages_user WHERE username = @Username AND status = 'queued' AND queued_at IS NOT NULL",
            [("@Username", username)],
            row => new Share(row.GetInt64(0), row.GetDouble(1)))!; // An aggregate has a row, always.
        if (share.Pending >= limits.MaxPending)
            throw TooManyPendingException.OfUser(limits.MaxPending);
        if (share.Pending > 0 && share.Work + work > limits.MaxWork)
            throw TooManyPendingException.OfWork(limits.MaxWork.Value);
    }

    private static Message Insert(SqliteSession session, NewRow row, string now) => session.QuerySingleOrDefault(
        $"""
        INSERT INTO messages (conversation_id, username, role, content, extra_metadata, created_at, updated_at, queued_at, work, idempotency_key, request_hash, revision)
        VALUES (@ConversationId, @Username, @Role, @Content, @Metadata, @Now, @Now, @QueuedAt, @Work, @IdempotencyKey, @RequestHash, {NextRevision})
        RETURNING {Columns}
        """,
        [
            ("@ConversationId", row.ConversationId), ("@Username", row.Username), ("@Role", row.Role), ("@Content", row.Content), ("@Metadata", row.Metadata?.ToDocument()),
            ("@Now", now), ("@QueuedAt", row.QueuedAt), ("@Work", row.Work), ("@IdempotencyKey", row.IdempotencyKey), ("@RequestHash", row.RequestHash),
        ],
        MessageRow.Read)!.ToMessage(); // What is inserted is returned.

    public Task<Transition> AttachJobAsync(long id, string hangfireJobId, string? replaces, CancellationToken cancellationToken) =>
        TransitionAsync(
            $"""
            UPDATE messages SET hangfire_job_id = @HangfireJobId, {Touch}
            WHERE id = @Id AND queued_at IS NOT NULL AND status = 'queued' AND hangfire_job_id IS @Replaces
            RETURNING {Columns}
            """,
            new Change(id, Now()) { HangfireJobId = hangfireJobId, Replaces = replaces },
            cancellationToken,
            survivesPowerCut: false); // Hangfire's jobs are this process's, and the next start gives each request a new one.

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

    public Task<Transition> RetryAsync(long id, int queuePosition, UserLimits limits, CancellationToken cancellationToken) =>
        TransitionAsync(
            $"""
            UPDATE messages SET queued_at = @Now, heartbeat_at = NULL, hangfire_job_id = NULL, failures = 0, disruptions = 0, {Note(RequestEventKinds.Retried)}, {Merge}
            WHERE id = @Id AND queued_at IS NOT NULL AND status IN ('error', 'cancelled')
            RETURNING {Columns}
            """,
            new Change(id, Now(), MessagePatches.Retry(queuePosition).Json, MessagePatches.PendingContent),
            cancellationToken,
            before: session =>
            {
                // In the writer's transaction, as a submit's: nobody else adds to what this user has waiting.
                if (session.QuerySingleOrDefault(
                    "SELECT ifnull(username, ''), ifnull(work, 0) FROM messages WHERE id = @Id AND queued_at IS NOT NULL AND status IN ('error', 'cancelled')",
                    [("@Id", id)],
                    row => new RetriedRow(row.GetString(0), row.GetDouble(1))) is { } row)
                {
                    RefuseTooMany(session, row.Username, row.Work, limits);
                }
            });

    public Task<Transition> RequeueAsync(long id, int staleAttempt, AttemptCharge charge, CancellationToken cancellationToken, string? why = null) =>
        TransitionAsync(
            $"""
            UPDATE messages SET heartbeat_at = NULL, failures = failures + @Failures, disruptions = disruptions + @Disruptions, {Note(RequestEventKinds.Back)}, {Merge}
            WHERE id = @Id AND queued_at IS NOT NULL AND status = 'processing' AND attempt = @Attempt
            RETURNING {Columns}
            """,
            new Change(id, Now(), MessagePatches.Requeue.Json) { Attempt = staleAttempt, Charge = charge, Why = why },
            cancellationToken);

    public async Task<int> SavePositionsAsync(IReadOnlyList<QueuedPosition> positions, CancellationToken cancellationToken)
    {
        if (positions.Count == 0)
            return 0;
        var rows = JsonSerializer.Serialize(positions, MetadataPatch.StoredJson);
        var now = Now();
        var written = await _writer.RunAsync(
            session => session.Connection.Execute(
                // Each row its own revision: a reader that pages by revision must never find a group cut in two.
                // The unary pluses keep the planner on the ids: by the status, every queued row would look through all of @rows.
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

    /// <summary>A plain message; what makes it an image request, or unique, comes beside.</summary>
    private sealed record NewRow(string ConversationId, string Username, string Role, string Content, MetadataPatch? Metadata)
    {
        public string? QueuedAt { get; init; }

        public double? Work { get; init; }

        public string? IdempotencyKey { get; init; }

        public string? RequestHash { get; init; }

        public static NewRow Of(NewMessage message) => new(message.ConversationId, message.Username, message.Role, message.Content, message.ExtraMetadata);
    }

    private sealed record RetriedRow(string Username, double Work);

    /// <summary>What a user has waiting.</summary>
    private sealed record Share(long Pending, double Work);
}
