using Dapper;

namespace ImageQueue.Core.Storage.Sqlite;

internal sealed partial class SqliteMessageStore
{
    private const string InsertSample =
        """
        INSERT INTO statistics_samples (at, kind, code, seconds, backend, work)
        SELECT @Now, @Kind, @Code, @Seconds, backend, work FROM messages WHERE id = @Id
        """;

    /// <summary>In the commit of its transition: neither exists without the other.</summary>
    private static void AddSample(SqliteSession session, string now, SampleNote sample, Message message) => session.Execute(
        InsertSample,
        [
            ("@Id", message.Id), ("@Now", now), ("@Kind", sample.Kind), ("@Code", sample.Code),
            ("@Seconds", sample.Kind == StatisticsKinds.Claimed ? (message.UpdatedAt - message.QueuedAt)?.TotalSeconds : sample.Seconds),
        ]);

    public Task<StatisticsState> ReadStatisticsStateAsync(CancellationToken cancellationToken) =>
        ReadAsync(connection => connection.QuerySingle<StatisticsState>(
            """
            SELECT (SELECT min(at) FROM statistics_samples) AS oldest_sample, (SELECT max(hour) FROM statistics) AS newest_hour
            """) with
        { Now = _time.GetUtcNow() });

    public Task<IReadOnlyList<StatisticsSample>> ListSamplesAsync(
        DateTimeOffset from, DateTimeOffset before, CancellationToken cancellationToken) =>
        ManyAsync<StatisticsSample>(
            "SELECT at, kind, code, seconds FROM statistics_samples WHERE at >= @from AND at < @before ORDER BY at",
            new { from = StoredTime.Write(from), before = StoredTime.Write(before) });

    public Task<IReadOnlyList<SampleCount>> CountSamplesAsync(TimeSpan since, CancellationToken cancellationToken) =>
        ManyAsync<SampleCount>(
            "SELECT kind, code, count(*) AS count FROM statistics_samples WHERE at > @after GROUP BY kind, code",
            new { after = Ago(since) });

    public Task<IReadOnlyList<BackendResults>> ListBackendResultsAsync(TimeSpan since, CancellationToken cancellationToken) =>
        ReadAsync<IReadOnlyList<BackendResults>>(connection =>
        {
            var parameters = new { after = Ago(since), hourAgo = Ago(TimeSpan.FromHours(1)) };
            var errors = connection.Query<(string Backend, string Code, int Count)>(ErrorsByBackend, parameters);
            return WithErrors(
                connection.Query<(string Backend, int LastHour, double? Median, double? Pace)>(ImagesByBackend, parameters), errors);
        });

    private const string ErrorsByBackend =
        $"""
        SELECT backend, ifnull(code, ''), count(*) FROM statistics_samples
        WHERE at > @after AND kind = '{StatisticsKinds.Error}' AND backend IS NOT NULL
        GROUP BY backend, code
        """;

    /// <summary>A backend with errors alone has a row too.</summary>
    private const string ImagesByBackend =
        $"""
        WITH results AS (
            SELECT backend, at, seconds, seconds / work AS pace,
                row_number() OVER (PARTITION BY backend, kind ORDER BY seconds) AS by_seconds,
                row_number() OVER (PARTITION BY backend, kind ORDER BY seconds / work) AS by_pace,
                (count(*) OVER (PARTITION BY backend, kind) + 1) / 2 AS middle, kind = '{StatisticsKinds.Complete}' AS is_image
            FROM statistics_samples
            WHERE at > @after AND backend IS NOT NULL
                AND (kind = '{StatisticsKinds.Error}' OR (kind = '{StatisticsKinds.Complete}' AND seconds IS NOT NULL AND work > 0)))
        SELECT backend, sum(is_image AND at > @hourAgo),
            max(CASE WHEN is_image AND by_seconds = middle THEN seconds END), max(CASE WHEN is_image AND by_pace = middle THEN pace END)
        FROM results GROUP BY backend ORDER BY backend
        """;

    public Task SaveStatisticsAsync(IReadOnlyList<StatisticsRow> rows, CancellationToken cancellationToken) => ExecuteAsync(
        """
        INSERT INTO statistics (hour, kind, code, count, median, high) VALUES (@Hour, @Kind, @Code, @Count, @Median, @High)
        ON CONFLICT (hour, kind, code) DO UPDATE SET count = excluded.count, median = excluded.median, high = excluded.high
            WHERE excluded.count >= count
        """,
        rows.Select(row => new { Hour = StoredTime.Write(row.Hour), row.Kind, row.Code, row.Count, row.Median, row.High }),
        cancellationToken);

    public Task<IReadOnlyList<StatisticsRow>> ListStatisticsAsync(TimeSpan since, CancellationToken cancellationToken) =>
        ManyAsync<(DateTimeOffset Hour, string Kind, string Code, int Count, double? Median, double? High), StatisticsRow>(
            "SELECT hour, kind, code, count, median, high FROM statistics WHERE hour > @after ORDER BY hour, kind, code",
            new { after = Ago(since) }, row => new(row.Hour, row.Kind, row.Code, row.Count, row.Median, row.High));

    public Task<int> ForgetStatisticsAsync(
        DateTimeOffset samplesBefore, DateTimeOffset hoursBefore, int limit, CancellationToken cancellationToken) => _writer.RunAsync(
        session => session.Connection.Execute(
                """
                DELETE FROM statistics_samples WHERE rowid IN (
                    SELECT rowid FROM statistics_samples WHERE at < @before ORDER BY at LIMIT @limit)
                """,
                new { before = StoredTime.Write(samplesBefore), limit })
            + session.Connection.Execute(
                """
                DELETE FROM statistics WHERE (hour, kind, code) IN (
                    SELECT hour, kind, code FROM statistics WHERE hour < @before ORDER BY hour LIMIT @limit)
                """,
                new { before = StoredTime.Write(hoursBefore), limit }),
        cancellationToken);
}
