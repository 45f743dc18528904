using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Messages.Sqlite;
using ImageQueue.Tests.Push;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Benchmarks;

/// <summary>
/// How long a change takes from before its write to its watchers, over real connections; clients and server share the machine.
/// Run: <c>dotnet test -c Release --filter FullyQualifiedName~PushBenchmark -- NUnit.ExplicitMode=Only</c>.
/// </summary>
[TestFixture]
[Explicit("A benchmark: prints milliseconds and megabytes.")]
[Category("Benchmark")]
internal sealed class PushBenchmark
{
    private const string Path = "api/conversations/demo/events";

    [Test]
    public async Task Event_Arrives_WhenThisProcessWrites()
    {
        await using var app = await TestApp.StartAsync();
        var source = new PushSource(app);

        Print("one process, one watcher, 300 writes", await MeasureAsync(app, source, 300, () => TimeSpan.FromMilliseconds(5)), "median at most 100 ms");
    }

    [Test]
    public async Task Event_Arrives_WhenAnotherProcessWrites()
    {
        using var folder = new TemporaryFolder();
        await using var app = await TestApp.StartAsync(folder: folder);
        // What another process is to this one: a store of its own on the same file, whose writes nobody here is told of.
        await using var other = new SqliteMessageStore(
            $"Data Source={System.IO.Path.Combine(folder.Path, "imagequeue.db")}", TimeProvider.System, new MessageSignal());

        var random = new Random(1);
        Print(
            "two processes on one database, one watcher, 60 writes at any time",
            await MeasureAsync(app, new PushSource(app, other), 60, () => TimeSpan.FromMilliseconds(random.Next(500))),
            "each at most 1 s");
    }

    [TestCase(1000, 200, Description = "Each picture watched by five: a chat app's usual load.")]
    [TestCase(1000, 1, Description = "Everybody watches everything: 200,000 events a second.")]
    public async Task Watchers_GetEveryUpdateInTime_AtTwoHundredUpdatesASecond(int watcherCount, int conversations)
    {
        const int updatesPerSecond = 200;
        var duration = TimeSpan.FromSeconds(20);
        await using var app = await TestApp.StartAsync();
        var store = app.Services.GetRequiredService<IMessageStore>();
        var source = new PushSource(app);
        var messages = new List<Message>();
        for (var i = 0; i < 200; i++)
            messages.Add(await source.BeginAsync(string.Create(CultureInfo.InvariantCulture, $"c{i % conversations}")));

        var empty = GC.GetTotalMemory(forceFullCollection: true);
        var watchers = new List<Watcher>();
        var latencies = new Latencies();
        for (var i = 0; i < watcherCount; i++)
            watchers.Add(await Watcher.ConnectAsync(app.Address, latencies, string.Create(CultureInfo.InvariantCulture, $"c{i % conversations}")));
        var connected = GC.GetTotalMemory(forceFullCollection: true);

        var (updates, heaps, cpu) = (0, new List<long>(), Process.GetCurrentProcess().TotalProcessorTime);
        var started = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(started) is var elapsed && elapsed < duration)
        {
            var due = (int)(elapsed.TotalSeconds * updatesPerSecond) - updates;
            await Task.WhenAll(Enumerable.Range(updates, due).Select(i => UpdateAsync(store, messages[i % messages.Count], i / messages.Count)));
            updates += due;
            if (heaps.Count < elapsed.TotalSeconds)
                heaps.Add(GC.GetTotalMemory(forceFullCollection: false));
            await Task.Delay(10);
        }

        var took = Stopwatch.GetElapsedTime(started);
        cpu = Process.GetCurrentProcess().TotalProcessorTime - cpu;
        await Task.Delay(1500);
        var after = GC.GetTotalMemory(forceFullCollection: true);

        var expected = (long)updates * watcherCount / conversations;
        Print(
            $"{watcherCount} watchers of {conversations} conversation(s), {updates / took.TotalSeconds:0} updates/s: {latencies.Count / took.TotalSeconds:0} events/s, {100.0 * latencies.Count / expected:0.0} % of all (where it is less, newer states came instead)",
            latencies,
            "p99 at most 1000 ms");
        TestContext.Out.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"  heap: {Mega(empty)} before, {Mega(connected)} with all connected ({(connected - empty) / 1024.0 / watcherCount:0.0} KB each, both ends), {Mega(heaps.Max())} at most while running, {Mega(after)} after; CPU of server and clients: {cpu / took * 100:0} % of one core"));

        foreach (var watcher in watchers)
            watcher.Dispose();
    }

    /// <summary>The prompt tells the watcher when the write began.</summary>
    private static Task<Message> UpdateAsync(IMessageStore store, Message message, int round) => store.UpdateMessageAsync(
        message.Id,
        null,
        MetadataPatch.Of((MetadataFields.Progress, round % 100), (MetadataFields.Prompt, Stopwatch.GetTimestamp().ToString(CultureInfo.InvariantCulture))),
        CancellationToken.None);

    private static async Task<Latencies> MeasureAsync(TestApp app, PushSource source, int writes, Func<TimeSpan> pause)
    {
        var message = await source.BeginAsync();
        using var events = await SseReader.OpenAsync(app.Http, Path);
        var times = new Latencies();
        for (var i = 0; i < writes + 20; i++)
        {
            var started = Stopwatch.GetTimestamp();
            await source.ProgressAsync(message, i * 99 / (writes + 20));
            await events.ReadAsync();
            if (i >= 20) // The first ones are compiled on the way.
                times.Add(Stopwatch.GetElapsedTime(started));
            await Task.Delay(pause());
        }

        return times;
    }

    private static void Print(string what, Latencies latencies, string goal) => TestContext.Out.WriteLine(string.Create(
        CultureInfo.InvariantCulture,
        $"{what}\n  median {latencies.Below(0.5):0.0} ms, p99 {latencies.Below(0.99):0.0} ms, most {latencies.Below(1):0.0} ms ({goal})"));

    private static string Mega(long bytes) => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1024.0 / 1024:0.0} MB");

    /// <summary>Counts by tenths of a millisecond up to ten seconds: millions of them must not be mistaken for the server's memory.</summary>
    private sealed class Latencies
    {
        private readonly long[] _counts = new long[100_001];

        public long Count => _counts.Sum();

        public void Add(TimeSpan latency) => Interlocked.Increment(ref _counts[Math.Min(_counts.Length - 1, (int)(latency.TotalMilliseconds * 10))]);

        /// <summary>The milliseconds that this share of them took at the most.</summary>
        public double Below(double share)
        {
            var (left, bucket) = ((long)Math.Ceiling(Count * share), -1);
            while (left > 0)
                left -= _counts[++bucket];
            return (bucket + 1) / 10.0;
        }
    }

    /// <summary>A client that costs as little as one can, since it runs on the server's own cores.</summary>
    private sealed class Watcher(Latencies latencies) : IDisposable
    {
        private static readonly byte[] Mark = "\"prompt\":\""u8.ToArray();

        private readonly TcpClient _client = new();
        private readonly byte[] _buffer = new byte[8 * 1024];

        public static async Task<Watcher> ConnectAsync(Uri server, Latencies latencies, string conversation)
        {
            var watcher = new Watcher(latencies);
            await watcher._client.ConnectAsync(server.Host, server.Port);
            await watcher._client.GetStream().WriteAsync(Encoding.ASCII.GetBytes($"GET /api/conversations/{conversation}/events HTTP/1.1\r\nHost: localhost\r\n\r\n"));
            var read = await watcher._client.GetStream().ReadAsync(watcher._buffer);
            Assert.That(Encoding.ASCII.GetString(watcher._buffer, 0, read), Does.StartWith("HTTP/1.1 200"));
            _ = watcher.ReadAsync();
            return watcher;
        }

        public void Dispose() => _client.Dispose();

        private async Task ReadAsync()
        {
            try
            {
                var kept = 0;
                while (await _client.GetStream().ReadAsync(_buffer.AsMemory(kept)) is > 0 and var read)
                    kept = Take(kept + read, Stopwatch.GetTimestamp());
            }
            catch (Exception e) when (e is IOException or ObjectDisposedException or SocketException)
            {
                // Over.
            }
        }

        /// <returns>How much is kept for the next reading.</returns>
        private int Take(int length, long now)
        {
            var rest = _buffer.AsSpan(0, length);
            while (rest.IndexOf(Mark) is >= 0 and var at)
            {
                var value = rest[(at + Mark.Length)..];
                if (value.IndexOf((byte)'"') is not (>= 0 and var end))
                {
                    rest = rest[at..];
                    break;
                }

                if (long.TryParse(value[..end], CultureInfo.InvariantCulture, out var written))
                    latencies.Add(Stopwatch.GetElapsedTime(written, now));
                rest = value[end..];
            }

            var keep = rest.Length > 512 ? rest[^512..] : rest;
            keep.CopyTo(_buffer);
            return keep.Length;
        }
    }
}
