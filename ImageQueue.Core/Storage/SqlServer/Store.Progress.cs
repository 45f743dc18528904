namespace ImageQueue.Core.Storage.SqlServer;

internal sealed partial class SqlServerMessageStore
{
    private const int BackendSize = 200;

    /// <summary>By the server's clock, which also judges silence, since machines' clocks differ.</summary>
    private const string Beat = "heartbeat_at = SYSUTCDATETIME(), ";

    public Task<Transition> ClaimAsync(
        long id, string hangfireJobId, string? backend, string? lease, CancellationToken cancellationToken) =>
        TransitionAsync(
            "claim", id,
            "hangfire_job_id = @HangfireJobId, backend = @Backend, attempt = attempt + 1, "
                + $"{Note(RequestEventKinds.Claimed, "attempt + 1", "@Backend")}{Beat}",
            MessagePatches.Claim,
            content: null,
            "queued_at IS NOT NULL AND (status = N'queued' OR (status = N'processing' AND hangfire_job_id = @HangfireJobId"
                + " AND (heartbeat_at IS NULL OR heartbeat_at <= DATEADD(millisecond, -@Age, SYSUTCDATETIME()))))",
            (lease is null ? Why(null) : Why(null).AddText("@Lease", lease, LeaseSize))
                .AddText("@HangfireJobId", hangfireJobId, HangfireJobIdSize).AddText("@Backend", backend, BackendSize)
                .Add("@Age", (int)Heartbeat.SuspectAfter.TotalMilliseconds),
            cancellationToken,
            andThen: lease is null ? null : NoteClaim,
            sample: SampleNote.Claimed);

    // The row is locked by this transaction.
    private const string NoteClaim =
        """
        DECLARE @Task nvarchar(100) = (SELECT CONCAT(job_id, N'-', attempt) FROM dbo.messages WHERE id = @Id);
        UPDATE dbo.imagequeue_leases SET note = @Task WHERE name = @Lease;
        """;

    public Task<Transition> SaveProgressAsync(long id, int attempt, int progress, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(progress, 0);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(progress, 99); // Only completion writes 100.
        return TransitionAsync(
            "progress", id,
            Beat,
            MessagePatches.SaveProgress(progress),
            content: null,
            // Any other stored value counts as 0: a refusal would tell the worker that it has lost its row.
            $"{IsMine} AND ISNULL(TRY_CAST(JSON_VALUE(extra_metadata, N'$.\"progress\"') AS int), 0) <= @Progress",
            new StatementParameters().Add("@Attempt", attempt).Add("@Progress", progress),
            cancellationToken);
    }

    public Task<Transition> SavePreviewAsync(long id, int attempt, string previewUrl, CancellationToken cancellationToken) =>
        TransitionAsync(
            "preview", id,
            Beat,
            MessagePatches.SavePreview(previewUrl),
            content: null,
            IsMine,
            new StatementParameters().Add("@Attempt", attempt),
            cancellationToken);
}
