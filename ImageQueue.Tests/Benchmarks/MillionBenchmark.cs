using System.Diagnostics;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Recovery;
using ImageQueue.Core.Requests;
using ImageQueue.Tests.Benchmarks.Support;
using ImageQueue.Tests.Queue;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Benchmarks;

/// <summary>
/// A million waiting requests: a position, a pass of the position writer, a start, the memory; and what a shared queue reads.
/// Run: <c>dotnet test -c Release --filter FullyQualifiedName~MillionBenchmark</c>.
/// </summary>
[TestFixtureSource(typeof(BenchmarkStorage), nameof(BenchmarkStorage.Embedded))]
[Explicit("A benchmark: takes minutes and a gigabyte.")]
[Category(Categories.Benchmark)]
[NonParallelizable]
internal sealed class MillionBenchmark(string storageName)
{
    private const int Waiting = 1_000_000;

    /// <summary>SQLite and Hangfire.InMemory, restarted on a file with a million queued rows.</summary>
    [Test]
    public async Task Embedded_RestartsAndAnswers()
    {
        await using var full = await BenchmarkStorage.CreateAsync(storageName);
        await Support.Waiting.FillAsync(full, Waiting);
        await using var none = await BenchmarkStorage.CreateAsync(storageName);
        await using var empty = await OpenAsync(none);
        var before = Rounds.LiveBytes();
        var started = Stopwatch.GetTimestamp();
        await using var bench = await OpenAsync(full);
        bench.Get<QueueRebuildState>().IsUnderWay = true;
        var submitted = await SubmitAsync(bench);
        Add("start to the first submit", "s", Stopwatch.GetElapsedTime(started).TotalSeconds, Bar.AtMost(2, "s"));
        Assert.That(submitted.QueuePosition, Is.EqualTo(Waiting + 1));
        await bench.Get<QueueRebuild>().RebuildAsync(CancellationToken.None);
        Add("start to all enqueued", "s", Stopwatch.GetElapsedTime(started).TotalSeconds);
        Add("live memory", "MB", (Rounds.LiveBytes() - before) / 1e6);

        var order = bench.Get<IQueueOrder>();
        var jobs = (await order.GetAsync(CancellationToken.None)).InOrder.Where((_, i) => i % 100 == 0).ToList();
        var times = new List<double>();
        var random = new Random(1);
        for (var i = 0; i < 100_000; i++)
        {
            if (i % 100 == 0)
                order.Invalidate();
            var at = Stopwatch.GetTimestamp();
            var position = (await order.GetAsync(CancellationToken.None)).PositionOf(jobs[random.Next(jobs.Count)]);
            times.Add(Stopwatch.GetElapsedTime(at).TotalMicroseconds);
            Assert.That(position, Is.Positive);
        }

        Add("position, one reader in a hundred after a change: p99", "us", Rounds.At(times, 0.99));

        var writer = bench.Get<PositionWriter>();
        List<double> rows = [], took = [];
        for (var pass = 1; pass <= 4; pass++)
        {
            order.Remove((await order.GetAsync(CancellationToken.None)).At(1));
            took.Add(await Rounds.MillisecondsAsync(async () => rows.Add(await writer.WriteAsync(CancellationToken.None))));
        }

        Assert.That(rows, Is.All.InRange(1, PositionWriter.MaxRows));
        BenchmarkTable.Add(
            $"{Waiting:n0} waiting, {storageName}: rows of a pass of the position writer",
            "rows",
            rows,
            bar: Bar.AtMost(PositionWriter.MaxRows, "rows"));
        BenchmarkTable.Add($"{Waiting:n0} waiting, {storageName}: a pass of the position writer", "ms", took);

        var submits = await Rounds.ByTurnsAsync(Rounds.Count, () => PaceAsync(bench), () => PaceAsync(empty));
        BenchmarkTable.Add(
            $"submit, {Waiting:n0} waiting, {storageName}",
            "/s",
            submits[0],
            new Baseline("next to none waiting", submits[1]),
            Bar.RatioAtLeast(0.95));
    }

    private static Task<double> PaceAsync(Bench bench) => Rounds.PerSecondAsync(600, 1, _ => SubmitAsync(bench));

    private void Add(string what, string unit, double value, Bar? bar = null) =>
        BenchmarkTable.Add($"{Waiting:n0} waiting, {storageName}: {what}", unit, value, bar: bar);

    /// <summary>The rows that an instance reads of a shared queue, a second.</summary>
    [Test]
    public async Task Shared_ReadsHeadTailAndAStretch()
    {
        var rows = new FakeQueueRows();
        for (var i = 0; i < Waiting; i++)
            rows.Add();
        var order = new SqlServerQueueOrder(
            rows, QueueHost.Clock(), Microsoft.Extensions.Logging.Abstractions.NullLogger<SqlServerQueueOrder>.Instance);
        await order.ReadNowAsync();
        var (reads, read) = (rows.Reads, rows.RowsRead);
        BenchmarkTable.Add($"{Waiting:n0} waiting on a shared queue: statements of a start", "reads", reads);
        BenchmarkTable.Add($"{Waiting:n0} waiting on a shared queue: rows that they read", "rows", read);
        for (var i = 0; i < 5; i++)
            await order.ReadNowAsync();
        BenchmarkTable.Add(
            $"{Waiting:n0} waiting on a shared queue: statements a second while a reader asks", "reads", (rows.Reads - reads) / 5.0);
        BenchmarkTable.Add($"{Waiting:n0} waiting on a shared queue: rows that they read", "rows", (rows.RowsRead - read) / 5.0);
    }

    private static Task<Bench> OpenAsync(BenchmarkStorage storage) => Bench.CreateAsync(
        settings: new(storage.Settings)
        {
            ["Queue:MaxLength"] = "10000000",
            ["Queue:MaxPendingPerUser"] = "1000000",
            ["Queue:MaxWorkPerUser"] = "1000000000",
        });

    private static async Task<Message> SubmitAsync(Bench bench) => (await bench.Get<SubmitImageRequest>().SubmitAsync(
        new ImageRequest { ConversationId = "c", Username = "ayşe", Prompt = "bir gül" }, CancellationToken.None)).Message;
}
