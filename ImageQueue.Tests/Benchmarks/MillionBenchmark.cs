using System.Diagnostics;
using System.Globalization;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Requests;
using ImageQueue.Tests.Queue;
using ImageQueue.Tests.Support;
using Microsoft.Data.Sqlite;
using NUnit.Framework;

namespace ImageQueue.Tests.Benchmarks;

/// <summary>
/// A million waiting requests: a position, a pass of the position writer, a start, the memory; and what a shared queue reads.
/// Run: <c>dotnet test -c Release --filter FullyQualifiedName~MillionBenchmark -l "console;verbosity=detailed"</c>.
/// </summary>
[TestFixture]
[Explicit("A benchmark: takes minutes and a gigabyte.")]
[Category("Benchmark")]
[NonParallelizable]
internal sealed class MillionBenchmark
{
    private const int Waiting = 1_000_000;

    /// <summary>SQLite and Hangfire.InMemory, restarted on a file with a million queued rows.</summary>
    [Test]
    public async Task Embedded_RestartsAndAnswers()
    {
        using var folder = new TemporaryFolder();
        Dictionary<string, string?> settings = new() { ["Queue:MaxLength"] = "10000000", ["Queue:MaxPendingPerUser"] = "1000000", ["Queue:MaxWorkPerUser"] = "1000000000" };
        await using (var first = await Bench.CreateAsync(settings: settings, folder: folder))
            await FillAsync(folder, await first.AddRowAsync());

        var before = LiveBytes();
        var started = Stopwatch.GetTimestamp();
        await using var bench = await Bench.CreateAsync(settings: settings, folder: folder);
        bench.Get<QueueRebuilding>().IsUnderWay = true;
        var submitted = await SubmitAsync(bench);
        Print($"start to the first submit {Stopwatch.GetElapsedTime(started).TotalSeconds:0.00} s, told position {submitted.QueuePosition:n0}");
        await bench.Get<QueueRebuild>().RebuildAsync(CancellationToken.None);
        Print($"all of {Waiting:n0} enqueued after {Stopwatch.GetElapsedTime(started).TotalSeconds:0} s; live memory {(LiveBytes() - before) / 1e6:n0} MB");

        var order = bench.Get<IQueueOrder>();
        var jobs = (await order.GetAsync(CancellationToken.None)).InOrder.Where((_, i) => i % 100 == 0).ToList();
        var times = new List<double>();
        var random = new Random(1);
        for (var i = 0; i < 100_000; i++)
        {
            if (i % 100 == 0)
                order.Changed();
            var at = Stopwatch.GetTimestamp();
            var position = (await order.GetAsync(CancellationToken.None)).PositionOf(jobs[random.Next(jobs.Count)]);
            times.Add(Stopwatch.GetElapsedTime(at).TotalMicroseconds);
            Assert.That(position, Is.Positive);
        }

        times.Sort();
        Print($"position: median {times[times.Count / 2]:0.0} us, p99 {times[times.Count * 99 / 100]:0.0} us, one reader in a hundred after a change");

        var writer = bench.Get<PositionWriter>();
        for (var pass = 1; pass <= 4; pass++)
        {
            order.Left((await order.GetAsync(CancellationToken.None)).At(1));
            var at = Stopwatch.GetTimestamp();
            var written = await writer.WriteAsync(CancellationToken.None);
            Print($"position writer's pass {pass}: {written} rows (at most {PositionWriter.MaxRows}), {Stopwatch.GetElapsedTime(at).TotalMilliseconds:0} ms");
            Assert.That(written, Is.LessThanOrEqualTo(PositionWriter.MaxRows));
        }

        var submits = Stopwatch.GetTimestamp();
        for (var i = 0; i < 300; i++)
            await SubmitAsync(bench);
        Print($"submit: {300 / Stopwatch.GetElapsedTime(submits).TotalSeconds:0} a second, one after the other");
    }

    /// <summary>The rows that an instance reads of a shared queue, a second.</summary>
    [Test]
    public async Task Shared_ReadsHeadTailAndAStretch()
    {
        var rows = new FakeQueueRows();
        for (var i = 0; i < Waiting; i++)
            rows.Add();
        var order = new SharedQueueOrder(rows, QueueHost.Clock(), Microsoft.Extensions.Logging.Abstractions.NullLogger<SharedQueueOrder>.Instance);
        await order.ReadNowAsync();
        var (reads, read) = (rows.Reads, rows.RowsRead);
        Print($"a shared queue's start: {reads} reads, {read:n0} rows");
        for (var i = 0; i < 5; i++)
            await order.ReadNowAsync();
        Print($"then a second: {(rows.Reads - reads) / 5.0:0.0} reads, {(rows.RowsRead - read) / 5:n0} rows, while somebody asks");
    }

    /// <summary>By SQL: a million submits would measure those.</summary>
    private static async Task FillAsync(TemporaryFolder folder, Message row)
    {
        await using var connection = new SqliteConnection($"Data Source={Path.Combine(folder.Path, "imagequeue.db")}");
        await connection.OpenAsync();
        await using var command = connection.CreateCommand();
        command.CommandText =
            """
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $count)
            INSERT INTO messages (conversation_id, role, content, extra_metadata, created_at, updated_at, queued_at, username, work, revision)
            SELECT conversation_id, role, content, json_set(extra_metadata, '$.job_id', printf('%032x', i + 1000)), created_at, updated_at,
                   strftime('%Y-%m-%dT%H:%M:%fZ', queued_at, ((i - $count) / 1000.0) || ' seconds'), 'u' || (i % 50000), 21, (SELECT max(revision) FROM messages) + i
            FROM messages, n WHERE id = $id;
            """;
        command.Parameters.AddWithValue("$count", Waiting - 1);
        command.Parameters.AddWithValue("$id", row.Id);
        await command.ExecuteNonQueryAsync();
    }

    private static async Task<Message> SubmitAsync(Bench bench) => (await bench.Get<SubmitImageRequest>().SubmitAsync(
        new ImageRequest { ConversationId = "c", Username = "ayşe", Prompt = "bir gül" }, CancellationToken.None)).Message;

    private static long LiveBytes()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        return GC.GetTotalMemory(forceFullCollection: true);
    }

    private static void Print(FormattableString text) => TestContext.Progress.WriteLine(text.ToString(CultureInfo.InvariantCulture));
}
