using Hangfire;
using Hangfire.InMemory;
using ImageQueue.Tests.Benchmarks.Support;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Benchmarks;

/// <summary>
/// Live bytes on the heap of the whole app, idle and with 100,000 waiting, against a bare ASP.NET Core app whose Hangfire has as
/// many jobs.
/// Run: <c>dotnet test -c Release --filter FullyQualifiedName~MemoryBenchmark</c>.
/// </summary>
[TestFixtureSource(typeof(BenchmarkStorage), nameof(BenchmarkStorage.Names))]
[Explicit("A benchmark: prints megabytes.")]
[Category(Categories.Benchmark)]
[NonParallelizable]
internal sealed class MemoryBenchmark(string storageName)
{
    private const double Mega = 1024 * 1024;

    [TestCase(0)]
    [TestCase(100_000)]
    public async Task LiveBytes_AgainstBareHangfire(int waiting)
    {
        // What each makes once for the process is made before: statics, caches of the serialisers, compiled code.
        await OursAsync(0);
        await BareAsync(0);
        var rounds = await Rounds.ByTurnsAsync(3, () => OursAsync(waiting), () => BareAsync(waiting));
        BenchmarkTable.Add(
            waiting == 0 ? $"memory, idle, {storageName}" : FormattableString.Invariant($"memory, {waiting:n0} waiting, {storageName}"),
            "MB",
            rounds[0],
            new Baseline("bare app and Hangfire", rounds[1]),
            waiting == 0 ? null : Bar.RatioAtMost(1.15));
    }

    private async Task<double> OursAsync(int waiting)
    {
        await using var storage = await BenchmarkStorage.CreateAsync(storageName);
        if (waiting > 0)
            await Waiting.FillAsync(storage, waiting);
        var before = await SettledAsync();
        await using var app = await TestApp.StartAsync(
            new Dictionary<string, string?>(storage.Settings)
            {
                ["Forge:Backends:0:Url"] = "http://127.0.0.1:9",
                ["Queue:MaxLength"] = "1000000",
            },
            storage.Folder,
            configure: builder => builder.Logging.ClearProviders());
        await Waiting.UntilEnqueuedAsync(app, waiting);
        return (Rounds.LiveBytes() - before) / Mega;
    }

    private async Task<double> BareAsync(int waiting)
    {
        await using var storage = await BenchmarkStorage.CreateAsync(storageName);
        var before = await SettledAsync();
        await using var app = await BareApp.StartAsync(storage);
        using var server = new BackgroundJobServer(
            new BackgroundJobServerOptions { WorkerCount = 2, Queues = ["none"], Activator = new JobActivator() }, app.Jobs);
        for (var i = 0; i < waiting; i++)
            app.Enqueue(i);
        return (Rounds.LiveBytes() - before) / Mega;
    }

    /// <summary>
    /// Live bytes when what was measured before gives nothing back any more. Some of it may stay for good, since a timer of ASP.NET
    /// Core's rate limiter holds each app; but that which goes in the midst of the next measurement would be counted as the next one's
    /// thrift.
    /// </summary>
    private static async Task<long> SettledAsync()
    {
        // Hangfire keeps the last app's storage and services for callers that name none.
        JobStorage.Current = new InMemoryStorage();
        JobActivator.Current = new JobActivator();
        var (now, calm) = (Rounds.LiveBytes(), 0);
        while (calm < 3)
        {
            await Task.Delay(200);
            var next = Rounds.LiveBytes();
            calm = Math.Abs(next - now) < Mega / 10 ? calm + 1 : 0;
            now = next;
        }

        return now;
    }
}
