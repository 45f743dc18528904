using System.Net.Http.Json;
using Hangfire;
using Hangfire.States;
using ImageQueue.Core.Messages;
using ImageQueue.Tests.Benchmarks.Support;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Benchmarks;

/// <summary>
/// How long Forge idles between two requests while many wait, from its answer to the next request's arrival by its own clock,
/// against a bare Hangfire job that makes the same HTTP call, reads the answer and does nothing else. Forge is another process.
/// Run: <c>dotnet test -c Release --filter FullyQualifiedName~HandOverBenchmark</c>.
/// </summary>
[TestFixtureSource(typeof(BenchmarkStorage), nameof(BenchmarkStorage.Names))]
[Explicit("A benchmark: prints milliseconds.")]
[Category(Categories.Benchmark)]
[NonParallelizable]
internal sealed class HandOverBenchmark(string storageName)
{
    private const double SecondsPerImage = 0.5; // Of 1024x1024 and 20 steps.

    /// <summary>Images whose hand-over is not counted: the first ones are compiled on the way.</summary>
    private const int WarmUp = 10;

    [TestCase(1024, 20, 60)]
    [TestCase(512, 80, 40)]
    public async Task Forge_GetsTheNextRequest_SoonAfterItsAnswer(int size, int steps, int images)
    {
        await using var forge = await ForgeProcess.StartAsync(SecondsPerImage);
        var bare = await BareAsync(forge, size, steps, images);
        await forge.ClearAsync();
        var ours = await OursAsync(forge, size, steps, images);

        var what = $"hand-over at {size}x{size}, {storageName}";
        const string baseline = "bare Hangfire job";
        var isLarge = size == 1024;
        BenchmarkTable.Add(
            $"{what}: p50",
            "ms",
            Rounds.At(ours, 0.5),
            new Baseline(baseline, [Rounds.At(bare, 0.5)]),
            isLarge ? Bar.AtMost(5, "ms") : null);
        BenchmarkTable.Add(
            $"{what}: p99",
            "ms",
            Rounds.At(ours, 0.99),
            new Baseline(baseline, [Rounds.At(bare, 0.99)]),
            isLarge ? Bar.AtMost(10, "ms") : null);
        BenchmarkTable.Add(
            $"{what}: GPU idle, images of 0.5 s",
            "%",
            Share(ours),
            new Baseline(baseline, [Share(bare)]),
            isLarge ? Bar.AtMost(1, "%") : null);
    }

    private async Task<List<double>> OursAsync(ForgeProcess forge, int size, int steps, int images)
    {
        await using var storage = await BenchmarkStorage.CreateAsync(storageName);
        await using var app = await TestApp.StartAsync(
            new Dictionary<string, string?>(storage.Settings)
            {
                ["Forge:Backends:0:Url"] = forge.Address.AbsoluteUri,
                ["Forge:Simulator:Enabled"] = "false",
                ["Forge:PollInterval"] = "00:00:00.5",
                ["Queue:MaxPendingPerUser"] = "1000",
            },
            storage.Folder);
        for (var i = 0; i < images + WarmUp; i++)
            await app.SubmitAsync($"image {i}", more: new { width = size, height = size, steps });
        var store = app.Services.GetRequiredService<IMessageStore>();
        await Until.TrueAsync(
            async () =>
                await store.CountAsync(
                    MessageStatus.Complete, CancellationToken.None) == images + WarmUp, "all are generated", TimeSpan.FromMinutes(2));
        return await IdleAsync(forge);
    }

    /// <summary>The least that any queue on Hangfire could do: one worker, one job, one call.</summary>
    private async Task<List<double>> BareAsync(ForgeProcess forge, int size, int steps, int images)
    {
        await using var storage = await BenchmarkStorage.CreateAsync(storageName);
        var jobs = storage.Hangfire();
        var client = new BackgroundJobClient(jobs);
        BareJob.Forge = forge;
        for (var i = 0; i < images + WarmUp; i++)
            client.Create(() => BareJob.RunAsync(size, steps), new EnqueuedState());
        // With an activator of its own: Hangfire's current one may be that of an app which is gone.
        using (new BackgroundJobServer(new BackgroundJobServerOptions { WorkerCount = 1, Activator = new JobActivator() }, jobs))
        {
            await Until.TrueAsync(
                () =>
                    jobs.GetMonitoringApi() is var now
                        && now.SucceededListCount() + now.FailedCount() == images + WarmUp, "all are generated", TimeSpan.FromMinutes(2));
        }

        Assert.That(jobs.GetMonitoringApi().FailedCount(), Is.Zero);

        return await IdleAsync(forge);
    }

    private static async Task<List<double>> IdleAsync(ForgeProcess forge)
    {
        var received = await forge.ReceivedAsync();
        return [.. received.Zip(received.Skip(1), (one, next) => next.At - one.Answered).Skip(WarmUp)];
    }

    private static double Share(List<double> idle) => idle.Average() / ((SecondsPerImage * 1000) + idle.Average()) * 100;

    /// <summary>What Hangfire runs.</summary>
    internal static class BareJob
    {
        internal static ForgeProcess Forge { get; set; } = null!; // Set by the benchmark.

        [AutomaticRetry(Attempts = 0)]
        public static async Task RunAsync(int size, int steps)
        {
            using var response = await Forge.Http.PostAsJsonAsync(
                new Uri(Forge.Address, "sdapi/v1/txt2img"), new { prompt = "bir kedi", width = size, height = size, steps, seed = 1 });
            response.EnsureSuccessStatusCode();
            await response.Content.ReadAsByteArrayAsync();
        }
    }
}
