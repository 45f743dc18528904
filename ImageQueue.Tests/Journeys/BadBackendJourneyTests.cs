using Hangfire;
using ImageQueue.Core.Backends;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Queue;
using ImageQueue.Tests.Simulator;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Simulator;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Journeys;

/// <summary>No request is charged for a bad backend: each fault of one, beside good ones.</summary>
[Parallelizable(ParallelScope.All)]
[Category(Categories.App)]
internal sealed class BadBackendJourneyTests
{
    private static readonly object Small = new { width = 64, height = 64, steps = 4 };

    /// <summary>Faults that hit every request of a server.</summary>
    [TestCase(SimulatorFaults.Cuda)]
    [TestCase(SimulatorFaults.Unavailable)]
    [TestCase(SimulatorFaults.Unauthorized)]
    [TestCase(SimulatorFaults.Reset)]
    [TestCase(SimulatorFaults.NotJson)]
    [TestCase(SimulatorFaults.Loading)]
    [TestCase(SimulatorFaults.ServerError)]
    [TestCase(SimulatorFaults.Truncated)]
    [TestCase(SimulatorFaults.Garbage)]
    [TestCase(SimulatorFaults.Nan)]
    public async Task RequestsComplete_WhenAGoodBackendCanGenerateThem(string fault)
    {
        await using var bad = await SimulatorServer.StartAsync(millisecondsPerImage: 20);
        await using var good = await SimulatorServer.StartAsync(millisecondsPerImage: 20);
        await using var app = await StartAsync(bad, good);
        await HealthyAsync(app, 2);
        bad.Break(fault);

        var ids = await SubmitAsync(app, 12);

        await CompleteAsync(app, ids);
        Assert.That(Attempts(bad), Is.LessThanOrEqualTo(2), "then canaries alone test it");
        Assert.That(
            good.Stats.Received.Where(request => request.Outcome == "200" && request.Prompt != Canary.Prompt)
                .DistinctBy(request => request.Prompt)
                .Count(),
            Is.EqualTo(12));
        var queue = await TestApp.ReadAsync(await app.Http.GetAsync("api/queue"));
        Assert.That((bool?)queue["backends"]![0]!["healthy"], Is.False, queue.ToJsonString());

        bad.Mend();
        var mended = TimeProvider.System.GetTimestamp();
        await HealthyAsync(app, 2, TimeSpan.FromSeconds(16));
        var before = Attempts(bad);
        good.MillisecondsPerImage = 400;
        await CompleteAsync(app, await SubmitAsync(app, 6));
        Assert.That(Attempts(bad), Is.GreaterThan(before), "it has work again");
        TestContext.Out.WriteLine($"{fault}: healthy again after {TimeProvider.System.GetElapsedTime(mended).TotalSeconds:0.0} s");
    }

    [TestCase(SimulatorFaults.Cuda)]
    [TestCase(SimulatorFaults.Unavailable)]
    [TestCase(SimulatorFaults.Unauthorized)]
    public async Task RequestsWait_WhenAllBackendsAreBad_AndCompleteWhenTheFirstIsBack(string fault)
    {
        await using var one = await SimulatorServer.StartAsync(millisecondsPerImage: 20);
        await using var two = await SimulatorServer.StartAsync(millisecondsPerImage: 20);
        await using var app = await StartAsync(one, two);
        await HealthyAsync(app, 2);
        one.Break(fault);
        two.Break(fault);

        var ids = await SubmitAsync(app, 8);
        await HealthyAsync(app, 0);
        await Until.TrueAsync(
            async () => (int)(await TestApp.ReadAsync(await app.Http.GetAsync("api/queue")))["processing"]! == 0,
            "no request is on an unhealthy backend");

        var queue = await TestApp.ReadAsync(await app.Http.GetAsync("api/queue"));
        Assert.That((int)queue["waiting"]!, Is.EqualTo(8), queue.ToJsonString());
        Assert.That((int)queue["processing"]!, Is.Zero);
        var hangfire = app.Services.GetRequiredService<JobStorage>().GetMonitoringApi();
        Assert.That(
            (hangfire.EnqueuedCount(ImageJobs.QueueName), hangfire.ProcessingCount(), hangfire.FailedCount()),
            Is.EqualTo((8, 0, 0)),
            "in Hangfire's queue, for all to see");
        foreach (var id in ids)
            Assert.That((string?)(await app.GetMessageAsync(id))["extra_metadata"]!["status"], Is.EqualTo(MessageStatus.Queued));

        two.Mend();
        await HealthyAsync(app, 1, TimeSpan.FromSeconds(16));
        var back = TimeProvider.System.GetTimestamp();
        await app.WaitForAsync(ids[0], MessageStatus.Complete);
        TestContext.Out.WriteLine(
            $"{fault}: the first image {TimeProvider.System.GetElapsedTime(back).TotalMilliseconds:0} ms after a backend was healthy");
        await CompleteAsync(app, ids);
        var generated = two.Stats.Received.Where(request => request.Outcome == "200" && request.Prompt != Canary.Prompt)
            .OrderBy(request => request.StartedNumber)
            .Select(request => request.Prompt)
            .ToList();
        // Two were sent when the servers broke; they may be a place or two late.
        for (var i = 0; i < ids.Count; i++)
            Assert.That(generated.IndexOf($"image {i}"), Is.InRange(i - 2, i + 2), string.Join(", ", generated));
    }

    [Test]
    public async Task KilledServer_CostsNoRequest()
    {
        await using var one = await SimulatorServer.StartAsync(millisecondsPerImage: 100);
        await using var two = await SimulatorServer.StartAsync(millisecondsPerImage: 100);
        await using var app = await StartAsync(one, two);
        var ids = await SubmitAsync(app, 20);
        for (var kill = 0; kill < 3; kill++)
        {
            var begun = one.Stats.Started.Count;
            await Until.TrueAsync(
                () => one.Stats.Started.Count > begun || begun + two.Stats.Started.Count >= ids.Count,
                "the first server generates again, or there is nothing left to generate");
            await one.RestartAsync();
        }

        await CompleteAsync(app, ids);
        Assert.That(one.Stats.MostInFlight, Is.LessThanOrEqualTo(1));
        Assert.That(two.Stats.MostInFlight, Is.EqualTo(1));
    }

    [Test]
    public async Task Requests_BeginInTheOrderOfTheirSubmit_OverThreeForges()
    {
        await using var one = await SimulatorServer.StartAsync(millisecondsPerImage: 5);
        await using var two = await SimulatorServer.StartAsync(millisecondsPerImage: 9);
        await using var three = await SimulatorServer.StartAsync(millisecondsPerImage: 14);
        await using var app = await StartAsync(one, two, three);
        await HealthyAsync(app, 3);
        var ids = new List<long>();
        for (var i = 0; i < 200; i++)
        {
            ids.Add((long)(await app.SubmitAsync($"image {i}", more: Small))["id"]!);
            if (i % 17 == 16)
                await app.Http.PostAsync($"api/messages/{ids[^3]}/cancel", null);
        }

        foreach (var id in ids)
            await app.WaitForAsync(id, MessageStatus.Complete, MessageStatus.Cancelled);

        var events = await app.Services.GetRequiredService<IMessageStore>().ReadEventsAsync(ids, CancellationToken.None);
        var begun = ids.Select(id => events[id].FirstOrDefault(one => one.What == RequestEventKinds.Claimed))
            .OfType<RequestEvent>()
            .Select(one => one.At)
            .ToList();

        Assert.That(begun, Is.Ordered, "claimed in the order of their submit");
        Assert.That(begun, Has.Count.GreaterThanOrEqualTo(185));
    }

    /// <summary>A task that goes on after the client's time-out must not meet the next request.</summary>
    [TestCase("forge", true)]
    [TestCase("sdcpp", false)]
    public async Task TimedOutTask_IsDrained_BeforeTheNextRequestIsSent(string kind, bool canInterrupt)
    {
        await using var forge = await SimulatorServer.StartAsync(profile: SimulatorProfile.Named(kind), millisecondsPerImage: 2500);
        await using var app = await StartAsync(
            new Dictionary<string, string?> { ["Forge:Timeout"] = "00:00:01", ["Forge:PollInterval"] = "00:00:00.1" }, forge);
        var slow = (await SubmitAsync(app, 1))[0];
        var message = await app.WaitForAsync(slow, MessageStatus.Error);
        Assert.That((string?)message["extra_metadata"]!["error_code"], Is.EqualTo(ErrorCodes.TimedOut));

        forge.MillisecondsPerImage = 50;
        var next = await SubmitAsync(app, 3);

        await CompleteAsync(app, next);
        Assert.That(forge.Stats.MostInFlight, Is.EqualTo(1), "one request at a time, whatever was given up");
        Assert.That(forge.Stats.InterruptCalls, canInterrupt ? Is.EqualTo(1) : Is.Zero);
        foreach (var id in next)
        {
            Assert.That(
                (double)(await app.GetMessageAsync(id))["extra_metadata"]!["result"]!["duration_seconds"]!,
                Is.LessThan(1.0),
                "generating alone counts");
        }
    }

    [Test]
    public async Task ThreeBackends_GenerateAlmostThreeTimesAsMuchAsOne()
    {
        var one = await PerSecondAsync(1);
        var three = await PerSecondAsync(3);

        TestContext.Out.WriteLine($"one server {one:0.00} images a second, three {three:0.00}: {three / one:0.00} times");

        static async Task<double> PerSecondAsync(int count)
        {
            var servers = new List<SimulatorServer>();
            for (var i = 0; i < count; i++)
                servers.Add(await SimulatorServer.StartAsync(millisecondsPerImage: 400));
            try
            {
                await using var app = await StartAsync([], [.. servers]);
                await HealthyAsync(app, count);
                var started = TimeProvider.System.GetTimestamp();
                await CompleteAsync(app, await SubmitAsync(app, count * 8));
                Assert.That(servers.Select(server => server.Stats.Total), Is.All.EqualTo(8).Within(1), "each has its share");
                return count * 8 / TimeProvider.System.GetElapsedTime(started).TotalSeconds;
            }
            finally
            {
                foreach (var server in servers)
                    await server.DisposeAsync();
            }
        }
    }

    private static Task<TestApp> StartAsync(params SimulatorServer[] servers) => StartAsync([], servers);

    private static Task<TestApp> StartAsync(Dictionary<string, string?> settings, params SimulatorServer[] servers)
    {
        var all = SimulatorServer.Settings(servers);
        all["Queue:MaxPendingPerUser"] = "1000";
        foreach (var (key, value) in settings)
            all[key] = value;
        return TestApp.StartAsync(all);
    }

    private static async Task<List<long>> SubmitAsync(TestApp app, int count)
    {
        var ids = new List<long>();
        for (var i = 0; i < count; i++)
            ids.Add((long)(await app.SubmitAsync($"image {i}", more: Small))["id"]!);
        return ids;
    }

    private static async Task CompleteAsync(TestApp app, IEnumerable<long> ids)
    {
        foreach (var id in ids)
        {
            var message = await app.WaitForAsync(id, MessageStatus.Complete, MessageStatus.Error, MessageStatus.Cancelled);
            Assert.That(
                (string?)message["extra_metadata"]!["status"], Is.EqualTo(MessageStatus.Complete), $"{message.ToJsonString()}\n{app.Log}");
        }
    }

    private static Task HealthyAsync(TestApp app, int count, TimeSpan? patience = null) => Until.TrueAsync(
        () =>
            app.Services.GetRequiredService<BackendPool>().Status.Count(
                backend => backend.Healthy == true) == count, $"{count} servers are healthy", patience);

    /// <summary>Requests that it was sent, without canaries.</summary>
    private static int Attempts(SimulatorServer server) => server.Stats.Received.Count(request => request.Prompt != Canary.Prompt);
}
