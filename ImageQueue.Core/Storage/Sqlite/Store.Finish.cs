namespace ImageQueue.Core.Storage.Sqlite;

internal sealed partial class SqliteMessageStore
{
    public Task<Transition> CompleteAsync(
        long id, int attempt, string content, string imageUrl, string? thumbnailUrl, ImageResult result,
        CancellationToken cancellationToken) =>
        TransitionAsync(
            "complete", CompleteMine,
            new Change(
                id,
                Now(),
                MessagePatches.Complete(imageUrl, thumbnailUrl, result).Json,
                content)
            { Attempt = attempt, Sample = SampleNote.Complete(result) },
            cancellationToken);

    public Task<Transition> FailAsync(long id, int attempt, string content, RequestFailure failure, CancellationToken cancellationToken) =>
        TransitionAsync(
            "fail", FailMine,
            new Change(id, Now(), MessagePatches.Fail(failure).Json, content)
            {
                Attempt = attempt,
                Why = failure.ToEvent(),
                Sample = SampleNote.Error(failure),
            },
            cancellationToken);

    public Task<Transition> FailQueuedAsync(long id, string content, RequestFailure failure, CancellationToken cancellationToken) =>
        TransitionAsync(
            "fail",
            $"""
            UPDATE messages SET finished_at = @Now, {Note(RequestEventKinds.Error)}, {Merge}
            WHERE id = @Id AND queued_at IS NOT NULL AND status = 'queued'
            RETURNING {Columns}
            """,
            new Change(id, Now(), MessagePatches.Fail(failure).Json, content)
            {
                Why = failure.ToEvent(),
                Sample = SampleNote.Error(failure),
            },
            cancellationToken);

    /// <summary>The fence: a worker that lost its request has an older attempt and writes nothing.</summary>
    private static string FinishMine(string what) =>
        $"""
        UPDATE messages SET finished_at = @Now, {Note(what)}, {Merge}
        WHERE id = @Id AND queued_at IS NOT NULL AND status = 'processing' AND attempt = @Attempt
        RETURNING {Columns}
        """;

    private static readonly string CompleteMine = FinishMine(RequestEventKinds.Complete);

    private static readonly string FailMine = FinishMine(RequestEventKinds.Error);

    public Task<Transition> CancelAsync(long id, string content, CancellationToken cancellationToken) =>
        TransitionAsync(
            "cancel",
            $"""
            UPDATE messages SET finished_at = @Now, {Note(RequestEventKinds.Cancelled)}, {Merge}
            WHERE id = @Id AND queued_at IS NOT NULL AND status IN ('queued', 'processing')
            RETURNING {Columns}
            """,
            new Change(id, Now(), MessagePatches.Cancel.Json, content) { Sample = SampleNote.Cancelled },
            cancellationToken);

    public async Task<Transition> CancelByHangfireJobAsync(string hangfireJobId, string content, CancellationToken cancellationToken)
    {
        if (await FindByHangfireJobAsync(hangfireJobId, cancellationToken) is not { } message)
            return new Transition(false, null);
        return await TransitionAsync(
            "cancel",
            $"""
            UPDATE messages SET finished_at = @Now, {Note(RequestEventKinds.Cancelled)}, {Merge}
            WHERE id = @Id AND hangfire_job_id = @HangfireJobId AND queued_at IS NOT NULL AND status IN ('queued', 'processing')
            RETURNING {Columns}
            """,
            new Change(message.Id, Now(), MessagePatches.Cancel.Json, content)
            {
                HangfireJobId = hangfireJobId,
                Sample = SampleNote.Cancelled,
            },
            cancellationToken);
    }

    public Task<Transition> NoteAsync(long id, string what, CancellationToken cancellationToken) =>
        TransitionAsync(
            operation: null,
            $"""
            UPDATE messages SET {Note(what)}, {Touch}
            WHERE id = @Id AND queued_at IS NOT NULL AND deleted_at IS NULL
            RETURNING {Columns}
            """,
            new Change(id, Now()),
            cancellationToken);

    public Task<Transition> RequeueAsync(
        long id, int staleAttempt, AttemptCharge charge, CancellationToken cancellationToken, string? why = null, bool isAtTail = false) =>
        TransitionAsync(
            "requeue",
            $"""
            UPDATE messages SET heartbeat_at = NULL, queued_at = {(isAtTail ? "@Now" : "queued_at")},
                failures = failures + @Failures, disruptions = disruptions + @Disruptions,
                {Note(RequestEventKinds.Requeued)}, {Merge}
            WHERE id = @Id AND queued_at IS NOT NULL AND status = 'processing' AND attempt = @Attempt
            RETURNING {Columns}
            """,
            new Change(id, Now(), MessagePatches.Requeue.Json) { Attempt = staleAttempt, Charge = charge, Why = why },
            cancellationToken,
            before: _ => _shares.Forget());
}
