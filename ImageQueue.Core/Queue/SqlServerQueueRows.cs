using System.Globalization;
using Dapper;
using Hangfire;
using Hangfire.States;
using ImageQueue.Core.Messages.SqlServer;
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
            var parameters = new StatementParameters()
                .AddText("@Queue", ImageJobs.QueueName, 50)
                .Add("@Invisible", -(int)invisibility.TotalSeconds)
                .Add("@After", after)
                .Add("@Count", count);
            var rows = (await connection.QueryAsync<(long Id, long JobId)>(new CommandDefinition(ReadPage, parameters, cancellationToken: cancellationToken)))
                .Select(row => (row.Id, JobKey.Of(row.JobId))).ToList();
            return rows.Count < count ? new QueuePage(rows, long.MaxValue, IsLast: true) : new QueuePage(rows, rows[^1].Id, IsLast: false);
        },
        cancellationToken);

    /// <inheritdoc/>
    public bool TryGiveBack(string hangfireJobId) =>
        long.TryParse(hangfireJobId, NumberStyles.None, CultureInfo.InvariantCulture, out var job)
        && connections.RunAsync(
            connection => connection.ExecuteScalarAsync<int>(new CommandDefinition(
                GiveBack, new StatementParameters().AddText("@Queue", ImageJobs.QueueName, 50).Add("@JobId", job))),
            CancellationToken.None).GetAwaiter().GetResult() > 0;

    /// <summary>All of it, numbered by its order.</summary>
    private QueuePage AskHangfire()
    {
        var monitoring = storage.GetMonitoringApi();
        var rows = new List<(long, Guid)>();
        for (var from = 0; ; from += MonitoringPage)
        {
            var page = monitoring.EnqueuedJobs(ImageJobs.QueueName, from, MonitoringPage);
            foreach (var (id, job) in page)
            {
                if (job?.State is { } state && (state == EnqueuedState.StateName || state == ScheduledState.StateName || state == ProcessingState.StateName))
                    rows.Add((rows.Count + 1, JobKey.Parse(id)));
            }

            if (page.Count < MonitoringPage)
                return new QueuePage(rows, long.MaxValue, IsLast: true);
        }
    }

    private const string ReadVersion = $"SELECT MAX([Version]) FROM [{SchemaScripts.HangfireSchema}].[Schema];";

    // The clustered key (Queue, Id) is the order in which Hangfire fetches. A requeued job has two rows and counts by its first
    // (#2380); a deleted one keeps its row until it is dequeued, and is told by its state (#2407). Rows that are locked are
    // being fetched or not yet committed: neither waits, so they are passed over as Hangfire's own fetch does. A job that is
    // processing waits only where its worker is dead; else a free row of it is the second one of a job that runs.
    private const string ReadPage =
        $"""
        SELECT TOP (@Count) waiting.Id, waiting.JobId
        FROM [{SchemaScripts.HangfireSchema}].[JobQueue] AS waiting WITH (READPAST, READCOMMITTEDLOCK, FORCESEEK)
        JOIN [{SchemaScripts.HangfireSchema}].[Job] AS job ON job.Id = waiting.JobId
        WHERE waiting.[Queue] = @Queue AND waiting.Id > @After
            AND ((waiting.FetchedAt IS NULL AND job.StateName IN (N'Enqueued', N'Scheduled'))
                OR (waiting.FetchedAt < DATEADD(second, @Invisible, GETUTCDATE()) AND job.StateName IN (N'Enqueued', N'Scheduled', N'Processing')))
        ORDER BY waiting.Id;
        """;

    // What a dead worker has taken stands near the head: the clustered key is read from there. Its worker, should it live after
    // all, finds FetchedAt changed, and neither removes the row nor keeps it (SqlServerTimeoutJob).
    private const string GiveBack =
        $"""
        UPDATE [{SchemaScripts.HangfireSchema}].[JobQueue] SET FetchedAt = NULL WHERE [Queue] = @Queue AND JobId = @JobId AND FetchedAt IS NOT NULL;
        SELECT COUNT(*) FROM [{SchemaScripts.HangfireSchema}].[JobQueue] WHERE [Queue] = @Queue AND JobId = @JobId;
        """;
}
