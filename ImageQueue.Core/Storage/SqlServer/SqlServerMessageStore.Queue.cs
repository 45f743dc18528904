using System.Text.Json;
using Dapper;
using ImageQueue.Core.Messages;

namespace ImageQueue.Core.Storage.SqlServer;

internal sealed partial class SqlServerMessageStore
{
    private const int HangfireJobIdSize = 100;

    /// <summary>
    /// Most rows of one statement: each row looks itself up in the JSON, so that a statement's work grows with the
    /// square of them.
    /// </summary>
    private const int MaxRowsPerStatement = 200;

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

    public async Task<IReadOnlyList<long>> AttachJobsAsync(
        IReadOnlyList<(long Id, string HangfireJobId, string? Replaces)> jobs, CancellationToken cancellationToken)
    {
        if (jobs.Count == 0)
            return [];
        var attached = await connections.RunAsync(
            async connection =>
            {
                var ids = new HashSet<long>();
                await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
                foreach (var rows in jobs.Chunk(MaxRowsPerStatement))
                {
                    var parameters = new StatementParameters()
                        .AddText("@Rows", JsonSerializer.Serialize(rows.Select(job => new { job.Id, job.HangfireJobId, job.Replaces }), MetadataPatch.StoredJson))
                        .Add("@Now", Now());
                    ids.UnionWith(await connection.QueryAsync<long>(new CommandDefinition(AttachJobs, parameters, transaction, cancellationToken: cancellationToken)));
                }

                await transaction.CommitAsync(cancellationToken);
                return ids;
            },
            cancellationToken);
        if (attached.Count > 0)
            signal.Raise();
        return [.. jobs.Select(job => job.Id).Where(id => !attached.Contains(id))];
    }

    private const string AttachJobs =
        $"""
        UPDATE dbo.messages
        SET hangfire_job_id = (SELECT MAX(attached.job) FROM {Attached} WHERE attached.id = messages.id), updated_at = @Now
        OUTPUT inserted.id
        WHERE id IN (SELECT attached.id FROM {Attached}) AND {IsQueued} AND EXISTS (
            SELECT 1 FROM {Attached}
            WHERE attached.id = messages.id AND ISNULL(attached.replaces COLLATE Latin1_General_100_BIN2, N'') = ISNULL(messages.hangfire_job_id, N''));
        """;

    private const string Attached =
        "OPENJSON(@Rows) WITH (id bigint '$.id', job nvarchar(100) '$.hangfire_job_id', replaces nvarchar(100) '$.replaces') AS attached";

    public Task<Transition> RetryAsync(long id, int queuePosition, UserLimits limits, CancellationToken cancellationToken) =>
        TransitionAsync(
            id,
            $"queued_at = SYSUTCDATETIME(), heartbeat_at = NULL, hangfire_job_id = NULL, failures = 0, disruptions = 0, {Note(RequestEventKinds.Retried)}{Owned}",
            MessagePatches.Retry(queuePosition),
            MessagePatches.PendingContent,
            IsRetryable,
            Limits(Why(null), limits),
            cancellationToken,
            before: LockRetry,
            limits: limits);

    private const string IsRetryable = "queued_at IS NOT NULL AND status IN (N'error', N'cancelled')";

    /// <summary>Rows of an earlier release lack what a user's limits are counted by.</summary>
    private const string Owned =
        $"username = ISNULL(username, (SELECT conversations.username FROM dbo.conversations WHERE conversations.id = messages.conversation_id)), work = ISNULL(work, {WorkOfSettings}), ";

    private const string WorkOfSettings =
        """
        ISNULL(TRY_CAST(JSON_VALUE(extra_metadata, N'$."settings"."width"') AS float)
                * TRY_CAST(JSON_VALUE(extra_metadata, N'$."settings"."height"') AS float)
                * TRY_CAST(JSON_VALUE(extra_metadata, N'$."settings"."steps"') AS float) / 1000000, 0)
        """;

    // As a submit's, under the same lock. One that is not to be retried at all is refused for that reason, below.
    private const string LockRetry =
        $"""
        DECLARE @Username nvarchar(100) = (
            SELECT conversations.username FROM dbo.conversations
            WHERE conversations.id = (SELECT retried.conversation_id FROM dbo.messages AS retried WHERE retried.id = @Id));
        {LockUser}
        {CountPending}
        DECLARE @Work float = (SELECT ISNULL(work, {WorkOfSettings}) FROM dbo.messages WHERE id = @Id AND {IsRetryable});
        IF @Work IS NOT NULL AND {IsFull}
        BEGIN
            ROLLBACK TRANSACTION;
            SELECT {FullOutcome} AS Outcome;
        END
        ELSE
        """;

    public Task<Transition> RequeueAsync(long id, int staleAttempt, AttemptCharge charge, CancellationToken cancellationToken, string? why = null) =>
        TransitionAsync(
            id,
            $"heartbeat_at = NULL, {Charged(charge)}{Note(RequestEventKinds.Back)}{Owned}",
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

    public async Task<int> SavePositionsAsync(IReadOnlyList<QueuedPosition> positions, CancellationToken cancellationToken)
    {
        var written = 0;
        foreach (var rows in positions.Chunk(MaxRowsPerStatement))
        {
            var parameters = new StatementParameters().AddText("@Rows", JsonSerializer.Serialize(rows, MetadataPatch.StoredJson)).Add("@Now", Now());
            written += await connections.RunAsync(connection => connection.ExecuteAsync(Command(SavePositions, parameters, cancellationToken)), cancellationToken);
        }

        if (written > 0)
            signal.Raise();
        return written;
    }

    // By the clustered key, so that rows are locked in the order in which a claim locks them: the row first, its indexes then.
    // OPENJSON's columns have the database's collation, which may be any; jobs are compared exactly.
    private const string SavePositions =
        $"""
        UPDATE dbo.messages
        SET extra_metadata = JSON_MODIFY({JsonModify.Document}, N'$."queue_position"', (SELECT MAX(moved.position) FROM {Moved} WHERE moved.id = messages.id)),
            updated_at = @Now
        WHERE id IN (SELECT moved.id FROM {Moved}) AND {IsQueued} AND hangfire_job_id IS NOT NULL AND EXISTS (
            SELECT 1 FROM {Moved}
            WHERE moved.id = messages.id AND moved.job COLLATE Latin1_General_100_BIN2 = messages.hangfire_job_id
                AND moved.position <> ISNULL(TRY_CAST(JSON_VALUE(messages.extra_metadata, N'$."queue_position"') AS int), -1));
        """;

    private const string Moved = "OPENJSON(@Rows) WITH (id bigint '$.id', job nvarchar(100) '$.hangfire_job_id', position int '$.position') AS moved";
}
