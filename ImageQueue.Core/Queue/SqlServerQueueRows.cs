using System.Globalization;
using Dapper;
using Hangfire;
using Hangfire.States;
using ImageQueue.Core.Storage.SqlServer;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Queue;

/// <summary>
/// The queue's rows in Hangfire's tables on SQL Server. Hangfire's monitoring API numbers the queue anew for every page, and
/// fails above about 2,100 jobs a page (Hangfire #1252); it is asked only where the tables are of a release not known here.
/// </summary>
internal sealed class SqlServerQueueRows(SqlServerConnections connections, TimeSpan invisibility, JobStorage storage, ILogger logger) : IQueueRows
{
    /// <summary>The schemas of Hangfire's in which the tables and columns mean what the statements take them for.</summary>
    private const int OldestKnown = 6;
    private const int NewestKnown = 9;

    private const int MonitoringPage = 1000;

    /// <summary>Added to the numbers of rows in front: below 0, and in their order.</summary>
    private const long FrontPlaces = long.MinValue / 2;

    private bool? _isKnown;

    /// <inheritdoc/>
    public Task<QueuePage> ReadAsync(long after, int count, CancellationToken cancellationToken) => connections.RunAsync(
        async connection =>
        {
            if (_isKnown is null)
            {
                var version = await connection.ExecuteScalarAsync<int?>(new CommandDefinition(ReadVersion, cancellationToken: cancellationToken));
                _isKnown = version is >= OldestKnown and <= NewestKnown;
                if (!_isKnown.Value)
                    logger.LogWarning("Hangfire's schema {Version} is not known here; the queue's order is read page by page, which is slower.", version);
            }

            if (!_isKnown.Value)
                return AskHangfire();

            // Those in front are few: what is left of the page is read from the queue itself, in the same trip.
            var isHead = after < 0;
            var parameters = new StatementParameters()
                .AddText("@Queue", ImageJobs.QueueName, 50)
                .AddText("@Front", ImageJobs.FrontQueueName, 50)
                .Add("@Invisible", -(int)invisibility.TotalSeconds)
                .Add("@After", isHead ? 0 : after)
                .Add("@FrontAfter", isHead ? Math.Max(0, after - FrontPlaces) : 0)
                .Add("@Count", count);
            await using var results = await connection.QueryMultipleAsync(
                new CommandDefinition(isHead ? $"{ReadFront}\n{ReadPage}" : ReadPage, parameters, cancellationToken: cancellationToken));
            var rows = isHead ? (await results.ReadAsync<(long Id, long JobId)>()).Select(row => (Place: FrontPlaces + row.Id, JobKey.Of(row.JobId))).ToList() : [];
            rows.AddRange((await results.ReadAsync<(long Id, long JobId)>()).Select(row => (row.Id, JobKey.Of(row.JobId))).Take(count - rows.Count));
            return rows.Count < count ? new QueuePage(rows, long.MaxValue, IsLast: true) : new QueuePage(rows, rows[^1].Place, IsLast: false);
        },
        cancellationToken);

    /// <inheritdoc/>
    public bool TryGiveBack(string hangfireJobId) =>
        long.TryParse(hangfireJobId, NumberStyles.None, CultureInfo.InvariantCulture, out var job)
        && connections.RunAsync(
            connection => connection.ExecuteScalarAsync<int>(new CommandDefinition(
                GiveBack, new StatementParameters().AddText("@Queue", ImageJobs.QueueName, 50).AddText("@Front", ImageJobs.FrontQueueName, 50).Add("@JobId", job))),
            CancellationToken.None).GetAwaiter().GetResult() > 0;

    /// <inheritdoc/>
    public async Task<bool> TryMoveToFrontAsync(string hangfireJobId, long place, CancellationToken cancellationToken) =>
        _isKnown == true // Else a place is no row's number.
        && long.TryParse(hangfireJobId, NumberStyles.None, CultureInfo.InvariantCulture, out var job)
        && await connections.RunAsync(
            connection => connection.ExecuteScalarAsync<int>(new CommandDefinition(
                PrioritizeImageRequest,
                new StatementParameters()
                    .AddText("@From", place < 0 ? ImageJobs.FrontQueueName : ImageJobs.QueueName, 50)
                    .AddText("@Front", ImageJobs.FrontQueueName, 50)
                    .Add("@Id", place < 0 ? place - FrontPlaces : place)
                    .Add("@JobId", job),
                cancellationToken: cancellationToken)),
            cancellationToken) == 1;

    /// <summary>All of it, numbered by its order.</summary>
    private QueuePage AskHangfire()
    {
        var rows = new List<(long, Guid)>();
        foreach (var queue in new[] { ImageJobs.FrontQueueName, ImageJobs.QueueName })
            Ask(queue, rows);
        return new QueuePage(rows, long.MaxValue, IsLast: true);
    }

    private void Ask(string queue, List<(long Place, Guid Job)> rows)
    {
        var monitoring = storage.GetMonitoringApi();
        for (var from = 0; ; from += MonitoringPage)
        {
            var page = monitoring.EnqueuedJobs(queue, from, MonitoringPage);
            foreach (var (id, job) in page)
            {
                if (job?.State is { } state && (state == EnqueuedState.StateName || state == ScheduledState.StateName || state == ProcessingState.StateName))
                    rows.Add((rows.Count + 1, JobKey.Parse(id)));
            }

            if (page.Count < MonitoringPage)
                return;
        }
    }

    private const string ReadVersion = $"SELECT MAX([Version]) FROM [{SchemaScripts.HangfireSchema}].[Schema];";

    // The clustered key (Queue, Id) is the order in which Hangfire fetches. A requeued job has two rows and counts by its first
    // (#2380); a deleted one keeps its row until it is dequeued, and is told by its state (#2407). Rows that are locked are
    // being fetched or not yet committed: neither waits, so they are passed over as Hangfire's own fetch does. A job that is
    // processing waits only where its worker is dead; else a free row of it is the second one of a job that runs.
    private const string ReadPage =
        $"""
        {Read}
        WHERE waiting.[Queue] = @Queue AND waiting.Id > @After
            {Waits}
        """;

    private const string ReadFront =
        $"""
        {Read}
        WHERE waiting.[Queue] = @Front AND waiting.Id > @FrontAfter
            {Waits}
        """;

    private const string Read =
        $"""
        SELECT TOP (@Count) waiting.Id, waiting.JobId
        FROM [{SchemaScripts.HangfireSchema}].[JobQueue] AS waiting WITH (READPAST, READCOMMITTEDLOCK, FORCESEEK)
        JOIN [{SchemaScripts.HangfireSchema}].[Job] AS job ON job.Id = waiting.JobId
        """;

    private const string Waits =
        """
        AND ((waiting.FetchedAt IS NULL AND job.StateName IN (N'Enqueued', N'Scheduled'))
            OR (waiting.FetchedAt < DATEADD(second, @Invisible, GETUTCDATE()) AND job.StateName IN (N'Enqueued', N'Scheduled', N'Processing')))
        ORDER BY waiting.Id;
        """;

    // What a dead worker has taken stands near the head: the clustered key is read from there. Its worker, should it live after
    // all, finds FetchedAt changed, and neither removes the row nor keeps it (SqlServerTimeoutJob).
    private const string GiveBack =
        $"""
        UPDATE [{SchemaScripts.HangfireSchema}].[JobQueue] SET FetchedAt = NULL WHERE [Queue] IN (@Front, @Queue) AND JobId = @JobId AND FetchedAt IS NOT NULL;
        SELECT COUNT(*) FROM [{SchemaScripts.HangfireSchema}].[JobQueue] WHERE [Queue] IN (@Front, @Queue) AND JobId = @JobId;
        """;

    // The row that waits goes, and a new one comes before all others: whoever fetches sees the one or the other, since it is one
    // transaction. A row that is taken, or being taken, is left alone. Numbers only rise, so those that were moved before are put
    // behind the new one by getting new numbers, in their order.
    private const string PrioritizeImageRequest =
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
}
