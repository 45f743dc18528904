using System.Diagnostics;
using ImageQueue.Tests.Benchmarks.Support;
using ImageQueue.Tests.Support;
using ImageQueue.Web;
using NUnit.Framework;

namespace ImageQueue.Tests.Benchmarks;

/// <summary>
/// From the start of a process to its first 202, on an empty database and on one whose requests wait for a new process; and until
/// they are all in Hangfire's queue again. Beside it, what the runtime itself takes: the same program, asked for a key.
/// Run: <c>dotnet test -c Release --filter FullyQualifiedName~StartBenchmark</c>.
/// </summary>
[TestFixtureSource(typeof(BenchmarkStorage), nameof(BenchmarkStorage.Names))]
[Explicit("A benchmark: prints seconds.")]
[Category(Categories.Benchmark)]
[NonParallelizable]
internal sealed class StartBenchmark(string storageName)
{
    private static readonly Uri NoBackend = new("http://127.0.0.1:9");

    [TestCase(0)]
    [TestCase(10_000)]
    [TestCase(100_000)]
    public async Task Start_ToTheFirst202(int waiting)
    {
        var rounds = await Rounds.ByTurnsAsync(3, () => StartAsync(waiting), async () => new Start(await RuntimeAsync(), 0));

        var runtime = new Baseline("the runtime alone", [.. rounds[1].Select(start => start.First202)]);
        var what = waiting == 0 ? $"start, {storageName}" : FormattableString.Invariant($"restart, {waiting:n0} waiting, {storageName}");
        BenchmarkTable.Add($"{what}: to the first 202", "s", [.. rounds[0].Select(start => start.First202)], runtime, Bar.AtMost(2, "s"));
        if (waiting > 0)
        {
            BenchmarkTable.Add(
                $"{what}: to all enqueued", "s", [.. rounds[0].Select(start => start.AllEnqueued)], runtime, Bar.AtMost(5, "s"));
        }
    }

    private async Task<Start> StartAsync(int waiting)
    {
        await using var storage = await BenchmarkStorage.CreateAsync(storageName);
        if (waiting > 0)
            await Waiting.FillAsync(storage, waiting);
        var settings = storage.Environment;
        settings["Queue__MaxLength"] = "1000000";
        var started = Stopwatch.GetTimestamp();
        await using var app = await AppProcess.StartAsync(storage.Folder.Path, NoBackend, settings);
        await app.SubmitAsync("a red rose");
        var first = Stopwatch.GetElapsedTime(started).TotalSeconds;
        if (waiting == 0)
            return new Start(first, first);

        // It says so itself: asking for the queue again and again would be a part of what is measured.
        await Until.TrueAsync(
            () =>
                app.Output.Contains("back into the queue in", StringComparison.Ordinal)
                    || app.Output.Contains("The sweep put", StringComparison.Ordinal),
            "all that wait are enqueued",
            TimeSpan.FromMinutes(2));
        return new Start(first, Stopwatch.GetElapsedTime(started).TotalSeconds);
    }

    private static async Task<double> RuntimeAsync()
    {
        var started = Stopwatch.GetTimestamp();
        // Not by the shell.
        using var process = Process.Start(
            new ProcessStartInfo(
                "dotnet",
                ["exec", typeof(WebServices).Assembly.Location, "key", "new", "--role", "client"])
            { RedirectStandardOutput = true })!;
        await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        Assert.That(process.ExitCode, Is.Zero);
        return Stopwatch.GetElapsedTime(started).TotalSeconds;
    }

    private readonly record struct Start(double First202, double AllEnqueued);
}
