using Hangfire;
using Hangfire.States;
using ImageQueue.Tests.Benchmarks.Support;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using NUnit.Framework;

namespace ImageQueue.Tests.Benchmarks;

/// <summary>
/// Live bytes on the heap of the whole app, idle and with 100,000 waiting, against a bare ASP.NET Core app whose Hangfire has as
/// many jobs.
/// Run: <c>dotnet test -c Release --filter FullyQualifiedName~MemoryBenchmark</c>.
/// </summary>
[TestFixtureSource(typeof(BenchmarkStorage), nameof(BenchmarkStorage.Names))]
[Explicit("A benchmark: prints megabytes.")]
[Category("Benchmark")]
[NonParallelizable]
internal sealed class MemoryBenchmark(string storageName)
{
    private const double Mega = 1024 * 1024;
    private WeakReference? _earlier;

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
        var before = await AloneAsync();
        await using var app = await TestApp.StartAsync(
            new Dictionary<string, string?>(storage.Settings) { ["Forge:Backends:0:Url"] = "http://127.0.0.1:9", ["Queue:MaxLength"] = "1000000" },
            storage.Folder,
            configure: builder => builder.Logging.ClearProviders());
        await Waiting.UntilEnqueuedAsync(app, waiting);
        _earlier = new WeakReference(app.Services.GetRequiredService<JobStorage>());
        return (Rounds.LiveBytes() - before) / Mega;
    }

    private async Task<double> BareAsync(int waiting)
    {
        await using var storage = await BenchmarkStorage.CreateAsync(storageName);
        var before = await AloneAsync();
        await using var app = await BareApp.StartAsync(storage);
        using var server = new BackgroundJobServer(new BackgroundJobServerOptions { WorkerCount = 2, Queues = ["nobody"], Activator = new JobActivator() }, app.Jobs);
        for (var i = 0; i < waiting; i++)
            app.Enqueue(i);
        _earlier = new WeakReference(app.Jobs);
        return (Rounds.LiveBytes() - before) / Mega;
    }

    /// <summary>Live bytes when nothing is left of the contender before.</summary>
    private async Task<long> AloneAsync()
    {
        await Bench.UntilAsync(
            () =>
            {
                GC.Collect();
                GC.WaitForPendingFinalizers();
                return Task.FromResult(_earlier is not { IsAlive: true });
            },
            "what was measured before is gone",
            TimeSpan.FromMinutes(1));
        return Rounds.LiveBytes();
    }
}
