using System.Diagnostics;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using Hangfire;
using Hangfire.Common;
using Hangfire.States;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Requests;
using ImageQueue.Tests.Queue;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Benchmarks;

/// <summary>
/// What 100,000 waiting requests cost: each figure beside a baseline of the same run.
/// Run: <c>dotnet test -c Release --filter FullyQualifiedName~QueueBenchmark --logger "console;verbosity=normal"</c>.
/// </summary>
[TestFixture]
[Explicit("A benchmark: takes minutes and prints ratios.")]
[Category("Benchmark")]
[NonParallelizable]
internal sealed class QueueBenchmark
{
    private const int Waiting = 100_000;

    [Test]
    public async Task Position_OfOneRequest_AgainstHangfiresMonitoringApi()
    {
        var (host, jobs) = await FillAsync();
        var monitoring = host.Storage.GetMonitoringApi();
        var random = new Random(1);

        var baseline = Median(Enumerable.Range(0, 5).Select(_ => Milliseconds(() =>
        {
            var wanted = jobs[random.Next(jobs.Count)];
            var position = ((List<KeyValuePair<string, Hangfire.Storage.Monitoring.EnqueuedJobDto>>)monitoring.EnqueuedJobs(ImageJobs.QueueName, 0, Waiting)).FindIndex(job => job.Key == wanted) + 1;
            Assert.That(position, Is.Positive);
        })));

        var times = new List<double>();
        for (var i = 0; i < 200_000; i++)
        {
            var wanted = jobs[random.Next(jobs.Count)];
            // Each hundredth reader comes after a change, so that it finds no snapshot ready.
            if (i % 100 == 0)
                host.Order.Changed();
            var started = Stopwatch.GetTimestamp();
            var position = (await host.Order.GetAsync(CancellationToken.None)).PositionOf(wanted);
            times.Add(Stopwatch.GetElapsedTime(started).TotalMilliseconds);
            Assert.That(position, Is.Positive);
        }

        times.Sort();
        var (median, mean, p99) = (times[times.Count / 2], times.Average(), times[times.Count * 99 / 100]);
        Print($"position at {Waiting:n0} waiting: mean {mean * 1000:f2} us, median {median * 1000:f2} us, p99 {p99 * 1000:f2} us; monitoring API {baseline:f0} ms; {baseline / mean:n0} times cheaper (bar: 500, p99 < 1 ms)");
        Assert.That(baseline / mean, Is.GreaterThan(500));
        Assert.That(p99, Is.LessThan(1));
    }

    [Test]
    public async Task Refresh_AfterTenChanges_AgainstAFullRead()
    {
        var (host, jobs) = await FillAsync();
        var random = new Random(2);
        var full = Median(Enumerable.Range(0, 3).Select(_ => Milliseconds(() => host.Storage.GetMonitoringApi().EnqueuedJobs(ImageJobs.QueueName, 0, Waiting))));
        var next = Waiting;

        var refreshes = new List<double>();
        for (var round = 0; round < 50; round++)
        {
            for (var change = 0; change < 4; change++)
                host.Jobs.Delete(jobs[random.Next(jobs.Count)]);
            for (var change = 0; change < 3; change++)
                host.Order.Left(host.Snapshot().At(1 + random.Next(50)));
            for (var change = 0; change < 3; change++)
                host.Jobs.Enqueue(next++);
            refreshes.Add(Milliseconds(() => host.Snapshot()));
        }

        var refresh = Median(refreshes);
        Print($"refresh with 10 changes at {Waiting:n0} waiting: {refresh * 1000:f0} us; full read {full:f0} ms; 1/{full / refresh:n0} (bar: 1/20)");
        Assert.That(refresh, Is.LessThan(full / 20));
    }

    [Test]
    public async Task Pass_OfThePositionWriter_AgainstAFullRead()
    {
        var (host, _) = await FillAsync();
        var full = Milliseconds(() => host.Storage.GetMonitoringApi().EnqueuedJobs(ImageJobs.QueueName, 0, Waiting));
        var before = host.Snapshot();
        var (rows, passes) = (0, new List<double>());
        for (var round = 0; round < 50; round++)
        {
            for (var change = 0; change < 3; change++)
                host.Order.Left(host.Snapshot().At(1));

            var now = host.Snapshot();
            passes.Add(Milliseconds(() => rows += PositionWriter.Moved(before, now).Count()));
            before = now;
        }

        Print($"position writer's look at {Waiting:n0} waiting, 3 gone: {Median(passes) * 1000:f0} us for {rows / 50} rows; full read {full:f0} ms; 1/{full / Median(passes):n0}");
    }

    [Test]
    public void Memory_OfTheOrder_AgainstBareHangfire()
    {
        var bare = LiveBytes(() =>
        {
            var storage = QueueHost.InMemory();
            var client = new BackgroundJobClient(storage);
            for (var i = 0; i < Waiting; i++)
            {
                var id = (long)i;
                client.Create(Job.FromExpression<GenerateImageJob>(job => job.RunAsync(id, null!, CancellationToken.None), ImageJobs.QueueName), new EnqueuedState(ImageJobs.QueueName));
            }

            return storage;
        });
        var ours = LiveBytes(() => FillAsync().GetAwaiter().GetResult().Host);
        Print($"live memory of the queue alone at {Waiting:n0} waiting: {ours / 1e6:f1} MB; bare Hangfire.InMemory {bare / 1e6:f1} MB; ratio {ours / (double)bare:f2} (bar: 1.3)");
        Assert.That(ours / (double)bare, Is.LessThanOrEqualTo(1.3));
    }

    [Test]
    public async Task Submit_AtALongQueue_AgainstAnEmptyOne()
    {
        const int Burst = 500;
        await using var none = await Submitter.StartAsync();
        await none.StoreAsync(Burst);
        await none.HttpAsync(Burst);
        await using var many = await Submitter.StartAsync();
        var before = LiveBytesNow();
        var filling = Stopwatch.StartNew();
        while (await many.CountWaitingAsync() < Waiting)
            await many.StoreAsync(5000);
        Print($"filled to {await many.CountWaitingAsync():n0} in {filling.Elapsed.TotalSeconds:f0} s; live memory grown by {(LiveBytesNow() - before) / 1e6:f1} MB");

        // By turns, since others use the machine too.
        var (store, http) = (new List<(double Many, double None)>(), new List<(double Many, double None)>());
        for (var round = 0; round < 15; round++)
        {
            store.Add((await PerSecondAsync(Burst, many.StoreAsync), await PerSecondAsync(Burst, none.StoreAsync)));
            http.Add((await PerSecondAsync(Burst, many.HttpAsync), await PerSecondAsync(Burst, none.HttpAsync)));
        }

        Report("store call", store);
        Report("over HTTP", http);

        static void Report(string what, List<(double Many, double None)> rounds)
        {
            var (atMany, atNone, ratio) = (Median(rounds.Select(round => round.Many)), Median(rounds.Select(round => round.None)), Median(rounds.Select(round => round.Many / round.None)));
            Print($"{what}: {atMany:n0}/s at {Waiting:n0} waiting, {atNone:n0}/s at next to none; median ratio {ratio:f2} (bar: 0.8)");
            Assert.That(ratio, Is.GreaterThan(0.8), what);
        }
    }

    /// <summary>An app where nobody paints: what is submitted waits.</summary>
    private sealed class Submitter(TestApp app) : IAsyncDisposable
    {
        private static readonly ParallelOptions Many = new() { MaxDegreeOfParallelism = 32 };

        private readonly SubmitImageRequest _submit = app.Services.GetRequiredService<SubmitImageRequest>();
        private int _sent;

        public static async Task<Submitter> StartAsync() => new(await TestApp.StartAsync(new()
        {
            ["Forge:Backends:0:Url"] = "http://127.0.0.1:9",
            ["Queue:MaxLength"] = "1000000",
        }));

        public async Task<int> CountWaitingAsync() => (await app.Services.GetRequiredService<IQueueOrder>().GetAsync(CancellationToken.None)).Count;

        public Task StoreAsync(int count) => Parallel.ForEachAsync(Enumerable.Range(0, count), Many, async (_, cancellationToken) =>
        {
            var n = Interlocked.Increment(ref _sent) / 10;
            await _submit.SubmitAsync(new ImageRequest { ConversationId = $"c{n}", Username = $"u{n}", Prompt = "a red rose" }, cancellationToken);
        });

        public Task HttpAsync(int count) => Parallel.ForEachAsync(Enumerable.Range(0, count), Many, async (_, cancellationToken) =>
        {
            var n = Interlocked.Increment(ref _sent) / 10;
            var body = new JsonObject { ["username"] = $"u{n}", ["prompt"] = "a red rose" };
            using var answer = await app.Http.PostAsJsonAsync($"api/conversations/c{n}/images", body, cancellationToken);
            answer.EnsureSuccessStatusCode();
        });

        public ValueTask DisposeAsync() => app.DisposeAsync();
    }

    private static async Task<(QueueHost Host, List<string> Jobs)> FillAsync()
    {
        var host = new QueueHost(QueueHost.InMemory(), QueueHost.Clock());
        await host.Order.GetAsync(CancellationToken.None);
        var jobs = new List<string>();
        for (var i = 0; i < Waiting; i++)
            jobs.Add(host.Jobs.Enqueue(i));
        return (host, jobs);
    }

    private static long LiveBytes(Func<object> make)
    {
        var before = LiveBytesNow();
        var made = make();
        var bytes = LiveBytesNow() - before;
        GC.KeepAlive(made);
        return bytes;
    }

    private static long LiveBytesNow()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        return GC.GetTotalMemory(forceFullCollection: true);
    }

    private static double Milliseconds(Action action)
    {
        var started = Stopwatch.GetTimestamp();
        action();
        return Stopwatch.GetElapsedTime(started).TotalMilliseconds;
    }

    private static async Task<double> PerSecondAsync(int count, Func<int, Task> action)
    {
        var started = Stopwatch.GetTimestamp();
        await action(count);
        return count / Stopwatch.GetElapsedTime(started).TotalSeconds;
    }

    private static double Median(IEnumerable<double> values)
    {
        var sorted = values.Order().ToList();
        return sorted[sorted.Count / 2];
    }

    private static void Print(FormattableString text) => TestContext.Progress.WriteLine(FormattableString.Invariant(text));
}
