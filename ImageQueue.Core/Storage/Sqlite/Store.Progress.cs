using Dapper;

namespace ImageQueue.Core.Storage.Sqlite;

internal sealed partial class SqliteMessageStore
{
    public Task<Transition> ClaimAsync(
        long id, string hangfireJobId, string? backend, string? lease, CancellationToken cancellationToken) =>
        TransitionAsync(
            "claim", Claim,
            new Change(id, Now(), MessagePatches.Claim.Json)
            {
                HangfireJobId = hangfireJobId,
                Backend = backend,
                Silent = Write(_time.GetUtcNow() - Heartbeat.SuspectAfter),
                Sample = SampleNote.Claimed,
            },
            cancellationToken,
            lease is null ? null : (connection, claimed) => connection.Execute(
                "UPDATE leases SET note = @note WHERE name = @lease", new { lease, note = $"{claimed.JobId}-{claimed.Attempt}" }));

    private static readonly string Claim =
        $"""
        UPDATE messages SET hangfire_job_id = @HangfireJobId, backend = @Backend, attempt = attempt + 1, heartbeat_at = @Now,
            {Note(RequestEventKinds.Claimed, "(attempt + 1)", "@Backend")}, {Merge}
        WHERE id = @Id AND queued_at IS NOT NULL
            AND (status = 'queued' OR (status = 'processing' AND hangfire_job_id = @HangfireJobId AND ifnull(heartbeat_at, '') <= @Silent))
        RETURNING {Columns}
        """;

    public Task<Transition> SaveProgressAsync(long id, int attempt, int progress, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(progress, 0);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(progress, 99); // Only completion writes 100.
        return TransitionAsync(
            "progress", // Any other stored value counts as 0: a refusal would tell the worker that it has lost its row.
            $"""
            UPDATE messages SET heartbeat_at = @Now, {Merge}
            WHERE id = @Id AND queued_at IS NOT NULL AND status = 'processing' AND attempt = @Attempt
                AND CAST(ifnull(extra_metadata ->> '$.progress', 0) AS INTEGER) <= @Progress
            RETURNING {Columns}
            """,
            new Change(id, Now(), MessagePatches.SaveProgress(progress).Json) { Attempt = attempt, Progress = progress },
            cancellationToken);
    }

    public Task<Transition> SavePreviewAsync(long id, int attempt, string previewUrl, CancellationToken cancellationToken) =>
        TransitionAsync(
            "preview",
            $"""
            UPDATE messages SET heartbeat_at = @Now, {Merge}
            WHERE id = @Id AND queued_at IS NOT NULL AND status = 'processing' AND attempt = @Attempt
            RETURNING {Columns}
            """,
            new Change(id, Now(), MessagePatches.SavePreview(previewUrl).Json) { Attempt = attempt },
            cancellationToken);
}
