using System.Diagnostics;
using System.Net.Http.Json;
using System.Net.Sockets;
using ImageQueue.Tests.Benchmarks.Support;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Benchmarks;

/// <summary>
/// Submits and memory beside 200 streams that ask for 500 messages of 60 KB and read nothing, against the same without them.
/// Run: <c>dotnet test -c Release --filter FullyQualifiedName~StalledReadersBenchmark</c>.
/// </summary>
[TestFixtureSource(typeof(BenchmarkStorage), nameof(BenchmarkStorage.Embedded))]
[Explicit("A benchmark: prints milliseconds and megabytes.")]
[Category(Categories.Benchmark)]
[NonParallelizable]
internal sealed class StalledReadersBenchmark(string storageName)
{
    private const int Streams = 200;
    private const int Messages = 500;
    private const int Submits = 500;
    private const int ArrivalSubmits = 100;
    private const double Mega = 1024 * 1024;

    [Test]
    public async Task Submit_StaysQuick_BesideReadersThatReadNothing()
    {
        using var folder = new TemporaryFolder();
        await using var app = await AppProcess.StartAsync(
            folder.Path, new Uri("http://127.0.0.1:9"),
            new() { ["Queue__MaxWorkPerUser"] = "1000000", ["Limits__StreamsPerAddress"] = "1000" });
        for (var i = 0; i < Messages; i++)
        {
            using var added = await app.Http.PostAsJsonAsync(
                "api/conversations/long/messages", new { username = "ayşe", role = "user", content = new string('x', 60_000) });
            added.EnsureSuccessStatusCode();
        }

        await MeasureAsync(app, 100); // The first ones are compiled on the way.
        var (quiet, memory) = await MeasureAsync(app, Submits);
        var streams = new List<TcpClient>();
        for (var i = 0; i < Streams; i++)
        {
            var stream = new TcpClient { ReceiveBufferSize = 4096 };
            await stream.ConnectAsync(app.Http.BaseAddress!.Host, app.Http.BaseAddress.Port);
            await stream.GetStream().WriteAsync(
                Encoding.ASCII.GetBytes("GET /api/conversations/long/events?last_event_id=0 HTTP/1.1\r\nHost: localhost\r\n\r\n"));
            streams.Add(stream);
        }

        var (arriving, peakArriving) = await MeasureAsync(app, ArrivalSubmits);
        await Until.TrueAsync(() => IsCalmAsync(app), "all streams have stalled");
        var (busy, peak) = await MeasureAsync(app, Submits);
        foreach (var stream in streams)
            stream.Dispose();

        var alone = new Baseline("without", [Rounds.At(quiet, 0.99)]);
        BenchmarkTable.Add(
            $"submit beside {Streams} stalled readers, {storageName}: p99", "ms", Rounds.At(busy, 0.99), alone, Bar.RatioAtMost(2));
        BenchmarkTable.Add(
            $"submit while {Streams} readers arrive and stall, {storageName}: p99", "ms", Rounds.At(arriving, 0.99), alone);
        BenchmarkTable.Add(
            $"memory that {Streams} stalled readers cost, {storageName}", "MB", Math.Max(peak, peakArriving) - memory,
            bar: Bar.AtMost(100, "MB"));
    }

    /// <summary>Whether the app uses less than a tenth of a processor.</summary>
    private static async Task<bool> IsCalmAsync(AppProcess app)
    {
        using var process = Process.GetProcessById(app.Id);
        var (before, started) = (process.TotalProcessorTime, Stopwatch.GetTimestamp());
        await Task.Delay(200);
        process.Refresh();
        return process.TotalProcessorTime - before < Stopwatch.GetElapsedTime(started) / 10;
    }

    private static async Task<(List<double> Milliseconds, double PeakMegabytes)> MeasureAsync(AppProcess app, int count)
    {
        using var process = Process.GetProcessById(app.Id);
        var (times, peak) = (new List<double>(), 0.0);
        for (var i = 0; i < count; i++)
        {
            var started = Stopwatch.GetTimestamp();
            using var response = await app.Http.PostAsJsonAsync(
                "api/conversations/load/images", new { username = "ayşe", prompt = "bir gül", width = 64, height = 64, steps = 1 });
            times.Add(Stopwatch.GetElapsedTime(started).TotalMilliseconds);
            Assert.That((int)response.StatusCode, Is.EqualTo(202), await response.Content.ReadAsStringAsync());
            process.Refresh();
            peak = Math.Max(peak, process.WorkingSet64 / Mega);
        }

        return (times, peak);
    }
}
