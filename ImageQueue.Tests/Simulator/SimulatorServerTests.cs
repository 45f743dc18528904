using System.Diagnostics;
using System.Net;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Simulator;
using NUnit.Framework;

using static ImageQueue.Tests.Simulator.SimulatorServer;

namespace ImageQueue.Tests.Simulator;

/// <summary>Several servers in one process, and what a test may do with each.</summary>
[Category(Categories.App)]
public sealed class SimulatorServerTests
{
    [Test]
    public async Task Servers_ShareNothing_WhenOneIsBroken()
    {
        await using var good = await StartAsync();
        await using var bad = await StartAsync(profile: SimulatorProfile.A1111);
        bad.Break(SimulatorFaults.Cuda);

        using var generated = await good.GenerateAsync(task: "g");
        using var failed = await bad.GenerateAsync(task: "b");

        Assert.Multiple(async () =>
        {
            Assert.That((generated.StatusCode, failed.StatusCode), Is.EqualTo((HttpStatusCode.OK, HttpStatusCode.InternalServerError)));
            Assert.That(await failed.Content.ReadAsStringAsync(), Does.Contain("\"errors\":\"CUDA error"));
            Assert.That(good.Stats.Started, Is.EqualTo(new[] { "g" }));
            Assert.That(bad.Stats.Started, Is.EqualTo(new[] { "b" }));
            Assert.That(bad.Stats.Received[0].StartedNumber, Is.GreaterThan(good.Stats.Received[0].StartedNumber!), "one count for all");
        });
    }

    [Test]
    public void Stats_KeepTheNewestOfEachKind()
    {
        var stats = new SimulatorStats();
        for (var i = 0; i <= SimulatorStats.Kept; i++)
        {
            stats.NoteInterrupt($"{i}");
            stats.NoteUnknownPath($"GET /{i}");
        }

        var kept = stats.Snapshot();
        Assert.That((kept.Interrupts.Count, kept.UnknownPaths.Count), Is.EqualTo((SimulatorStats.Kept, SimulatorStats.Kept)));
        Assert.That((kept.Interrupts[0], kept.UnknownPaths[0]), Is.EqualTo(("1", "GET /1")));
        Assert.That(kept.InterruptCalls, Is.EqualTo(SimulatorStats.Kept + 1));
    }

    [TestCase("bir kedi", 600_000, 0.01)]
    [TestCase("[fault:hang]", 0, 0.5)]
    public async Task Kill_DropsThePortAndWhatIsInFlight_AtOnce(string prompt, int milliseconds, double progress)
    {
        await using var server = await StartAsync(millisecondsPerImage: milliseconds);
        var asked = server.GenerateAsync(prompt, "a");
        await Until.TrueAsync(
            async () => (await server.GetAsync("sdapi/v1/progress")).GetProperty("progress").GetDouble() >= progress, "it generates");

        var started = Stopwatch.GetTimestamp();
        await server.KillAsync();

        Assert.That(Stopwatch.GetElapsedTime(started), Is.LessThan(TimeSpan.FromSeconds(60)), "not when the image is done");
        Assert.That(async () => await asked, Throws.InstanceOf<HttpRequestException>());
        Assert.That(async () => await server.Client.GetAsync("internal/ping"), Throws.InstanceOf<HttpRequestException>());
        Assert.That(server.Stats.Received[0].Outcome, Is.EqualTo("stopped"));
    }

    [Test]
    public async Task Restart_IsANewProcessAtTheSameAddress()
    {
        await using var server = await StartAsync();
        var address = server.Address;
        server.Break(SimulatorFaults.Cuda);
        using (await server.GenerateAsync(task: "before"))
        {
        }

        await server.RestartAsync();
        using var generated = await server.GenerateAsync(task: "after");

        Assert.Multiple(async () =>
        {
            Assert.That(server.Address, Is.EqualTo(address));
            Assert.That(generated.StatusCode, Is.EqualTo(HttpStatusCode.OK));
            Assert.That(
                (await server.TaskProgressAsync("before")).GetProperty("active").GetBoolean(),
                Is.False,
                "it would be the current one still");
            Assert.That(server.Stats.Started, Is.EqualTo(new[] { "before", "after" }));
        });
    }

    [Test]
    public async Task Pace_IsTheSameForAnySize_WhenGivenInMilliseconds()
    {
        await using var server = await StartAsync(millisecondsPerImage: 250);

        using (await server.GenerateAsync(width: 64, height: 64))
        {
        }

        var slow = server.Stats.Received[0];
        server.MillisecondsPerImage = 0;
        using (await server.GenerateAsync(width: 64, height: 64))
        {
        }

        var fast = server.Stats.Received[1];
        Assert.That(slow.AnsweredAtMs - slow.StartedAtMs, Is.GreaterThan(245));
        Assert.That(fast.AnsweredAtMs - fast.StartedAtMs, Is.LessThan(slow.AnsweredAtMs - slow.StartedAtMs));
    }

    [Test]
    public async Task App_GeneratesOnEachOfThem()
    {
        await using var one = await StartAsync(millisecondsPerImage: 1000);
        await using var other = await StartAsync(profile: SimulatorProfile.A1111, millisecondsPerImage: 1000);
        await using var app = await TestApp.StartAsync(Settings(one, other));

        var ids = new List<long>();
        foreach (var prompt in (string[])["bir kedi", "bir köpek"])
            ids.Add((long)(await app.SubmitAsync(prompt))["id"]!);
        foreach (var id in ids)
            Assert.That((string?)(await app.WaitForAsync(id, "complete", "error"))["extra_metadata"]!["status"], Is.EqualTo("complete"));

        Assert.That((one.Stats.Generated, other.Stats.Generated, one.Stats.MostInFlight), Is.EqualTo((1, 1, 1)));
    }

    [Test]
    public async Task Settings_NameEachServer()
    {
        await using var one = await StartAsync();
        await using var other = await StartAsync(profile: SimulatorProfile.SdCpp);

        var settings = Settings(one, other);

        Assert.That(settings["Forge:Backends:1:Url"], Is.EqualTo(other.Address.AbsoluteUri));
        Assert.That(settings["Forge:Backends:1:Name"], Is.EqualTo("sdcpp-1"));
        Assert.That(settings["Forge:Simulator:Enabled"], Is.EqualTo("false"));
    }
}
