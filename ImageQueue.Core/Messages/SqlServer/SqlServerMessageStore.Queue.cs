using System.Text.Json;
using Dapper;

namespace ImageQueue.Core.Messages.SqlServer;

internal sealed partial class SqlServerMessageStore
{
    private const int HangfireJobIdSize = 100;

    /// <summary>
    /// Most rows of one statement: each row looks its position up in the JSON, so that a statement's work grows with the
    /// square of them.
    /// </summary>
    private const int MaxPositionsPerStatement = 200;

    public Task<Transition> AttachJobAsync(long id, string hangfireJobId, string? replaces, CancellationToken cancellationToken) =>
        TransitionAsync(
            id,
            "hangfire_job_id = @HangfireJobId, ",
            patch: null,
            content: null,
            replaces is null ? $"{IsQueued} AND hangfire_job_id IS NULL" : $"{IsQueued} AND hangfire_job_id = @Replaces",
            (replaces is null ? new StatementParameters() : new StatementParameters().AddText("@Replaces", replaces, HangfireJobIdSize))
                .AddText("@HangfireJobId", hangfireJobId, HangfireJobIdSize),
            cancellationToken);

    public Task<Transition> RetryAsync(long id, int queuePosition, UserLimits limits, CancellationToken cancellationToken) =>
        TransitionAsync(
            id,
            "queued_at = @Now, heartbeat_at = NULL, hangfire_job_id = NULL, failures = 0, ",
            MessagePatches.Retry(queuePosition),
            MessagePatches.PendingContent,
            "queued_at IS NOT NULL AND status IN (N'error', N'cancelled')",
            new StatementParameters(),
            cancellationToken);

    public Task<Transition> RequeueAsync(long id, int staleAttempt, bool blamed, CancellationToken cancellationToken) =>
        TransitionAsync(
            id,
            blamed ? "heartbeat_at = NULL, failures = failures + 1, " : "heartbeat_at = NULL, ",
            MessagePatches.Requeue,
            content: null,
            IsMine,
            new StatementParameters().Add("@Attempt", staleAttempt),
            cancellationToken);

    public async Task<int> SavePositionsAsync(IReadOnlyList<QueuedPosition> positions, CancellationToken cancellationToken)
    {
        var written = 0;
        foreach (var rows in positions.Chunk(MaxPositionsPerStatement))
        {
            var parameters = new StatementParameters().AddText("@Rows", JsonSerializer.Serialize(rows, MetadataPatch.StoredJson)).Add("@Now", Now());
            written += await connections.RunAsync(connection => connection.ExecuteAsync(Command(SavePositions, parameters, cancellationToken)), cancellationToken);
        }

        if (written > 0)
            signal.Raise();
        return written;
    }

    // OPENJSON's columns have the database's collation, which may be any; jobs are compared exactly.
    private const string SavePositions =
        $"""
        UPDATE dbo.messages
        SET extra_metadata = JSON_MODIFY(extra_metadata, N'$."queue_position"', (SELECT MAX(moved.position) FROM {Moved} WHERE moved.job COLLATE Latin1_General_100_BIN2 = messages.hangfire_job_id)),
            updated_at = @Now
        WHERE {IsQueued} AND EXISTS (
            SELECT 1 FROM {Moved}
            WHERE moved.job COLLATE Latin1_General_100_BIN2 = messages.hangfire_job_id
                AND moved.position <> ISNULL(TRY_CAST(JSON_VALUE(messages.extra_metadata, N'$."queue_position"') AS int), -1));
        """;

    private const string Moved = "OPENJSON(@Rows) WITH (job nvarchar(100) '$.hangfire_job_id', position int '$.position') AS moved";
}
