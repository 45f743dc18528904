using Dapper;
using ImageQueue.Core.Messages;

namespace ImageQueue.Core.Storage.Sqlite;

internal sealed partial class SqliteMessageStore
{
    private const string InsertSample = "INSERT INTO statistics_samples (at, kind, code, seconds) VALUES (@Now, @Kind, @Code, @Seconds)";

    /// <summary>In the commit of its transition: neither exists without the other.</summary>
    private static void AddSample(SqliteSession session, string now, SampleNote sample, Message message) => session.Execute(
        InsertSample,
        [
            ("@Now", now), ("@Kind", sample.Kind), ("@Code", sample.Code),
            ("@Seconds", sample.Kind == StatisticsKinds.Claimed ? (Time(now) - message.QueuedAt)?.TotalSeconds : sample.Seconds),
        ]);

    public Task<StatisticsState> ReadStatisticsStateAsync(CancellationToken cancellationToken) => Task.FromResult(Read(connection =>
    {
        var (oldest, newest) = connection.QuerySingle<(string? Oldest, string? Newest)>(
            "SELECT (SELECT min(at) FROM statistics_samples), (SELECT max(hour) FROM statistics)");
        return new StatisticsState(_time.GetUtcNow(), oldest is null ? null : Time(oldest), newest is null ? null : Time(newest));
    }));

    public Task<IReadOnlyList<StatisticsSample>> ListSamplesAsync(
        DateTimeOffset from, DateTimeOffset before, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<StatisticsSample>>(
            Read(connection => connection.Query<(string At, string Kind, string? Code, double? Seconds)>(
            "SELECT at, kind, code, seconds FROM statistics_samples WHERE at >= @from AND at < @before ORDER BY at",
            new { from = Write(from), before = Write(before) }).Select(row =>
                new StatisticsSample(Time(row.At), row.Kind, row.Code, row.Seconds)).ToList()));

    public Task<IReadOnlyList<SampleCount>> CountSamplesAsync(TimeSpan since, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<SampleCount>>(Read(connection => connection.Query<(string Kind, string? Code, long Count)>(
            "SELECT kind, code, count(*) FROM statistics_samples WHERE at > @after GROUP BY kind, code",
            new { after = Write(_time.GetUtcNow() - since) }).Select(row => new SampleCount(row.Kind, row.Code, (int)row.Count)).ToList()));

    public Task SaveStatisticsAsync(IReadOnlyList<StatisticsRow> rows, CancellationToken cancellationToken) => _writer.RunAsync(
        session => session.Connection.Execute(
            """
            INSERT INTO statistics (hour, kind, code, count, median, high) VALUES (@Hour, @Kind, @Code, @Count, @Median, @High)
            ON CONFLICT (hour, kind, code) DO UPDATE SET count = excluded.count, median = excluded.median, high = excluded.high
                WHERE excluded.count >= count
            """,
            rows.Select(row => new { Hour = Write(row.Hour), row.Kind, row.Code, row.Count, row.Median, row.High })),
        cancellationToken);

    public Task<IReadOnlyList<StatisticsRow>> ListStatisticsAsync(TimeSpan since, CancellationToken cancellationToken) =>
        Task.FromResult<IReadOnlyList<StatisticsRow>>(Read(connection => connection.Query<(
            string Hour, string Kind, string Code, long Count, double? Median, double? High)>(
            "SELECT hour, kind, code, count, median, high FROM statistics WHERE hour > @after ORDER BY hour, kind, code",
            new { after = Write(_time.GetUtcNow() - since) }).Select(row =>
                new StatisticsRow(Time(row.Hour), row.Kind, row.Code, (int)row.Count, row.Median, row.High)).ToList()));

    public Task<int> ForgetStatisticsAsync(
        DateTimeOffset samplesBefore, DateTimeOffset hoursBefore, int limit, CancellationToken cancellationToken) => _writer.RunAsync(
        session => session.Connection.Execute(
                """
                DELETE FROM statistics_samples WHERE rowid IN (
                    SELECT rowid FROM statistics_samples WHERE at < @before ORDER BY at LIMIT @limit)
                """,
                new { before = Write(samplesBefore), limit })
            + session.Connection.Execute(
                """
                DELETE FROM statistics WHERE (hour, kind, code) IN (
                    SELECT hour, kind, code FROM statistics WHERE hour < @before ORDER BY hour LIMIT @limit)
                """,
                new { before = Write(hoursBefore), limit }),
        cancellationToken);
}
