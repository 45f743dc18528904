using ImageQueue.Core.Queue;
using ImageQueue.Core.Requests;
using ImageQueue.Tests.Benchmarks.Support;
using ImageQueue.Tests.Dashboard;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Benchmarks;

/// <summary>
/// One user's 6,000 of 10,000 waiting requests cancelled by one command, while the others' positions are read all the time.
/// Run: <c>dotnet test -c Release --filter FullyQualifiedName~BulkCancelBenchmark</c>.
/// </summary>
[TestFixtureSource(typeof(BenchmarkStorage), nameof(BenchmarkStorage.Embedded))]
[Explicit("A benchmark: prints seconds.")]
[Category(Categories.Benchmark)]
[NonParallelizable]
internal sealed class BulkCancelBenchmark(string storageName)
{
    private const int Waiting = 10_000;
    private const int Flood = 6_000;

    [Test]
    public async Task CancelAllMatching_OfAFlood()
    {
        using var folder = new TemporaryFolder();
        await DashboardRows.FillAsync(folder, Waiting, kept: 0, Flood);
        await using var app = await TestApp.StartAsync(folder: folder);
        var order = app.Services.GetRequiredService<IQueueOrder>();
        var last = "";
        await Until.TrueAsync(
            async () =>
            {
                // A row gets its job's id a moment after the job.
                last = (await app.Services.GetRequiredService<IMessageStore>().FindAsync(Waiting, CancellationToken.None))!.HangfireJobId!;
                return (await order.GetAsync(CancellationToken.None)).PositionOf(last) == Waiting;
            },
            "the queue is rebuilt");
        var commands = app.Services.GetRequiredService<BulkCommands>();

        var reads = 0;
        using var reading = new PeriodicTimer(TimeSpan.FromMilliseconds(10));
        var seconds = await Rounds.MillisecondsAsync(async () =>
        {
            commands.Start(BulkVerb.Cancel, new RequestSearch([MessageStatus.Queued], Username: "Flooder"), "a benchmark");
            while (commands.List() is [{ IsRunning: true }])
            {
                var snapshot = await order.GetAsync(CancellationToken.None);
                Assert.That(snapshot.PositionOf(last), Is.EqualTo(snapshot.Count), "the last one's position, at any moment");
                reads++;
                await reading.WaitForNextTickAsync();
            }
        }) / 1000;

        Assert.That(commands.List()[0].Done, Is.EqualTo(Flood));
        Assert.That((await order.GetAsync(CancellationToken.None)).Count, Is.EqualTo(Waiting - Flood));
        TestContext.Progress.WriteLine($"{reads:n0} reads meanwhile");
        BenchmarkTable.Add(
            $"one user's 6,000 of 10,000 waiting requests cancelled by one command, {storageName}", "s", seconds, bar: Bar.AtMost(10, "s"));
    }
}
