using System.Globalization;
using System.Net.Http.Json;
using Hangfire;
using Hangfire.InMemory;
using ImageQueue.Core.Messages;
using ImageQueue.Tests.Simulator;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Simulator;
using NUnit.Framework;

namespace ImageQueue.Tests.Benchmarks;

/// <summary>
/// How long Forge idles between two requests while many wait, from its answer to the next request's arrival, beside a bare
/// Hangfire job that makes the same HTTP call and nothing else.
/// Run: <c>dotnet test -c Release --filter FullyQualifiedName~HandOverBenchmark -l "console;verbosity=detailed"</c>.
/// </summary>
[TestFixture]
[Explicit("A benchmark: prints milliseconds.")]
[Category("Benchmark")]
[NonParallelizable]
internal sealed class HandOverBenchmark
{
    [TestCase(1024, 0.5, 60)]
    [TestCase(512, 0.5, 60)]
    [TestCase(1024, 2.0, 20)]
    [TestCase(1024, 10.0, 6)]
    public async Task Forge_GetsTheNextRequest_SoonAfterItsAnswer(int size, double seconds, int pictures)
    {
        await using var forge = await SimulatorServer.StartAsync(millisecondsPerImage: (int)(seconds * 1000));
        var bare = await BareAsync(forge, size, pictures);
        await using var again = await SimulatorServer.StartAsync(millisecondsPerImage: (int)(seconds * 1000));
        var ours = await OursAsync(again, size, pictures);

        TestContext.Progress.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{size}x{size}, {seconds} s a picture, {pictures} of them: Forge idles p50 {At(ours, 50):0.0} ms, p99 {At(ours, 99):0.0} ms ({Share(ours, seconds):0.00} % of its time); bare Hangfire job p50 {At(bare, 50):0.0} ms, p99 {At(bare, 99):0.0} ms ({Share(bare, seconds):0.00} %); ratio {At(ours, 50) / At(bare, 50):0.0} (bar: p50 at most 10 ms)"));
    }

    private static async Task<List<double>> OursAsync(SimulatorServer forge, int size, int pictures)
    {
        var settings = SimulatorServer.Settings(forge);
        settings["Forge:PollInterval"] = "00:00:00.5";
        settings["Queue:MaxPendingPerUser"] = "1000";
        await using var app = await TestApp.StartAsync(settings);
        var last = 0L;
        for (var i = 0; i <= pictures; i++)
            last = (long)(await app.SubmitAsync($"picture {i}", more: new { width = size, height = size }))["id"]!;
        while ((string?)(await app.GetMessageAsync(last))["extra_metadata"]!["status"] != MessageStatus.Complete)
            await Task.Delay(200);
        return Idle(forge);
    }

    /// <summary>The least that any queue on Hangfire could do: one worker, one job, one call.</summary>
    private static async Task<List<double>> BareAsync(SimulatorServer forge, int size, int pictures)
    {
        var storage = new InMemoryStorage(new InMemoryStorageOptions { IdType = InMemoryStorageIdType.Guid });
        var client = new BackgroundJobClient(storage);
        BareJob.Forge = forge;
        for (var i = 0; i <= pictures; i++)
            client.Create(() => BareJob.RunAsync(size), new Hangfire.States.EnqueuedState());
        using (new BackgroundJobServer(new BackgroundJobServerOptions { WorkerCount = 1 }, storage))
            await Bench.UntilAsync(() => Task.FromResult(forge.Stats.Received.Count(request => request.AnsweredAtMs is not null) > pictures), "all are painted", TimeSpan.FromMinutes(5));
        return Idle(forge);
    }

    private static List<double> Idle(SimulatorServer forge)
    {
        // Of the simulator's own clock: when an answer was ready to be sent, and when the next request had come in.
        var received = forge.Stats.Received;
        return [.. received.Zip(received.Skip(1), (one, next) => next.AtMs - one.AnsweredAtMs!.Value).Order()];
    }

    private static double At(List<double> sorted, int percent) => sorted[Math.Min(sorted.Count - 1, sorted.Count * percent / 100)];

    private static double Share(List<double> idle, double seconds) => idle.Average() / ((seconds * 1000) + idle.Average()) * 100;

    /// <summary>What Hangfire runs.</summary>
    internal static class BareJob
    {
        internal static SimulatorServer Forge { get; set; } = null!; // Set by the benchmark.

        [AutomaticRetry(Attempts = 0)]
        public static async Task RunAsync(int size)
        {
            using var response = await Forge.Client.PostAsJsonAsync("sdapi/v1/txt2img", new { prompt = "bir kedi", width = size, height = size, steps = 20, seed = 1 });
            await response.Content.ReadAsByteArrayAsync();
        }
    }
}
