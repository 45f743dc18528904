using System.Diagnostics;
using Hangfire;
using ImageQueue.Tests.Benchmarks.Support;
using ImageQueue.Tests.Simulator;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Benchmarks;

/// <summary>
/// Ten minutes of steady work on two backends: memory, handles, threads and processor time per image at the end, against the third minute.
/// The backends run in the same process, and count on both sides.
/// Run: <c>dotnet test -c Release --filter FullyQualifiedName~SoakBenchmark</c>; <c>IMAGEQUEUE_SOAK_MINUTES</c> shortens it.
/// </summary>
[TestFixtureSource(typeof(BenchmarkStorage), nameof(BenchmarkStorage.Names))]
[Explicit("A benchmark: prints megabytes and milliseconds.")]
[Category(Categories.Benchmark)]
[NonParallelizable]
internal sealed class SoakBenchmark(string storageName)
{
    private const double Mega = 1024 * 1024;
    private const int WaitingAtOnce = 20;

    [Test]
    public async Task Process_IsTheSame_AtTheEndAsInTheThirdMinute()
    {
        var minutes = int.TryParse(Environment.GetEnvironmentVariable("IMAGEQUEUE_SOAK_MINUTES"), out var asked) ? asked : 10;
        await using var storage = await BenchmarkStorage.CreateAsync(storageName);
        await using var one = await SimulatorServer.StartAsync(millisecondsPerImage: 20);
        await using var two = await SimulatorServer.StartAsync(millisecondsPerImage: 20);
        var settings = SimulatorServer.Settings(one, two);
        foreach (var (key, value) in storage.Settings)
            settings[key] = value;
        settings["Queue:MaxPendingPerUser"] = "1000";
        await using var app = await TestApp.StartAsync(settings, storage.Folder, configure: builder => builder.Logging.ClearProviders());
        var store = app.Services.GetRequiredService<IMessageStore>();
        var samples = new List<Sample>();
        var number = 0;
        for (var minute = 1; minute <= minutes; minute++)
        {
            var started = Stopwatch.GetTimestamp();
            var before = (Processor: ProcessorTime(), Complete: await CompleteAsync());
            while (Stopwatch.GetElapsedTime(started) < TimeSpan.FromMinutes(1))
            {
                while (await store.CountAsync(MessageStatus.Queued, CancellationToken.None) < WaitingAtOnce)
                    await app.SubmitAsync($"image {++number}", more: new { width = 64, height = 64, steps = 4 });
                await Task.Delay(50);
            }

            Forget(app.Services.GetRequiredService<JobStorage>());
            one.Simulator.Stats.Clear();
            two.Simulator.Stats.Clear();
            var complete = await CompleteAsync() - before.Complete;
            using var process = Process.GetCurrentProcess();
            var sample = new Sample(
                Rounds.LiveBytes() / Mega,
                process.HandleCount,
                process.Threads.Count,
                (ProcessorTime() - before.Processor).TotalMilliseconds / Math.Max(1, complete),
                complete);
            samples.Add(sample);
            await TestContext.Progress.WriteLineAsync($"minute {minute}: {sample}");
        }

        var (third, last) = (samples[Math.Min(2, samples.Count - 1)], samples[^1]);
        Add("live memory", "MB", sample => sample.Megabytes, third, last);
        Add("handles", "", sample => sample.Handles, third, last);
        Add("threads", "", sample => sample.Threads, third, last);
        Add("processor time per image", "ms", sample => sample.MillisecondsPerImage, third, last);

        Task<int> CompleteAsync() => store.CountAsync(MessageStatus.Complete, CancellationToken.None);
    }

    /// <summary>A storage in memory lists finished jobs for hours (about 1 KB each), which would hide everything else.</summary>
    private static void Forget(JobStorage storage)
    {
        using var connection = storage.GetConnection();
        using var transaction = connection.CreateWriteTransaction();
        foreach (var (id, _) in storage.GetMonitoringApi().SucceededJobs(0, 100_000))
            transaction.ExpireJob(id, TimeSpan.Zero);
        transaction.Commit();
    }

    private void Add(string what, string unit, Func<Sample, double> value, Sample third, Sample last) => BenchmarkTable.Add(
        $"soak, {storageName}: {what} at the end", unit, value(last), new Baseline(
            "in the third minute", [value(third)]), Bar.RatioAtMost(1.1));

    private static TimeSpan ProcessorTime()
    {
        using var process = Process.GetCurrentProcess();
        return process.TotalProcessorTime;
    }

    private sealed record Sample(double Megabytes, int Handles, int Threads, double MillisecondsPerImage, int Images);
}
