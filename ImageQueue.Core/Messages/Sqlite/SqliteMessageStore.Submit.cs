using System.Text.Json;
using Dapper;
using Microsoft.Data.Sqlite;

namespace ImageQueue.Core.Messages.Sqlite;

internal sealed partial class SqliteMessageStore
{
    public async Task<Message> AddAsync(NewMessage message, CancellationToken cancellationToken)
    {
        var now = Now();
        var added = await _writer.RunAsync(
            session =>
            {
                var connection = session.Connection;
                EnsureConversation(connection, message.ConversationId, message.Username, message.Content, now);
                return Insert(connection, new
                {
                    message.ConversationId,
                    message.Username,
                    message.Role,
                    message.Content,
                    Metadata = message.ExtraMetadata?.ToDocument(),
                    Now = now,
                    QueuedAt = (string?)null,
                    Work = (double?)null,
                    IdempotencyKey = (string?)null,
                    RequestHash = (string?)null,
                });
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
                var connection = session.Connection;
                EnsureConversation(connection, message.ConversationId, message.Username, message.Prompt, now);
                if (FindReplay(connection, message) is { } earlier)
                    return new Submitted(earlier, IsReplay: true);
                RefuseTooMany(connection, message.Username, message.Work, limits);
                var added = Insert(connection, new
                {
                    message.ConversationId,
                    message.Username,
                    Role = MessageRole.Bot,
                    Content = MessagePatches.PendingContent,
                    Metadata = patch.ToDocument(),
                    Now = now,
                    QueuedAt = now,
                    message.Work,
                    message.IdempotencyKey,
                    message.RequestHash,
                });
                return new Submitted(added, IsReplay: false);
            },
            cancellationToken);
        if (!submitted.IsReplay)
            _signal.Raise();
        return submitted;
    }

    private static void EnsureConversation(SqliteConnection connection, string id, string username, string title, string now)
    {
        connection.Execute(
            "INSERT INTO conversations (id, username, title, created_at) VALUES (@id, @username, @title, @now) ON CONFLICT DO NOTHING",
            new { id, username, title = ConversationTitle.From(title), now });
        var owner = connection.QuerySingle<string>("SELECT username FROM conversations WHERE id = @id", new { id });
        if (owner.Length == 0)
            throw new ConversationDeletedException(id);
        if (!string.Equals(owner, username, StringComparison.Ordinal))
            throw new ConversationForbiddenException(id);
    }

    private static Message? FindReplay(SqliteConnection connection, NewImageMessage message)
    {
        if (message.IdempotencyKey is null)
            return null;
        var earlier = connection.QuerySingleOrDefault<MessageRow>(
            $"SELECT {Columns} FROM messages WHERE conversation_id = @ConversationId AND idempotency_key = @IdempotencyKey",
            new { message.ConversationId, message.IdempotencyKey })?.ToMessage();
        if (earlier is not null && !message.IsSameRequestAs(earlier))
            throw new IdempotencyKeyReusedException();
        return earlier;
    }

    private static void RefuseTooMany(SqliteConnection connection, string username, double work, UserLimits limits)
    {
        if (limits == UserLimits.None)
            return;
        var (pending, waiting) = connection.QuerySingle<(long Pending, double Work)>(
            "SELECT count(*), total(work) FROM messages INDEXED BY ix_messages_user WHERE username = @username AND status = 'queued' AND queued_at IS NOT NULL",
            new { username });
        if (pending >= limits.MaxPending)
            throw TooManyPendingException.OfUser(limits.MaxPending);
        if (pending > 0 && waiting + work > limits.MaxWork)
            throw TooManyPendingException.OfWork(limits.MaxWork.Value);
    }

    private static Message Insert(SqliteConnection connection, object values) => connection.QuerySingle<MessageRow>(
        $"""
        INSERT INTO messages (conversation_id, username, role, content, extra_metadata, created_at, updated_at, queued_at, work, idempotency_key, request_hash, revision)
        VALUES (@ConversationId, @Username, @Role, @Content, @Metadata, @Now, @Now, @QueuedAt, @Work, @IdempotencyKey, @RequestHash, {NextRevision})
        RETURNING {Columns}
        """,
        values).ToMessage();

    public Task<Transition> AttachJobAsync(long id, string hangfireJobId, string? replaces, CancellationToken cancellationToken) =>
        TransitionAsync(
            $"""
            UPDATE messages SET hangfire_job_id = @HangfireJobId, {Touch}
            WHERE id = @Id AND queued_at IS NOT NULL AND status = 'queued' AND hangfire_job_id IS @Replaces
            RETURNING {Columns}
            """,
            new Change(id, Now()) { HangfireJobId = hangfireJobId, Replaces = replaces },
            cancellationToken);

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
            cancellationToken);
        if (refused.Count < jobs.Count)
            _signal.Raise();
        return refused;
    }

    public Task<Transition> RetryAsync(long id, int queuePosition, UserLimits limits, CancellationToken cancellationToken) =>
        TransitionAsync(
            $"""
            UPDATE messages SET queued_at = @Now, heartbeat_at = NULL, hangfire_job_id = NULL, failures = 0, {Note(RequestSteps.Retried)}, {Merge}
            WHERE id = @Id AND queued_at IS NOT NULL AND status IN ('error', 'cancelled')
            RETURNING {Columns}
            """,
            new Change(id, Now(), MessagePatches.Retry(queuePosition).Json, MessagePatches.PendingContent),
            cancellationToken,
            before: connection =>
            {
                // In the writer's transaction, as a submit's: nobody else adds to what this user has waiting.
                if (connection.QuerySingleOrDefault<RetriedRow>(
                    "SELECT username AS Username, work AS Work FROM messages WHERE id = @id AND queued_at IS NOT NULL AND status IN ('error', 'cancelled')", new { id }) is { } row)
                    RefuseTooMany(connection, row.Username, row.Work, limits);
            });

    public Task<Transition> RequeueAsync(long id, int staleAttempt, bool blamed, CancellationToken cancellationToken, string? why = null) =>
        TransitionAsync(
            $"""
            UPDATE messages SET heartbeat_at = NULL, failures = failures + @Blame, {Note(RequestSteps.Back)}, {Merge}
            WHERE id = @Id AND queued_at IS NOT NULL AND status = 'processing' AND attempt = @Attempt
            RETURNING {Columns}
            """,
            new Change(id, Now(), MessagePatches.Requeue.Json) { Attempt = staleAttempt, Blame = blamed ? 1 : 0, Why = why },
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

    private sealed class RetriedRow
    {
        public string Username { get; init; } = "";

        public double Work { get; init; }
    }
}
