using System.Collections.Concurrent;
using System.Net.Http.Json;
using Hangfire;
using Hangfire.States;
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

    [TestCase(1024, 20, 60, 1)]
    [TestCase(512, 80, 40, 1)]
    [TestCase(512, 80, 240, 8)]
    public async Task Forge_GetsTheNextRequest_SoonAfterItsAnswer(int size, int steps, int images, int backends)
    {
        var forges = new List<ForgeProcess>();
        try
        {
            for (var i = 0; i < backends; i++)
                forges.Add(await ForgeProcess.StartAsync(SecondsPerImage));
            var bare = await BareAsync(forges, size, steps, images);
            foreach (var forge in forges)
                await forge.ClearAsync();
            Add(await OursAsync(forges, size, steps, images), bare, size, backends);
        }
        finally
        {
            foreach (var forge in forges)
                await forge.DisposeAsync();
        }
    }

    private void Add(List<double> ours, List<double> bare, int size, int backends)
    {
        var what = $"hand-over at {size}x{size}{(backends > 1 ? $" to {backends} backends" : "")}, {storageName}";
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

    private async Task<List<double>> OursAsync(List<ForgeProcess> forges, int size, int steps, int images)
    {
        await using var storage = await BenchmarkStorage.CreateAsync(storageName);
        var settings = new Dictionary<string, string?>(storage.Settings)
        {
            ["Forge:Simulator:Enabled"] = "false",
            ["Forge:PollInterval"] = "00:00:00.5",
            ["Queue:MaxPendingPerUser"] = "1000",
        };
        for (var i = 0; i < forges.Count; i++)
            settings[string.Create(CultureInfo.InvariantCulture, $"Forge:Backends:{i}:Url")] = forges[i].Address.AbsoluteUri;
        await using var app = await TestApp.StartAsync(settings, storage.Folder);
        for (var i = 0; i < images + WarmUp; i++)
            await app.SubmitAsync($"image {i}", more: new { width = size, height = size, steps });
        var store = app.Services.GetRequiredService<IMessageStore>();
        await Until.TrueAsync(
            async () =>
                await store.CountAsync(
                    MessageStatus.Complete, CancellationToken.None) == images + WarmUp, "all are generated", TimeSpan.FromMinutes(2));
        return await IdleAsync(forges);
    }

    /// <summary>The least that any queue on Hangfire could do: a worker for each backend, one job, one call.</summary>
    private async Task<List<double>> BareAsync(List<ForgeProcess> forges, int size, int steps, int images)
    {
        await using var storage = await BenchmarkStorage.CreateAsync(storageName);
        var jobs = storage.Hangfire();
        var client = new BackgroundJobClient(jobs);
        BareJob.Free = new ConcurrentQueue<ForgeProcess>(forges);
        for (var i = 0; i < images + WarmUp; i++)
            client.Create(() => BareJob.RunAsync(size, steps), new EnqueuedState());
        // With an activator of its own: Hangfire's current one may be that of an app which is gone.
        using (new BackgroundJobServer(new BackgroundJobServerOptions { WorkerCount = forges.Count, Activator = new JobActivator() }, jobs))
        {
            await Until.TrueAsync(
                () =>
                    jobs.GetMonitoringApi() is var now
                        && now.SucceededListCount() + now.FailedCount() == images + WarmUp, "all are generated", TimeSpan.FromMinutes(2));
        }

        Assert.That(jobs.GetMonitoringApi().FailedCount(), Is.Zero);

        return await IdleAsync(forges);
    }

    private static async Task<List<double>> IdleAsync(List<ForgeProcess> forges)
    {
        var idle = new List<double>();
        foreach (var forge in forges)
        {
            var received = await forge.ReceivedAsync();
            idle.AddRange(received.Zip(received.Skip(1), (one, next) => next.At - one.Answered).Skip(WarmUp / forges.Count));
        }

        return idle;
    }

    private static double Share(List<double> idle) => idle.Average() / ((SecondsPerImage * 1000) + idle.Average()) * 100;

    /// <summary>What Hangfire runs.</summary>
    internal static class BareJob
    {
        /// <summary>Those that generate nothing; there are as many workers as backends.</summary>
        internal static ConcurrentQueue<ForgeProcess> Free { get; set; } = [];

        [AutomaticRetry(Attempts = 0)]
        public static async Task RunAsync(int size, int steps)
        {
            if (!Free.TryDequeue(out var forge))
                throw new InvalidOperationException("There are more workers than backends.");
            using var response = await forge.Http.PostAsJsonAsync(
                new Uri(forge.Address, "sdapi/v1/txt2img"), new { prompt = "bir kedi", width = size, height = size, steps, seed = 1 });
            response.EnsureSuccessStatusCode();
            await response.Content.ReadAsByteArrayAsync();
            Free.Enqueue(forge);
        }
    }
}
