using Dapper;

namespace ImageQueue.Core.Storage.SqlServer;

internal sealed partial class SqlServerMessageStore
{
    private const int KindSize = 20;
    private const int CodeSize = 100;

    /// <summary>In the transaction of its transition: neither exists without the other.</summary>
    /// <param name="row">The condition that finds the message.</param>
    private static string AddSample(SampleNote sample, string row, StatementParameters parameters)
    {
        parameters.AddText("@Code", sample.Code, CodeSize);
        parameters.Add("@Took", sample.Seconds);
        var seconds = sample.Kind == StatisticsKinds.Claimed ? Waited : "@Took";
        return
            $"""
            INSERT INTO dbo.imagequeue_statistics_samples (at, kind, code, seconds, backend, work)
                SELECT SYSUTCDATETIME(), N'{sample.Kind}', @Code, {seconds}, backend, work FROM dbo.messages WHERE {row};

            """;
    }

    private const string Waited = "DATEDIFF_BIG(millisecond, queued_at, SYSUTCDATETIME()) / 1000E0";

    public async Task<StatisticsState> ReadStatisticsStateAsync(CancellationToken cancellationToken)
    {
        var (now, oldest, newest) = await OneAsync<(DateTimeOffset, DateTimeOffset?, DateTimeOffset?)>(
            ReadState, new StatementParameters(), cancellationToken);
        return new StatisticsState(now, oldest, newest);
    }

    // Rows are kept for less than a year; the bound lets the index seek.
    private const string ReadState =
        """
        SELECT SYSUTCDATETIME(),
            (SELECT TOP (1) at FROM dbo.imagequeue_statistics_samples WHERE at > DATEADD(year, -1, SYSUTCDATETIME()) ORDER BY at),
            (SELECT TOP (1) hour FROM dbo.imagequeue_statistics WHERE hour > DATEADD(year, -1, SYSUTCDATETIME()) ORDER BY hour DESC);
        """;

    public Task<IReadOnlyList<StatisticsSample>> ListSamplesAsync(
        DateTimeOffset from, DateTimeOffset before, CancellationToken cancellationToken) =>
        ManyAsync<StatisticsSample>(
            """
            SELECT at, kind, code, seconds
            FROM dbo.imagequeue_statistics_samples
            WHERE at >= @FromTime AND at < @BeforeTime
            ORDER BY at;
            """,
            new StatementParameters().Add("@FromTime", Cut(from)).Add("@BeforeTime", Cut(before)),
            cancellationToken);

    public Task<IReadOnlyList<BackendResults>> ListBackendResultsAsync(TimeSpan since, CancellationToken cancellationToken) =>
        connections.RunAsync(
            async connection =>
            {
                await using var results = await connection.QueryMultipleAsync(Command(
                    ResultsByBackend, new StatementParameters().Add("@Age", (int)since.TotalSeconds), cancellationToken));
                var errors = await results.ReadAsync<(string, string, int)>();
                return WithErrors(await results.ReadAsync<(string, int, double?, double?)>(), errors);
            },
            cancellationToken);

    /// <summary>A backend with errors alone has a row too.</summary>
    private const string ResultsByBackend =
        $"""
        DECLARE @After datetime2(3) = DATEADD(second, -@Age, SYSUTCDATETIME());
        SELECT backend, ISNULL(code, N''), COUNT(*) FROM dbo.imagequeue_statistics_samples
        WHERE at > @After AND kind = N'{StatisticsKinds.Error}' AND backend IS NOT NULL
        GROUP BY backend, code;
        SELECT backend,
            SUM(CASE WHEN kind = N'{StatisticsKinds.Complete}' AND at > DATEADD(hour, -1, SYSUTCDATETIME()) THEN 1 ELSE 0 END),
            MAX(CASE WHEN kind = N'{StatisticsKinds.Complete}' AND by_seconds = middle THEN seconds END),
            MAX(CASE WHEN kind = N'{StatisticsKinds.Complete}' AND by_pace = middle THEN pace END)
        FROM (
            SELECT backend, kind, at, seconds, seconds / work AS pace,
                ROW_NUMBER() OVER (PARTITION BY backend, kind ORDER BY seconds) AS by_seconds,
                ROW_NUMBER() OVER (PARTITION BY backend, kind ORDER BY seconds / work) AS by_pace,
                (COUNT(*) OVER (PARTITION BY backend, kind) + 1) / 2 AS middle
            FROM dbo.imagequeue_statistics_samples
            WHERE at > @After AND backend IS NOT NULL AND (kind = N'{StatisticsKinds.Error}'
                OR (kind = N'{StatisticsKinds.Complete}' AND seconds IS NOT NULL AND work > 0))) AS results
        GROUP BY backend
        ORDER BY backend;
        """;

    public Task<IReadOnlyList<SampleCount>> CountSamplesAsync(TimeSpan since, CancellationToken cancellationToken) =>
        ManyAsync<(string Kind, string? Code, int Count), SampleCount>(
            """
            SELECT kind, code, COUNT(*)
            FROM dbo.imagequeue_statistics_samples
            WHERE at > DATEADD(second, -@Age, SYSUTCDATETIME())
            GROUP BY kind, code;
            """,
            new StatementParameters().Add("@Age", (int)since.TotalSeconds),
            row => new(row.Kind, row.Code, row.Count),
            cancellationToken);

    // One statement a row, since there are a handful. Of two concurrent ones the second gets a key error, is repeated, and finds the
    // first one's row.
    public async Task SaveStatisticsAsync(IReadOnlyList<StatisticsRow> rows, CancellationToken cancellationToken)
    {
        foreach (var row in rows)
        {
            var parameters = new StatementParameters().Add("@Hour", Cut(row.Hour)).AddText("@Kind", row.Kind, KindSize)
                .AddText("@Code", row.Code, CodeSize).Add("@Count", row.Count).Add("@Median", row.Median).Add("@High", row.High);
            await ExecuteAsync(SaveRow, parameters, cancellationToken);
        }
    }

    private const string SaveRow =
        """
        UPDATE dbo.imagequeue_statistics
        SET count = @Count, median = @Median, high = @High
        WHERE hour = @Hour AND kind = @Kind AND code = @Code AND count <= @Count;
        INSERT INTO dbo.imagequeue_statistics (hour, kind, code, count, median, high)
        SELECT @Hour, @Kind, @Code, @Count, @Median, @High
        WHERE NOT EXISTS (SELECT 1 FROM dbo.imagequeue_statistics WHERE hour = @Hour AND kind = @Kind AND code = @Code);
        """;

    public Task<IReadOnlyList<StatisticsRow>> ListStatisticsAsync(TimeSpan since, CancellationToken cancellationToken) =>
        ManyAsync<(DateTimeOffset Hour, string Kind, string Code, int Count, double? Median, double? High), StatisticsRow>(
            """
            SELECT hour, kind, code, count, median, high
            FROM dbo.imagequeue_statistics
            WHERE hour > DATEADD(second, -@Age, SYSUTCDATETIME())
            ORDER BY hour, kind, code;
            """,
            new StatementParameters().Add("@Age", (int)since.TotalSeconds),
            row => new(row.Hour, row.Kind, row.Code, row.Count, row.Median, row.High),
            cancellationToken);

    public Task<int> ForgetStatisticsAsync(
        DateTimeOffset samplesBefore, DateTimeOffset hoursBefore, int limit, CancellationToken cancellationToken) => ScalarAsync<int>(
        """
        DELETE TOP (@Limit) FROM dbo.imagequeue_statistics_samples WHERE at < @BeforeTime;
        DECLARE @Samples int = @@ROWCOUNT;
        DELETE TOP (@Limit) FROM dbo.imagequeue_statistics WHERE hour < @BeforeHour;
        SELECT @Samples + @@ROWCOUNT;
        """,
        new StatementParameters().Add("@Limit", limit).Add("@BeforeTime", Cut(samplesBefore)).Add("@BeforeHour", Cut(hoursBefore)),
        cancellationToken);
}
