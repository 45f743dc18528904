using Dapper;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Telemetry;

namespace ImageQueue.Core.Storage;

/// <summary>The transitions, and what else differs between the two stores in a few words of SQL alone.</summary>
/// <param name="sql">Those words.</param>
internal abstract class MessageStore(SqlDialect sql, AsyncSignal signal, QueueMetrics? metrics)
{
    static MessageStore()
    {
        SqlMapper.AddTypeHandler(new StoredTime());
        DefaultTypeMap.MatchNamesWithUnderscores = true;
    }

    protected AsyncSignal Signal => signal;

    protected QueueMetrics? Metrics => metrics;

    private string Beat => $"heartbeat_at = {sql.Clock}, ";

    public async Task<Message> UpdateMessageAsync(long id, string? content, MetadataPatch? patch, CancellationToken cancellationToken)
    {
        var guard = patch is null ? "deleted_at IS NULL" : $"deleted_at IS NULL AND {StaysSmall(patch)}";
        var transition = await TransitionAsync(new("update", id, Set: "", guard) { Patch = patch, Content = content }, cancellationToken);
        if (transition is { Applied: false, Message: not null })
            throw new DocumentTooLargeException();
        return transition.Message ?? throw new MessageNotFoundException(id);
    }

    public Task<Transition> AttachJobAsync(long id, string hangfireJobId, string? replaces, CancellationToken cancellationToken)
    {
        (string, object?) job = ("@HangfireJobId", hangfireJobId);
        var (guard, parameters) = replaces is null
            ? ("hangfire_job_id IS NULL", new[] { job })
            : ("hangfire_job_id = @Replaces", [job, ("@Replaces", replaces)]);
        return TransitionAsync(
            // SQLite's jobs are in this process's memory; the next start makes new ones.
            new(null, id, "hangfire_job_id = @HangfireJobId, ", $"{sql.IsQueued} AND {guard}", parameters) { SurvivesPowerCut = false },
            cancellationToken);
    }

    public Task<Transition> ClaimAsync(long id, string hangfireJobId, string? backend, string? lease, CancellationToken cancellationToken)
    {
        var set = "hangfire_job_id = @HangfireJobId, backend = @Backend, attempt = attempt + 1, "
            + $"{Note(RequestEventKinds.Claimed, "attempt + 1", "@Backend")}{Beat}";
        (string, object?)[] parameters =
        [
            .. Why(null), ("@HangfireJobId", hangfireJobId), ("@Backend", backend), ("@Lease", lease),
            ("@Age", (int)Heartbeat.SuspectAfter.TotalMilliseconds),
        ];
        return TransitionAsync(
            new("claim", id, set, sql.IsClaimable, parameters)
            { Patch = MessagePatches.Claim, Sample = SampleNote.Claimed, AndThen = lease is null ? null : sql.NoteClaim },
            cancellationToken);
    }

    public Task<Transition> SaveProgressAsync(long id, int attempt, int progress, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(progress, 0);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(progress, 99); // Only completion writes 100.
        // Any other stored value counts as 0: a refusal would tell the worker that it has lost its row.
        var guard = $"{sql.IsMine} AND {sql.StoredProgress} <= @Progress";
        return TransitionAsync(
            new("progress", id, Beat, guard, ("@Attempt", attempt), ("@Progress", progress))
            { Patch = MessagePatches.SaveProgress(progress) },
            cancellationToken);
    }

    public Task<Transition> SavePreviewAsync(long id, int attempt, string previewUrl, CancellationToken cancellationToken) =>
        TransitionAsync(
            new("preview", id, Beat, sql.IsMine, ("@Attempt", attempt)) { Patch = MessagePatches.SavePreview(previewUrl) },
            cancellationToken);

    public Task<Transition> CompleteAsync(
        long id, int attempt, string content, string imageUrl, string? thumbnailUrl, ImageResult result,
        CancellationToken cancellationToken) =>
        TransitionAsync(
            new("complete", id, Finished(RequestEventKinds.Complete), sql.IsMine, [.. Why(null), ("@Attempt", attempt)])
            { Patch = MessagePatches.Complete(imageUrl, thumbnailUrl, result), Content = content, Sample = SampleNote.Complete(result) },
            cancellationToken);

    public Task<Transition> FailAsync(long id, int attempt, string content, RequestFailure failure, CancellationToken cancellationToken) =>
        FailAsync(id, content, failure, sql.IsMine, [("@Attempt", attempt)], cancellationToken);

    public Task<Transition> FailQueuedAsync(long id, string content, RequestFailure failure, CancellationToken cancellationToken) =>
        FailAsync(id, content, failure, sql.IsQueued, [], cancellationToken);

    public Task<Transition> FailQueuedAsync(
        long id, string? hangfireJobId, string content, RequestFailure failure, CancellationToken cancellationToken) =>
        hangfireJobId is null
            ? FailAsync(id, content, failure, $"{sql.IsQueued} AND hangfire_job_id IS NULL", [], cancellationToken)
            : FailAsync(
                id, content, failure, $"{sql.IsQueued} AND hangfire_job_id = @HangfireJobId", [("@HangfireJobId", hangfireJobId)],
                cancellationToken);

    private Task<Transition> FailAsync(
        long id, string content, RequestFailure failure, string guard, (string, object?)[] parameters,
        CancellationToken cancellationToken) =>
        TransitionAsync(
            new("fail", id, Finished(RequestEventKinds.Error), guard, [.. Why(failure.ToEvent()), .. parameters])
            { Patch = MessagePatches.Fail(failure), Content = content, Sample = SampleNote.Error(failure) },
            cancellationToken);

    public Task<Transition> CancelAsync(long id, string content, CancellationToken cancellationToken) =>
        CancelAsync(id, content, Why(null), cancellationToken);

    public Task<Transition> CancelByHangfireJobAsync(string hangfireJobId, string content, CancellationToken cancellationToken) =>
        CancelAsync(id: null, content, [.. Why(null), ("@HangfireJobId", hangfireJobId)], cancellationToken);

    private Task<Transition> CancelAsync(long? id, string content, (string, object?)[] parameters, CancellationToken cancellationToken) =>
        TransitionAsync(
            new("cancel", id, Finished(RequestEventKinds.Cancelled), sql.IsUnfinished, parameters)
            { Patch = MessagePatches.Cancel, Content = content, Sample = SampleNote.Cancelled },
            cancellationToken);

    public Task<Transition> NoteAsync(long id, string what, CancellationToken cancellationToken) =>
        TransitionAsync(new(null, id, Note(what), "queued_at IS NOT NULL AND deleted_at IS NULL", Why(null)), cancellationToken);

    public Task<Transition> RequeueAsync(
        long id, int staleAttempt, AttemptCharge charge, CancellationToken cancellationToken, string? why = null, bool isAtTail = false)
    {
        var place = isAtTail ? $"queued_at = {sql.Clock}, " : "";
        var charged = charge switch
        {
            AttemptCharge.Failure => "failures = failures + 1, ",
            AttemptCharge.Disruption => "disruptions = disruptions + 1, ",
            _ => "",
        };
        return TransitionAsync(
            new("requeue", id, $"heartbeat_at = NULL, {place}{charged}{Note(RequestEventKinds.Requeued)}", sql.IsMine,
                [.. Why(why), ("@Attempt", staleAttempt)])
            { Patch = MessagePatches.Requeue },
            cancellationToken);
    }

    public Task<Transition> RetryAsync(long id, int queuePosition, UserLimits limits, CancellationToken cancellationToken) =>
        TransitionAsync(
            new("retry", id,
                $"queued_at = {sql.Clock}, finished_at = NULL, heartbeat_at = NULL, hangfire_job_id = NULL, failures = 0, disruptions = 0, "
                    + Note(RequestEventKinds.Retried),
                sql.IsRetryable, Why(null))
            { Patch = MessagePatches.Retry(queuePosition), Content = MessagePatches.PendingContent, Limits = limits },
            cancellationToken);

    protected async Task<Transition> TransitionAsync(Change change, CancellationToken cancellationToken)
    {
        var transition = await WriteAsync(change, cancellationToken);
        if (change.Operation is not null && metrics is not null)
            Record(change.Operation, transition, metrics);
        if (transition.Applied)
            signal.Raise();
        return transition;
    }

    private static void Record(string operation, Transition transition, QueueMetrics metrics)
    {
        metrics.RecordMerge(operation, transition.Applied);
        if (transition is not { Applied: true, Message: { QueuedAt: { } queuedAt } message })
            return;
        var passed = message.UpdatedAt - queuedAt;
        if (operation == "claim")
            metrics.RecordWait(passed);
        else if (operation is "complete" or "fail" or "cancel" && message.Status is { } outcome)
            metrics.RecordFinish(outcome, outcome == MessageStatus.Error ? message.ErrorCode : null, message.Backend, passed);
    }

    /// <summary>Merges, moves updated_at and the revision, and adds the sample, in one transaction.</summary>
    /// <exception cref="TooManyPendingException">The change has limits, and the user's waiting requests have reached them.</exception>
    protected abstract Task<Transition> WriteAsync(Change change, CancellationToken cancellationToken);

    /// <summary>Adds a line to the row's <see cref="RequestEvents"/>. An UPDATE reads every column's old value.</summary>
    protected abstract string Note(string what, string attempt = "attempt", string backend = "backend");

    /// <summary>Whether the merged document is small enough. One that is too large already may still shrink.</summary>
    protected abstract string StaysSmall(MetadataPatch patch);

    /// <summary>The values that a <see cref="Note"/> names.</summary>
    protected static (string Name, object? Value)[] Why(string? why) =>
        [("@Why", RequestEvents.ToStored(why)), ("@Actor", Actor.Current)];

    protected static IReadOnlyList<BackendResults> WithErrors(
        IEnumerable<(string Backend, int LastHour, double? Median, double? Pace)> results,
        IEnumerable<(string Backend, string Code, int Count)> errors)
    {
        var byBackend = errors.ToLookup(row => row.Backend);
        return
        [
            .. results.Select(row => new BackendResults(row.Backend, row.LastHour, row.Median, row.Pace)
            {
                Errors = byBackend[row.Backend].ToDictionary(error => error.Code, error => error.Count, StringComparer.Ordinal),
            }),
        ];
    }

    protected static Submitted Replay(NewImageMessage message, Message earlier) =>
        message.IsSameRequestAs(earlier) ? new(earlier, IsReplay: true) : throw new IdempotencyKeyReusedException();

    private string Finished(string what) => $"finished_at = {sql.Clock}, {Note(what)}";
}

/// <summary>The words in which the stores' SQL differs.</summary>
/// <param name="Clock">The time that also judges ages: SQL Server's own, since machines' clocks differ.</param>
/// <param name="IsMine">The fence: a worker that lost its request has an older attempt and writes nothing.</param>
/// <param name="NoteClaim">Sets the note of <c>@Lease</c>, in the claim's transaction.</param>
internal sealed record SqlDialect(
    string Clock, string IsQueued, string IsMine, string IsUnfinished, string IsRetryable, string IsClaimable, string StoredProgress,
    string NoteClaim);

/// <summary>One guarded UPDATE of one row.</summary>
/// <param name="Operation">Its name in the metrics; null: it is not counted.</param>
/// <param name="Id">Null: the newest row of <c>@HangfireJobId</c>.</param>
/// <param name="Set">Columns beside the patch and the content, each with a comma behind it.</param>
/// <param name="Parameters">Name, with its @, to value.</param>
internal sealed record Change(string? Operation, long? Id, string Set, string Guard, params (string Name, object? Value)[] Parameters)
{
    public MetadataPatch? Patch { get; init; }

    public string? Content { get; init; }

    public SampleNote? Sample { get; init; }

    /// <summary>Checked under the same lock as a submit's.</summary>
    public UserLimits? Limits { get; init; }

    /// <summary>Statements that run before the UPDATE.</summary>
    public IReadOnlyList<string> Before { get; init; } = [];

    /// <summary>A statement that runs after an UPDATE that was not refused.</summary>
    public string? AndThen { get; init; }

    /// <summary>See <c>SqliteWriter.RunAsync</c>.</summary>
    public bool SurvivesPowerCut { get; init; } = true;
}
