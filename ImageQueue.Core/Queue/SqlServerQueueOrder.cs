using System.Globalization;
using Dapper;
using ImageQueue.Core.Messages.SqlServer;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Queue;

/// <summary>
/// Reads the whole order in one query from Hangfire's tables on SQL Server. Hangfire's monitoring API numbers the queue anew
/// for every page, and fails above about 2,100 jobs a page (Hangfire #1252).
/// </summary>
internal sealed class SqlServerQueueOrder
{
    /// <summary>The schemas of Hangfire's in which the query's tables and columns mean what it takes them for.</summary>
    private const int OldestKnown = 6;
    private const int NewestKnown = 9;

    private readonly SqlServerConnections _connections;
    private readonly TimeSpan _invisibility;
    private readonly ILogger _logger;
    private bool? _isKnown;

    /// <param name="connections">To the database with Hangfire's tables.</param>
    /// <param name="invisibility">Hangfire's SlidingInvisibilityTimeout: a fetched row that was not touched for so long is a dead worker's.</param>
    /// <param name="logger">Told, once, when Hangfire's schema is not known.</param>
    public SqlServerQueueOrder(SqlServerConnections connections, TimeSpan invisibility, ILogger logger)
    {
        _connections = connections;
        _invisibility = invisibility;
        _logger = logger;
    }

    /// <summary>Hangfire ids of the jobs that wait, next to run first, each once.</summary>
    /// <returns>Null when Hangfire's schema is not known here: ask its monitoring API instead.</returns>
    /// <exception cref="Messages.StoreUnavailableException">The server cannot be reached.</exception>
    public Task<IReadOnlyList<string>?> ReadOrderAsync(CancellationToken cancellationToken) => _connections.RunAsync<IReadOnlyList<string>?>(
        async connection =>
        {
            if (_isKnown is null)
            {
                var version = await connection.ExecuteScalarAsync<int?>(new CommandDefinition(ReadVersion, cancellationToken: cancellationToken));
                _isKnown = version is >= OldestKnown and <= NewestKnown;
                if (!_isKnown.Value)
                    _logger.LogWarning("Hangfire's schema {Version} is not known here; the queue's order is read page by page, which is slower.", version);
            }

            if (!_isKnown.Value)
                return null;
            var parameters = new StatementParameters()
                .AddText("@Queue", ImageJobs.QueueName, 50)
                .Add("@Invisible", -(int)_invisibility.TotalSeconds);
            var ids = await connection.QueryAsync<long>(new CommandDefinition(ReadOrder, parameters, cancellationToken: cancellationToken));
            return [.. ids.Select(id => id.ToString(CultureInfo.InvariantCulture))];
        },
        cancellationToken);

    private const string ReadVersion = $"SELECT MAX([Version]) FROM [{SchemaScripts.HangfireSchema}].[Schema];";

    // The clustered key (Queue, Id) is the order in which Hangfire fetches. A requeued job has two rows and counts by its first
    // (#2380); a deleted one keeps its row until it is dequeued, and is told by its state (#2407). Rows that are locked are
    // being fetched or not yet committed: neither waits, so they are passed over as Hangfire's own fetch does.
    private const string ReadOrder =
        $"""
        SELECT waiting.JobId
        FROM [{SchemaScripts.HangfireSchema}].[JobQueue] AS waiting WITH (READPAST, READCOMMITTEDLOCK, FORCESEEK)
        JOIN [{SchemaScripts.HangfireSchema}].[Job] AS job ON job.Id = waiting.JobId
        WHERE waiting.[Queue] = @Queue
            AND (waiting.FetchedAt IS NULL OR waiting.FetchedAt < DATEADD(second, @Invisible, GETUTCDATE()))
            AND job.StateName IN (N'Enqueued', N'Scheduled', N'Processing')
        GROUP BY waiting.JobId
        ORDER BY MIN(waiting.Id);
        """;
}
