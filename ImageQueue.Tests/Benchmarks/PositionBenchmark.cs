using System.Diagnostics;
using Hangfire;
using Hangfire.SqlServer;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Storage.SqlServer;
using ImageQueue.Tests.Benchmarks.Support;
using ImageQueue.Tests.Queue;
using Microsoft.Extensions.Logging.Abstractions;
using NUnit.Framework;

namespace ImageQueue.Tests.Benchmarks;

/// <summary>
/// What it costs to know where a request stands: for the first read (cold), for a read while nothing has changed (warm),
/// and after one change; against looking for it in what Hangfire's monitoring API tells of the queue.
/// Run: <c>dotnet test -c Release --filter FullyQualifiedName~PositionBenchmark</c>.
/// </summary>
[TestFixtureSource(typeof(BenchmarkStorage), nameof(BenchmarkStorage.Names))]
[Explicit("A benchmark: prints microseconds.")]
[Category(Categories.Benchmark)]
[NonParallelizable]
internal sealed class PositionBenchmark(string storageName)
{
    [TestCase(100)]
    [TestCase(10_000)]
    [TestCase(100_000)]
    public async Task Position_AgainstHangfiresMonitoringApi(int waiting)
    {
        await using var storage = await BenchmarkStorage.CreateAsync(storageName);
        var jobs = storage.Hangfire();
        using var host = new QueueHost(jobs, QueueHost.Clock(), Rows(storage, jobs));
        var ids = new List<string>();
        for (var i = 0; i < waiting; i++)
            ids.Add(host.Jobs.Enqueue(i));
        var random = new Random(1);

        async Task<double> PositionAsync()
        {
            var wanted = ids[random.Next(ids.Count)];
            var started = Stopwatch.GetTimestamp();
            var position = (await host.Order.GetAsync(CancellationToken.None)).PositionOf(wanted);
            var microseconds = Stopwatch.GetElapsedTime(started).TotalMicroseconds;
            Assert.That(position, Is.Positive);
            return microseconds;
        }

        var cold = await PositionAsync();
        var (warm, changed) = (new List<double>(), new List<double>());
        for (var i = 0; i < 50_000; i++)
            warm.Add(await PositionAsync());
        for (var i = 0; i < 200; i++)
        {
            ids.Add(host.Jobs.Enqueue(waiting + i));
            changed.Add(await PositionAsync());
        }

        var asked = Enumerable.Range(0, waiting > 10_000 ? 3 : Rounds.Count)
            .Select(_ => Rounds.Milliseconds(() => Find(jobs, ids[random.Next(ids.Count)])) * 1000)
            .ToList();
        var baseline = new Baseline("monitoring API", asked);
        var what = FormattableString.Invariant($"position, {waiting:n0} waiting, {storageName}");
        BenchmarkTable.Add($"{what}: cold", "us", cold, baseline);
        BenchmarkTable.Add(
            $"{what}: warm",
            "us",
            warm.Average(),
            baseline,
            waiting == 100_000 ? new Bar("a 500th", (_, ratio) => ratio <= 1 / 500.0) : null);
        BenchmarkTable.Add(
            $"{what}: after one change",
            "us",
            changed.Average(),
            baseline,
            waiting == 100_000 ? new Bar("a 20th", (_, ratio) => ratio <= 1 / 20.0) : null);
    }

    private static SqlServerQueueRows? Rows(BenchmarkStorage storage, JobStorage jobs) => storage.IsEmbedded
        ? null
        : new SqlServerQueueRows(
            new SqlServerDatabase(storage.Settings["ConnectionStrings:ImageQueue"], applySchema: false, NullLogger.Instance).Connections,
            TimeSpan.FromMinutes(5),
            (SqlServerStorage)jobs,
            NullLogger.Instance);

    /// <summary>
    /// As a page of the dashboard would, page after page until it is found. SQL Server fails above some 2,100 of them a page (Hangfire
    /// #1252).
    /// </summary>
    private void Find(JobStorage jobs, string wanted)
    {
        var monitoring = jobs.GetMonitoringApi();
        var page = storageName == "SQLite" ? 1_000_000 : 1000;
        for (var from = 0; monitoring.EnqueuedJobs(ImageJobs.QueueName, from, page) is { Count: > 0 } found; from += page)
        {
            if (found.Exists(job => job.Key == wanted))
                return;
        }

        Assert.Fail($"{wanted} does not wait.");
    }
}
