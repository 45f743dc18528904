using System.Diagnostics;
using ImageQueue.Core.Hosting;
using ImageQueue.Tests.Benchmarks.Support;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Benchmarks;

/// <summary>
/// How long a change takes from before its write to its watchers, over real connections, against an app that writes as much and
/// serves watchers from memory. Clients and server share the machine.
/// Run: <c>dotnet test -c Release --filter FullyQualifiedName~FeedBenchmark</c>.
/// </summary>
[TestFixtureSource(typeof(BenchmarkStorage), nameof(BenchmarkStorage.Names))]
[Explicit("A benchmark: prints milliseconds.")]
[Category(Categories.Benchmark)]
[NonParallelizable]
internal sealed class FeedBenchmark(string storageName)
{
    private static readonly TimeSpan Duration = TimeSpan.FromSeconds(6);

    [TestCase(1, 1, 20)]
    [TestCase(100, 20, 200)]
    [TestCase(1000, 200, 200, Description = "Each conversation watched by five: a chat app's usual load.")]
    [TestCase(1000, 1, 50, Description = "Every client watches everything: 50,000 events a second.")]
    public async Task Watchers_GetEveryUpdateInTime(int watchers, int conversations, int updatesPerSecond)
    {
        var ours = await OursAsync(watchers, conversations, updatesPerSecond);
        var bare = await BareAsync(watchers, conversations, updatesPerSecond);

        var what = string.Create(
            CultureInfo.InvariantCulture,
            $"write to event, {watchers:n0} {(watchers == 1 ? "watcher" : "watchers")} of {conversations}, {updatesPerSecond} writes/s, "
                + $"{storageName}");
        const string baseline = "from memory";
        BenchmarkTable.Add($"{what}: p50", "ms", ours.Below(0.5), new Baseline(baseline, [bare.Below(0.5)]));
        BenchmarkTable.Add(
            $"{what}: p99",
            "ms",
            ours.Below(0.99),
            new Baseline(baseline, [bare.Below(0.99)]),
            conversations == 1 && watchers > 1 ? Bar.AtMost(1000, "ms") : null);
    }

    /// <summary>The server is another process: both ends of so many connections are more than one may have open.</summary>
    [Test]
    public async Task TenThousandWatchers_GetEveryUpdateInTime()
    {
        const int watchers = 10_000;
        const int conversations = 2000;
        const int updatesPerSecond = 200;
        var few = await OursAsync(1000, 200, updatesPerSecond);
        await using var storage = await BenchmarkStorage.CreateAsync(storageName);
        var settings = storage.Environment;
        (settings["Limits__StreamsPerAddress"], settings["Limits__StreamsPerKey"]) = ("20000", "20000");
        (settings["Limits__RequestsPerAddress"], settings["Limits__RequestsPerKey"]) = ("10000", "10000");
        await using var app = await AppProcess.StartAsync(storage.Folder.Path, new Uri("http://127.0.0.1:9"), settings);
        var ids = new List<long>();
        for (var i = 0; i < conversations; i++)
        {
            using var body = new StringContent("""{"username":"ayşe","role":"bot","content":"a"}""", Encoding.UTF8, "application/json");
            using var answer = await app.Http.PostAsync($"api/conversations/c{i}/messages", body);
            ids.Add((long)(await TestApp.ReadAsync(answer))["id"]!);
        }

        var latencies = await MeasureAsync(app.Http.BaseAddress!, watchers, conversations, updatesPerSecond, async i =>
        {
            using var body = new StringContent(
                $$$"""{"extra_metadata":{"{{{Watcher.Field}}}":"{{{Watcher.Now()}}}"}}""", Encoding.UTF8, "application/merge-patch+json");
            using var answer = await app.Http.PatchAsync(
                string.Create(CultureInfo.InvariantCulture, $"api/messages/{ids[i % ids.Count]}"), body);
            answer.EnsureSuccessStatusCode();
        });

        var what = FormattableString.Invariant(
            $"PATCH to event, {watchers:n0} watchers of {conversations}, {updatesPerSecond} writes/s, {storageName}");
        const string baseline = "1,000 watchers";
        BenchmarkTable.Add($"{what}: p50", "ms", latencies.Below(0.5), new Baseline(baseline, [few.Below(0.5)]));
        BenchmarkTable.Add($"{what}: p99", "ms", latencies.Below(0.99), new Baseline(baseline, [few.Below(0.99)]), Bar.AtMost(250, "ms"));
    }

    /// <summary>Written by a store of its own on the same database, whose writes the app is not signalled of.</summary>
    [Test]
    public async Task Watcher_SeesAnotherProcessesWrite_Soon()
    {
        await using var storage = await BenchmarkStorage.CreateAsync(storageName);
        await using var app = await TestApp.StartAsync(storage.Settings, storage.Folder);
        await using var other = storage.Open(new AsyncSignal());
        var message = await AddAsync(other.Store, "c0");
        var latencies = new Latencies();
        using var watcher = await Watcher.ConnectAsync(app.Address, latencies, "c0");
        var random = new Random(1);
        for (var i = 0; i < 60; i++)
        {
            var seen = latencies.Count;
            await WriteAsync(other.Store, message);
            await Until.TrueAsync(() => latencies.Count > seen, "the write is seen");
            await Task.Delay(random.Next(250)); // At any time between two looks.
        }

        var (idle, watched) = (await IdleLoadAsync(null), await IdleLoadAsync(app));
        BenchmarkTable.Add($"another process's write to event, {storageName}: p50", "ms", latencies.Below(0.5), bar: Bar.AtMost(50, "ms"));
        BenchmarkTable.Add($"another process's write to event, {storageName}: p99", "ms", latencies.Below(0.99));
        BenchmarkTable.Add(
            $"idle load with a watcher, {storageName}", "% of a core", watched, new Baseline("this process without it", [idle]));
    }

    private static async Task<double> IdleLoadAsync(TestApp? app)
    {
        var latencies = new Latencies();
        using var watcher = app is null ? null : await Watcher.ConnectAsync(app.Address, latencies, "nothing-happens-here");
        var (cpu, started) = (Process.GetCurrentProcess().TotalProcessorTime, Stopwatch.GetTimestamp());
        await Task.Delay(TimeSpan.FromSeconds(4));
        return (Process.GetCurrentProcess().TotalProcessorTime - cpu) / Stopwatch.GetElapsedTime(started) * 100;
    }

    private async Task<Latencies> OursAsync(int watchers, int conversations, int updatesPerSecond)
    {
        await using var storage = await BenchmarkStorage.CreateAsync(storageName);
        await using var app = await TestApp.StartAsync(storage.Settings, storage.Folder);
        var store = app.Services.GetRequiredService<IMessageStore>();
        var messages = new List<Message>();
        for (var i = 0; i < 200; i++)
            messages.Add(await AddAsync(store, Conversation(i % conversations)));
        return await MeasureAsync(
            app.Address, watchers, conversations, updatesPerSecond, i => WriteAsync(store, messages[i % messages.Count]));
    }

    private async Task<Latencies> BareAsync(int watchers, int conversations, int updatesPerSecond)
    {
        await using var storage = await BenchmarkStorage.CreateAsync(storageName);
        await using var app = await BareApp.StartAsync(storage);
        var ids = new List<long>();
        for (var i = 0; i < 200; i++)
            ids.Add(await app.InsertAsync(Conversation(i % conversations), new BareRequest("ayşe", "a")));
        return await MeasureAsync(app.Address, watchers, conversations, updatesPerSecond, i => app.WriteAsync(
            ids[i % ids.Count], Conversation(
                i % ids.Count % conversations),
                $$$"""{"id":{{{ids[i % ids.Count]}}},"extra_metadata":{"{{{Watcher.Field}}}":"{{{Watcher.Now()}}}"}}"""));
    }

    private static async Task<Latencies> MeasureAsync(
        Uri server, int watcherCount, int conversations, int updatesPerSecond, Func<int, Task> write)
    {
        var watchers = new List<Watcher>();
        try
        {
            var latencies = new Latencies();
            for (var i = 0; i < watcherCount; i++)
                watchers.Add(await Watcher.ConnectAsync(server, latencies, Conversation(i % conversations)));
            await WriteForAsync(TimeSpan.FromSeconds(1.5), updatesPerSecond, write);
            latencies.Clear(); // The first ones are compiled on the way.
            await WriteForAsync(Duration, updatesPerSecond, write);
            await Task.Delay(500); // The last ones are on their way.
            Assert.That(latencies.Count, Is.Positive);
            return latencies;
        }
        finally
        {
            foreach (var watcher in watchers)
                watcher.Dispose();
        }
    }

    private static async Task WriteForAsync(TimeSpan duration, int updatesPerSecond, Func<int, Task> write)
    {
        var (updates, started) = (0, Stopwatch.GetTimestamp());
        while (Stopwatch.GetElapsedTime(started) is var elapsed && elapsed < duration)
        {
            var due = (int)(elapsed.TotalSeconds * updatesPerSecond) - updates;
            await Task.WhenAll(Enumerable.Range(updates, due).Select(write));
            updates += due;
            await Task.Delay(5);
        }
    }

    private static Task<Message> AddAsync(IMessageStore store, string conversation) =>
        store.AddAsync(new NewMessage(conversation, "ayşe", MessageRole.Bot, "a", MetadataPatch.Empty), CancellationToken.None);

    private static Task<Message> WriteAsync(IMessageStore store, Message message) =>
        store.UpdateMessageAsync(message.Id, null, MetadataPatch.Of((Watcher.Field, Watcher.Now())), CancellationToken.None);

    private static string Conversation(int i) => string.Create(CultureInfo.InvariantCulture, $"c{i}");
}
