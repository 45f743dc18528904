using ImageQueue.Core.Queue;
using ImageQueue.Tests.Benchmarks.Support;
using ImageQueue.Tests.Dashboard;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Benchmarks;

/// <summary>
/// How long each page of the dashboard takes with 10,000 requests waiting and 100,000 kept, beside Hangfire's own page of the queue and an
/// endpoint that does nothing, in the same run.
/// Run: <c>dotnet test -c Release --filter FullyQualifiedName~DashboardBenchmark</c>.
/// </summary>
[TestFixtureSource(typeof(BenchmarkStorage), nameof(BenchmarkStorage.Embedded))]
[Explicit("A benchmark: takes a minute and prints milliseconds.")]
[Category(Categories.Benchmark)]
[NonParallelizable]
internal sealed class DashboardBenchmark(string storageName)
{
    private const int Waiting = 10_000;
    private const int Kept = 100_000;
    private const int Times = 25;

    [Test]
    public async Task EachPage_Answers()
    {
        using var folder = new TemporaryFolder();
        await DashboardRows.FillAsync(folder, Waiting, Kept);
        await using var app = await TestApp.StartAsync(new() { ["Limits:RequestsPerAddress"] = "100000" }, folder);
        var order = app.Services.GetRequiredService<IQueueOrder>();
        await Until.TrueAsync(async () => (await order.GetAsync(CancellationToken.None)).Count == Waiting, "the queue is rebuilt");
        var job = (await app.Services.GetRequiredService<IMessageStore>().FindAsync(Kept + 1, CancellationToken.None))!.HangfireJobId;

        var bare = new Baseline("an endpoint that does nothing", [Rounds.At(await MeasureAsync(app, "health/live"), 0.95)]);
        BenchmarkTable.Add(
            $"Hangfire's own page of the queue, 10,000 waiting, {storageName}: p95",
            "ms",
            Rounds.At(await MeasureAsync(app, "hangfire/jobs/enqueued/images"), 0.95),
            bare);
        var worst = ("", P50: 0.0, P95: 0.0);
        foreach (var path in new[]
        {
            "", "images", "images?from=5000", "images?user=user%207", "images?q=f%C4%B1rt%C4%B1na", "images?q=nowhere",
            "images?show=running", "images?show=ended", "images?show=error", "images?show=error&code=timed_out&backend=gpu1",
            "images?show=cancelled&user=user%207",
            "images?show=ended&q=ya%C4%9Fl%C4%B1", "images?show=ended&q=nowhere", "images?show=ended&q=nowhere&older=1764475200000-1",
            $"images?show=ended&q={17:x32}", "images?show=ended&q=c7",
            "live/images", $"images/{Kept + 1}", "images/100", $"jobs/details/{job}", "backends", "failures",
        })
        {
            var times = await MeasureAsync(app, $"hangfire/{path}");
            var (p50, p95) = (Rounds.At(times, 0.5), Rounds.At(times, 0.95));
            TestContext.Progress.WriteLine(
                string.Create(
                    CultureInfo.InvariantCulture, $"{path,-60} p50 {p50,6:0.0} ms, p95 {p95,6:0.0} ms, most {times.Max(),6:0.0} ms"));
            if (p95 > worst.P95)
                worst = (path, p50, p95);
        }

        BenchmarkTable.Add(
            $"the slowest page of the dashboard, 10,000 waiting, 100,000 kept, {storageName} ({worst.Item1}): p95",
            "ms",
            worst.P95,
            bare,
            Bar.AtMost(300, "ms"));
    }

    private static async Task<List<double>> MeasureAsync(TestApp app, string path)
    {
        var times = new List<double>();
        for (var i = 0; i <= Times; i++)
        {
            var took = await Rounds.MillisecondsAsync(async () =>
            {
                using var answer = await app.Http.GetAsync(path);
                await answer.Content.ReadAsByteArrayAsync();
                Assert.That((int)answer.StatusCode, Is.EqualTo(200), path);
            });
            if (i > 0) // The first one compiles.
                times.Add(took);
        }

        return times;
    }
}
