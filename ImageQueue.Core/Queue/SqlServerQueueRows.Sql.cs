using ImageQueue.Core.Storage.SqlServer;

namespace ImageQueue.Core.Queue;

/// <summary>The statements; Hangfire has no others for these tables that keep an order.</summary>
internal sealed partial class SqlServerQueueRows
{
    /// <summary>Sorts before the first round's queue.</summary>
    private const string BeforeRounds = "image";

    private const string ReadVersion = $"SELECT MAX([Version]) FROM [{SchemaScripts.HangfireSchema}].[Schema];";

    // The clustered key (Queue, Id) is the order in which Hangfire fetches. A requeued job has two rows and counts by its first
    // (#2380); a deleted one keeps its row until it is dequeued, and is known by its state (#2407). Rows that are locked are being
    // dequeued or not yet committed: neither waits, so they are skipped as Hangfire's own fetch does. A job that is processing
    // waits only where its worker is dead; else a free row of it is the second one of a job that runs.
    private static string From(bool withUsers) =>
        $"""
        SELECT TOP (@Count) waiting.[Queue], waiting.Id, waiting.JobId, {(withUsers ? "owner.[Value]" : "CAST(NULL AS nvarchar(100))")}
        FROM [{SchemaScripts.HangfireSchema}].[JobQueue] AS waiting WITH (READPAST, READCOMMITTEDLOCK, FORCESEEK)
        JOIN [{SchemaScripts.HangfireSchema}].[Job] AS job ON job.Id = waiting.JobId
        {(withUsers ? JoinUser : "")}
        """;

    private const string JoinUser =
        $"""
        LEFT JOIN [{SchemaScripts.HangfireSchema}].[JobParameter] AS owner
            ON owner.JobId = waiting.JobId AND owner.[Name] = @User
        """;

    private const string Waits =
        """
        AND ((waiting.FetchedAt IS NULL AND job.StateName IN (N'Enqueued', N'Scheduled'))
            OR (waiting.FetchedAt < DATEADD(second, @Invisible, GETUTCDATE())
                AND job.StateName IN (N'Enqueued', N'Scheduled', N'Processing')))
        """;

    private const string ReadRound =
        $"""

        WHERE waiting.[Queue] = @Queue AND waiting.Id > @After
            {Waits}
        ORDER BY waiting.Id;
        """;

    private const string ReadBehind =
        $"""

        WHERE waiting.[Queue] > @Behind AND waiting.[Queue] <= @Last
            {Waits}
        ORDER BY waiting.[Queue], waiting.Id;
        """;

    // What a dead worker has dequeued is near the head: the clustered key is read from there. Its worker, should it live after all,
    // finds FetchedAt changed, and neither removes the row nor keeps it (SqlServerTimeoutJob).
    private const string GiveBack =
        $"""
        UPDATE [{SchemaScripts.HangfireSchema}].[JobQueue] SET FetchedAt = NULL
        WHERE ([Queue] = @Front OR ([Queue] >= @First AND [Queue] <= @Last)) AND JobId = @JobId AND FetchedAt IS NOT NULL;
        SELECT COUNT(*) FROM [{SchemaScripts.HangfireSchema}].[JobQueue]
        WHERE ([Queue] = @Front OR ([Queue] >= @First AND [Queue] <= @Last)) AND JobId = @JobId;
        """;

    // The waiting row goes, and a new one comes before all others, in one transaction: a fetch sees the one or the other. A row that
    // is dequeued, or being dequeued, stays. Numbers only rise, so those moved before get new numbers behind the new one, in their
    // order; one that a worker has keeps its own, and is first again when it is given back.
    private const string MoveToFront =
        $"""
        SET XACT_ABORT ON;
        DECLARE @Moved int, @Row bigint;
        DECLARE @Behind TABLE (Id bigint NOT NULL PRIMARY KEY, JobId bigint NOT NULL);
        BEGIN TRANSACTION;
        DELETE FROM [{SchemaScripts.HangfireSchema}].[JobQueue] WITH (ROWLOCK, READPAST, READCOMMITTEDLOCK)
        WHERE [Queue] = @From AND Id = @Id AND JobId = @JobId AND FetchedAt IS NULL;
        SET @Moved = @@ROWCOUNT;
        IF @Moved = 1
        BEGIN
            INSERT INTO [{SchemaScripts.HangfireSchema}].[JobQueue] (JobId, [Queue]) VALUES (@JobId, @Front);
            SET @Row = SCOPE_IDENTITY();
            DELETE FROM [{SchemaScripts.HangfireSchema}].[JobQueue] WITH (ROWLOCK, READPAST, READCOMMITTEDLOCK)
            OUTPUT deleted.Id, deleted.JobId INTO @Behind (Id, JobId)
            WHERE [Queue] = @Front AND Id < @Row AND FetchedAt IS NULL;
            INSERT INTO [{SchemaScripts.HangfireSchema}].[JobQueue] (JobId, [Queue])
            SELECT JobId, @Front FROM @Behind ORDER BY Id;
        END
        COMMIT TRANSACTION;
        SELECT @Moved;
        """;

    // Each row is found by its number, job and state: one that was dequeued or moved meanwhile stays where it is.
    private const string Move =
        $"""
        SET XACT_ABORT ON;
        DECLARE @Those TABLE ([Order] int NOT NULL PRIMARY KEY, [From] nvarchar(50) NOT NULL, Id bigint NOT NULL, JobId bigint NOT NULL,
            [To] nvarchar(50) NOT NULL);
        DECLARE @Taken TABLE ([Order] int NOT NULL PRIMARY KEY, JobId bigint NOT NULL, [To] nvarchar(50) NOT NULL);
        INSERT INTO @Those ([Order], [From], Id, JobId, [To])
        SELECT i, q, id, j, [to] FROM OPENJSON(@Moves)
        WITH (i int '$.i', q nvarchar(50) '$.q', id bigint '$.id', j bigint '$.j', [to] nvarchar(50) '$.to');
        BEGIN TRANSACTION;
        DELETE waiting
        OUTPUT those.[Order], those.JobId, those.[To] INTO @Taken ([Order], JobId, [To])
        FROM @Those AS those
        JOIN [{SchemaScripts.HangfireSchema}].[JobQueue] AS waiting WITH (ROWLOCK, READPAST, READCOMMITTEDLOCK)
            ON waiting.[Queue] = those.[From] AND waiting.Id = those.Id AND waiting.JobId = those.JobId
        WHERE waiting.FetchedAt IS NULL;
        INSERT INTO [{SchemaScripts.HangfireSchema}].[JobQueue] (JobId, [Queue])
        OUTPUT inserted.JobId, inserted.[Queue], inserted.Id
        SELECT JobId, [To] FROM @Taken ORDER BY [Order];
        COMMIT TRANSACTION;
        """;
}
