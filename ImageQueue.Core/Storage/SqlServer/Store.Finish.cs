namespace ImageQueue.Core.Storage.SqlServer;

internal sealed partial class SqlServerMessageStore
{
    public Task<Transition> CompleteAsync(
        long id, int attempt, string content, string imageUrl, string? thumbnailUrl, ImageResult result,
        CancellationToken cancellationToken) =>
        TransitionAsync(
            "complete", id, Finished(RequestEventKinds.Complete), MessagePatches.Complete(imageUrl, thumbnailUrl, result), content, IsMine,
            Why(null).Add("@Attempt", attempt), cancellationToken,
            sample: SampleNote.Complete(result));

    public Task<Transition> FailAsync(long id, int attempt, string content, RequestFailure failure, CancellationToken cancellationToken) =>
        TransitionAsync(
            "fail", id, Finished(RequestEventKinds.Error), MessagePatches.Fail(failure), content, IsMine,
            Why(failure.ToEvent()).Add("@Attempt", attempt), cancellationToken,
            sample: SampleNote.Error(failure));

    public Task<Transition> FailQueuedAsync(long id, string content, RequestFailure failure, CancellationToken cancellationToken) =>
        TransitionAsync(
            "fail", id, Finished(RequestEventKinds.Error), MessagePatches.Fail(failure), content, IsQueued,
            Why(failure.ToEvent()), cancellationToken,
            sample: SampleNote.Error(failure));

    public Task<Transition> CancelAsync(long id, string content, CancellationToken cancellationToken) =>
        TransitionAsync(
            "cancel",
            id,
            Finished(RequestEventKinds.Cancelled),
            MessagePatches.Cancel,
            content,
            IsUnfinished,
            Why(null),
            cancellationToken,
            sample: SampleNote.Cancelled);

    public Task<Transition> CancelByHangfireJobAsync(string hangfireJobId, string content, CancellationToken cancellationToken) =>
        TransitionAsync(
            "cancel", NewestOfJob,
            Finished(RequestEventKinds.Cancelled),
            MessagePatches.Cancel,
            content,
            IsUnfinished,
            Why(null).AddText("@HangfireJobId", hangfireJobId, HangfireJobIdSize),
            cancellationToken,
            sample: SampleNote.Cancelled);

    public Task<Transition> NoteAsync(long id, string what, CancellationToken cancellationToken) =>
        TransitionAsync(
            operation: null, id, Note(what), patch: null, content: null, "queued_at IS NOT NULL AND deleted_at IS NULL", Why(null),
            cancellationToken);

    private static string Finished(string what) => $"finished_at = SYSUTCDATETIME(), {Note(what)}";

    // Hangfire's ids begin at 1 again when its schema is reinstalled, beside rows with the same ids.
    private const string NewestOfJob =
        """
        hangfire_job_id = @HangfireJobId AND id = (
            SELECT TOP (1) id FROM dbo.messages WHERE hangfire_job_id = @HangfireJobId AND hangfire_job_id IS NOT NULL ORDER BY id DESC)
        """;

    public Task<Transition> RequeueAsync(
        long id, int staleAttempt, AttemptCharge charge, CancellationToken cancellationToken, string? why = null, bool isAtTail = false) =>
        TransitionAsync(
            "requeue", id,
            $"heartbeat_at = NULL, {(isAtTail ? "queued_at = SYSUTCDATETIME(), " : "")}{Charged(charge)}{Note(RequestEventKinds.Requeued)}",
            MessagePatches.Requeue,
            content: null,
            IsMine,
            Why(why).Add("@Attempt", staleAttempt),
            cancellationToken);

    private static string Charged(AttemptCharge charge) => charge switch
    {
        AttemptCharge.Failure => "failures = failures + 1, ",
        AttemptCharge.Disruption => "disruptions = disruptions + 1, ",
        _ => "",
    };
}
