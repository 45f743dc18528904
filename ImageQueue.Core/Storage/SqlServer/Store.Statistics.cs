using Dapper;
using ImageQueue.Core.Messages;

namespace ImageQueue.Core.Storage.SqlServer;

internal sealed partial class SqlServerMessageStore
{
    private const int KindSize = 20;
    private const int CodeSize = 100;

    /// <summary>In the transaction of its transition: neither exists without the other.</summary>
    private static string AddSample(SampleNote sample, StatementParameters parameters)
    {
        parameters.AddText("@Code", sample.Code, CodeSize);
        parameters.Add("@Took", sample.Seconds);
        return sample.Kind == StatisticsKinds.Claimed
            ? InsertWait
            : $"{InsertSample}\n    VALUES (SYSUTCDATETIME(), N'{sample.Kind}', @Code, @Took);\n";
    }

    private const string InsertSample = "INSERT INTO dbo.imagequeue_statistics_samples (at, kind, code, seconds)";

    private const string InsertWait =
        $"""
        {InsertSample}
            SELECT SYSUTCDATETIME(), N'{StatisticsKinds.Claimed}', @Code, DATEDIFF_BIG(millisecond, queued_at, SYSUTCDATETIME()) / 1000E0
            FROM dbo.messages
            WHERE id = @Id;

        """;

    public async Task<StatisticsState> ReadStatisticsStateAsync(CancellationToken cancellationToken)
    {
        var (now, oldest, newest) = await connections.RunAsync(
            connection =>
                connection.QuerySingleAsync<(DateTime Now, DateTime? Oldest, DateTime? Newest)>(
                    Command(ReadState, new StatementParameters(), cancellationToken)),
            cancellationToken);
        return new StatisticsState(Utc(now), oldest is { } first ? Utc(first) : null, newest is { } last ? Utc(last) : null);
    }

    // Rows are kept for less than a year; the bound lets the index seek.
    private const string ReadState =
        """
        SELECT SYSUTCDATETIME(),
            (SELECT TOP (1) at FROM dbo.imagequeue_statistics_samples WHERE at > DATEADD(year, -1, SYSUTCDATETIME()) ORDER BY at),
            (SELECT TOP (1) hour FROM dbo.imagequeue_statistics WHERE hour > DATEADD(year, -1, SYSUTCDATETIME()) ORDER BY hour DESC);
        """;

    public async Task<IReadOnlyList<StatisticsSample>> ListSamplesAsync(
        DateTimeOffset from, DateTimeOffset before, CancellationToken cancellationToken)
    {
        var rows = await connections.RunAsync(
            connection => connection.QueryAsync<(DateTime At, string Kind, string? Code, double? Seconds)>(Command(
                """
                SELECT at, kind, code, seconds
                FROM dbo.imagequeue_statistics_samples
                WHERE at >= @FromTime AND at < @BeforeTime
                ORDER BY at;
                """,
                new StatementParameters().Add("@FromTime", Cut(from)).Add("@BeforeTime", Cut(before)),
                cancellationToken)),
            cancellationToken);
        return [.. rows.Select(row => new StatisticsSample(Utc(row.At), row.Kind, row.Code, row.Seconds))];
    }

    public async Task<IReadOnlyList<SampleCount>> CountSamplesAsync(TimeSpan since, CancellationToken cancellationToken)
    {
        var rows = await connections.RunAsync(
            connection => connection.QueryAsync<(string Kind, string? Code, int Count)>(Command(
                """
                SELECT kind, code, COUNT(*)
                FROM dbo.imagequeue_statistics_samples
                WHERE at > DATEADD(second, -@Age, SYSUTCDATETIME())
                GROUP BY kind, code;
                """,
                new StatementParameters().Add("@Age", (int)since.TotalSeconds),
                cancellationToken)),
            cancellationToken);
        return [.. rows.Select(row => new SampleCount(row.Kind, row.Code, row.Count))];
    }

    // One statement a row, since there are a handful. Of two concurrent ones the second gets a key error, is repeated, and finds the
    // first one's row.
    public async Task SaveStatisticsAsync(IReadOnlyList<StatisticsRow> rows, CancellationToken cancellationToken)
    {
        foreach (var row in rows)
        {
            var parameters = new StatementParameters().Add("@Hour", Cut(row.Hour)).AddText(
                "@Kind", row.Kind, KindSize).AddText("@Code", row.Code, CodeSize)
                .Add("@Count", row.Count).Add("@Median", row.Median).Add("@High", row.High);
            await connections.RunAsync(
                connection => connection.ExecuteAsync(Command(SaveRow, parameters, cancellationToken)), cancellationToken);
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

    public async Task<IReadOnlyList<StatisticsRow>> ListStatisticsAsync(TimeSpan since, CancellationToken cancellationToken)
    {
        var rows = await connections.RunAsync(
            connection => connection.QueryAsync<(DateTime Hour, string Kind, string Code, int Count, double? Median, double? High)>(Command(
                """
                SELECT hour, kind, code, count, median, high
                FROM dbo.imagequeue_statistics
                WHERE hour > DATEADD(second, -@Age, SYSUTCDATETIME())
                ORDER BY hour, kind, code;
                """,
                new StatementParameters().Add("@Age", (int)since.TotalSeconds),
                cancellationToken)),
            cancellationToken);
        return [.. rows.Select(row => new StatisticsRow(Utc(row.Hour), row.Kind, row.Code, row.Count, row.Median, row.High))];
    }

    public Task<int> ForgetStatisticsAsync(
        DateTimeOffset samplesBefore, DateTimeOffset hoursBefore, int limit, CancellationToken cancellationToken) => connections.RunAsync(
        connection => connection.ExecuteScalarAsync<int>(Command(
            """
            DELETE TOP (@Limit) FROM dbo.imagequeue_statistics_samples WHERE at < @BeforeTime;
            DECLARE @Samples int = @@ROWCOUNT;
            DELETE TOP (@Limit) FROM dbo.imagequeue_statistics WHERE hour < @BeforeHour;
            SELECT @Samples + @@ROWCOUNT;
            """,
            new StatementParameters().Add("@Limit", limit).Add("@BeforeTime", Cut(samplesBefore)).Add("@BeforeHour", Cut(hoursBefore)),
            cancellationToken)),
        cancellationToken);
}
