using System.Diagnostics;
using System.Net.Sockets;
using ImageQueue.Tests.Auth;
using ImageQueue.Tests.Benchmarks.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Benchmarks;

/// <summary>
/// What a normal user feels of others who take too much: idle event streams, clients that send their requests drop by drop, and
/// a flood that is refused. Clients and server share the machine.
/// Run: <c>dotnet test -c Release --filter FullyQualifiedName~AbuseBenchmark</c>.
/// </summary>
[TestFixtureSource(typeof(BenchmarkStorage), nameof(BenchmarkStorage.Embedded))]
[Explicit("A benchmark: prints milliseconds.")]
[Category(Categories.Benchmark)]
[NonParallelizable]
internal sealed class AbuseBenchmark(string storageName)
{
    private const int Submits = 1000;
    private const int Streams = 2000;
    private const int SlowWriters = 200;

    /// <summary>
    /// Sent one after the other by a caller that is much quicker than the server can refuse: what a script at the other end of a
    /// line sends, not what a second program on the server's own two cores could.
    /// </summary>
    private const int FloodPerSecond = 500;

    [Test]
    public async Task Submit_StaysQuick_BesideIdleStreamsSlowWritersAndAFlood()
    {
        await using var app = await AuthApp.StartAsync(new()
        {
            ["Queue:MaxPendingPerUser"] = "1000000",
            ["Queue:MaxWorkPerUser"] = "1000000",
            ["Limits:StreamsPerAddress"] = "3000",
            ["Limits:RequestsPerAddress"] = "20",
            ["Kestrel:Limits:RequestHeadersTimeout"] = "00:05:00",
            ["Kestrel:Limits:MinRequestBodyDataRate:BytesPerSecond"] = "1",
            ["Kestrel:Limits:MinResponseDataRate:BytesPerSecond"] = "1",
            ["Forge:Simulator:SecondsPerImage"] = "3600",
        });
        var user = app.Client();
        await app.SubmitAsync(conversation: "idle");
        await MeasureAsync(user, 100); // The first ones are compiled on the way.
        var quiet = await MeasureAsync(user, Submits);

        var opened = Stopwatch.GetTimestamp();
        var streams = new List<TcpClient>();
        for (var i = 0; i < Streams; i++)
            streams.Add(await OpenStreamAsync(app.App.Address));
        var openedIn = Stopwatch.GetElapsedTime(opened);
        using var stop = new CancellationTokenSource();
        var slow = Enumerable.Range(0, SlowWriters).Select(_ => WriteSlowlyAsync(app.App.Address, stop.Token)).ToList();
        var flood = FloodAsync(app, stop.Token);
        var busy = await MeasureAsync(user, Submits);
        await stop.CancelAsync();
        var (refused, answered) = await flood;
        await Task.WhenAll(slow);
        foreach (var stream in streams)
            stream.Dispose();

        var what = FormattableString.Invariant(
            $"submit beside {Streams:n0} idle streams, {SlowWriters} slow writers and a flood of {FloodPerSecond}/s, {storageName}");
        BenchmarkTable.Add($"{what}: p50", "ms", Rounds.At(busy, 0.5), new Baseline("alone", [Rounds.At(quiet, 0.5)]));
        BenchmarkTable.Add(
            $"{what}: p99", "ms", Rounds.At(busy, 0.99), new Baseline("alone", [Rounds.At(quiet, 0.99)]), Bar.RatioAtMost(2));
        TestContext.Progress.WriteLine(
            FormattableString.Invariant(
                $"  streams opened in {openedIn.TotalSeconds:0.0} s; {answered} requests of the flood, {refused} of them 429"));
        Assert.That(refused, Is.GreaterThan(answered / 2), "the flood is refused");
    }

    private static async Task<List<double>> MeasureAsync(HttpClient user, int count)
    {
        var times = new List<double>();
        for (var i = 0; i < count; i++)
        {
            var started = Stopwatch.GetTimestamp();
            using var response = await user.PostAsync(
                "api/conversations/load/images",
                AuthApp.Json("""{"username":"ayşe","prompt":"bir gül","width":64,"height":64,"steps":1}"""));
            times.Add(Stopwatch.GetElapsedTime(started).TotalMilliseconds);
            Assert.That((int)response.StatusCode, Is.EqualTo(202), await response.Content.ReadAsStringAsync());
        }

        return times;
    }

    private static async Task<TcpClient> OpenStreamAsync(Uri server)
    {
        var client = new TcpClient();
        await client.ConnectAsync(server.Host, server.Port);
        await client.GetStream().WriteAsync(
            Encoding.ASCII.GetBytes(
                $"GET /api/conversations/idle/events HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {AuthApp.ClientKey}\r\n\r\n"));
        var buffer = new byte[256];
        var read = await client.GetStream().ReadAsync(buffer);
        Assert.That(Encoding.ASCII.GetString(buffer, 0, read), Does.StartWith("HTTP/1.1 200"));
        return client;
    }

    private static async Task WriteSlowlyAsync(Uri server, CancellationToken cancellationToken)
    {
        try
        {
            using var client = new TcpClient();
            await client.ConnectAsync(server.Host, server.Port, cancellationToken);
            await client.GetStream().WriteAsync(
                Encoding.ASCII.GetBytes(
                    $"POST /api/conversations/load/images HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {AuthApp.ClientKey}\r\n"
                    + "Content-Type: application/json\r\nContent-Length: 60000\r\n\r\n"), cancellationToken);
            while (true)
            {
                await client.GetStream().WriteAsync(" "u8.ToArray(), cancellationToken);
                await Task.Delay(TimeSpan.FromSeconds(1), cancellationToken);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or IOException or SocketException)
        {
            // Over, or cut off.
        }
    }

    private static async Task<(int Refused, int Answered)> FloodAsync(AuthApp app, CancellationToken cancellationToken)
    {
        var (refused, answered) = (0, 0);
        var stranger = app.As("an unknown key");
        var started = Stopwatch.GetTimestamp();
        while (!cancellationToken.IsCancellationRequested)
        {
            var due = (int)(Stopwatch.GetElapsedTime(started).TotalSeconds * FloodPerSecond) - answered;
            for (var i = 0; i < due; i++)
            {
                using var response = await stranger.GetAsync("api/queue", CancellationToken.None);
                answered++;
                refused += (int)response.StatusCode == 429 ? 1 : 0;
            }

            await Task.Delay(5, CancellationToken.None);
        }

        return (refused, answered);
    }
}
