using Dapper;
using Hangfire;
using Hangfire.States;
using ImageQueue.Core.Storage.SqlServer;

namespace ImageQueue.Core.Queue;

/// <summary>
/// The queue's rows in Hangfire's tables on SQL Server. Hangfire's monitoring API numbers the queue anew for every page, and fails
/// above about 2,100 jobs a page (Hangfire #1252); it serves only where the schema is of an unknown release.
/// </summary>
internal sealed partial class SqlServerQueueRows(
    SqlServerConnections connections, TimeSpan invisibility, JobStorage storage, ILogger logger) : IQueueRows
{
    /// <summary>The Hangfire schemas whose tables and columns have the meaning that the statements expect.</summary>
    private const int OldestKnown = 6;
    private const int NewestKnown = 9;

    private const int MonitoringPage = 1000;

    private bool? _isKnown;

    /// <summary>Whether the rows' users are read.</summary>
    public bool WithUsers { get; init; }

    public Task<QueuePage> ReadAsync(long after, long upTo, int count, CancellationToken cancellationToken) => connections.RunAsync(
        async connection =>
        {
            if (_isKnown is null)
            {
                var version = await connection.ExecuteScalarAsync<int?>(
                    new CommandDefinition(ReadVersion, cancellationToken: cancellationToken));
                _isKnown = version is >= OldestKnown and <= NewestKnown;
                if (!_isKnown.Value)
                {
                    logger.LogWarning(
                        "Hangfire's schema {Version} is unknown; the queue's order is read page by page, which is slower.", version);
                }
            }

            if (!_isKnown.Value)
                return ReadByMonitoring();

            // One trip: the rest of the round, and the rounds behind it.
            var round = Math.Clamp(QueuePlace.RoundOf(after), 0, QueuePlace.LastRound);
            var isRoundOnly = upTo <= QueuePlace.EndOf(round);
            var parameters = new StatementParameters()
                .AddText("@Queue", QueuePlace.QueueOf(round), 50)
                .AddText("@Behind", round == 0 ? BeforeRounds : QueuePlace.QueueOf(round), 50)
                .AddText("@Last", QueuePlace.QueueOf(QueuePlace.LastRound), 50)
                .AddText("@User", ImageJobs.UserParameter, 40)
                .Add("@Invisible", -(int)invisibility.TotalSeconds)
                .Add("@After", after < QueuePlace.Of(0, 0) ? 0 : QueuePlace.NumberOf(after))
                .Add("@Count", count);
            await using var results = await connection.QueryMultipleAsync(
                new CommandDefinition(
                    $"{From(WithUsers)}{ReadRound}{(isRoundOnly ? "" : $"\n{From(WithUsers)}{ReadBehind}")}", parameters,
                    cancellationToken: cancellationToken));
            var rows = (await results.ReadAsync<(string Queue, long Id, long JobId, string? User)>()).ToList();
            if (!isRoundOnly)
                rows.AddRange(await results.ReadAsync<(string Queue, long Id, long JobId, string? User)>());
            List<QueueRow> page =
            [
                .. rows.Take(count).Select(row => new QueueRow(
                    QueuePlace.Of(QueuePlace.RoundOf(row.Queue), row.Id), JobKey.Of(row.JobId), ImageJobs.ReadUser(row.User))),
            ];
            return rows.Count < count ? new QueuePage(page, upTo, IsLast: true) : new QueuePage(page, page[^1].Place, IsLast: false);
        },
        cancellationToken);

    public bool TryGiveBack(string hangfireJobId) =>
        long.TryParse(hangfireJobId, NumberStyles.None, CultureInfo.InvariantCulture, out var job)
        && connections.RunAsync(
            connection => connection.ExecuteScalarAsync<int>(new CommandDefinition(
                GiveBack,
                new StatementParameters()
                    .AddText("@Front", ImageJobs.FrontQueueName, 50)
                    .AddText("@First", ImageJobs.QueueName, 50)
                    .AddText("@Last", QueuePlace.QueueOf(QueuePlace.LastRound), 50)
                    .Add("@JobId", job))),
            CancellationToken.None).GetAwaiter().GetResult() > 0;

    public async Task<bool> TryMoveToFrontAsync(string hangfireJobId, long place, CancellationToken cancellationToken) =>
        _isKnown == true // Else a place is no row's number.
        && long.TryParse(hangfireJobId, NumberStyles.None, CultureInfo.InvariantCulture, out var job)
        && await connections.RunAsync(
            connection => connection.ExecuteScalarAsync<int>(new CommandDefinition(
                MoveToFront,
                new StatementParameters()
                    .AddText("@From", QueuePlace.QueueOf(QueuePlace.RoundOf(place)), 50)
                    .AddText("@Front", ImageJobs.FrontQueueName, 50)
                    .Add("@Id", QueuePlace.NumberOf(place))
                    .Add("@JobId", job),
                cancellationToken: cancellationToken)),
            cancellationToken) == 1;

    public async Task<IReadOnlyList<(Guid Job, long Place)>> MoveAsync(IReadOnlyList<QueueMove> moves, CancellationToken cancellationToken)
    {
        if (_isKnown != true || moves.Count == 0)
            return [];
        var json = JsonSerializer.Serialize(moves.Select((move, index) => new
        {
            i = index,
            q = QueuePlace.QueueOf(QueuePlace.RoundOf(move.Place)),
            id = QueuePlace.NumberOf(move.Place),
            j = JobKey.Format(move.Job),
            to = QueuePlace.QueueOf(move.Round),
        }));
        return await connections.RunAsync<IReadOnlyList<(Guid, long)>>(
            async connection =>
            {
                var moved = await connection.QueryAsync<(long JobId, string Queue, long Id)>(
                    new CommandDefinition(Move, new StatementParameters().AddText("@Moves", json), cancellationToken: cancellationToken));
                return [.. moved.Select(row => (JobKey.Of(row.JobId), QueuePlace.Of(QueuePlace.RoundOf(row.Queue), row.Id)))];
            },
            cancellationToken);
    }

    /// <summary>The whole queue, numbered by its order.</summary>
    private QueuePage ReadByMonitoring()
    {
        var (rows, monitoring) = (new List<QueueRow>(), storage.GetMonitoringApi());
        foreach (var queue in ImageJobs.QueuesOf(QueueOrder.FairShare, areVolatile: false))
        {
            for (var (from, read) = (0, MonitoringPage); read == MonitoringPage; from += MonitoringPage)
            {
                var page = monitoring.EnqueuedJobs(queue, from, MonitoringPage);
                read = page.Count;
                foreach (var (id, job) in page)
                {
                    if (job?.State is { } state
                        && (state == EnqueuedState.StateName || state == ScheduledState.StateName || state == ProcessingState.StateName))
                    {
                        rows.Add(new QueueRow(QueuePlace.Of(1, rows.Count + 1), JobKey.Parse(id), null));
                    }
                }
            }
        }

        return new QueuePage(rows, long.MaxValue, IsLast: true);
    }
}
