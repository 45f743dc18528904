using ImageQueue.Core.Generation;
using ImageQueue.Tests.Simulator;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Simulator;
using NUnit.Framework;

namespace ImageQueue.Tests.Journeys;

/// <summary>The state and the sentence that a request gets for each fault of Forge's.</summary>
[Category(Categories.App)]
internal sealed class ForgeFaultJourneyTests
{
    private SimulatorServer _forge = null!; // Both set before each test.
    private TestApp _app = null!;

    [SetUp]
    public async Task StartAsync()
    {
        _forge = await SimulatorServer.StartAsync();
        _app = await TestApp.StartAsync(new()
        {
            ["Forge:Backends:0:Url"] = _forge.Address.AbsoluteUri,
            ["Forge:Simulator:Enabled"] = "false",
            ["Forge:Timeout"] = "00:00:20",
            ["Forge:StallTimeout"] = "00:00:01",
            ["Forge:MaxAttempts"] = "2",
        });
    }

    [TearDown]
    public async Task StopAsync()
    {
        await _app.DisposeAsync();
        await _forge.DisposeAsync();
    }

    [TestCase(SimulatorFaults.Stalled, ErrorCodes.Stalled, "1 s boyunca ilerlemedi", 1)]
    [TestCase(SimulatorFaults.ServerError, ErrorCodes.BackendFailed, "hata verdi", 2)]
    [TestCase(SimulatorFaults.ServerErrorOfA1111, ErrorCodes.BackendFailed, "hata verdi", 2)]
    [TestCase(SimulatorFaults.OutOfMemory, ErrorCodes.OutOfMemory, "belleği yetmedi", 1)]
    [TestCase(SimulatorFaults.Truncated, ErrorCodes.BadImage, "geçerli bir görsel", 2)]
    [TestCase(SimulatorFaults.CutImage, ErrorCodes.BadImage, "geçerli bir görsel", 2)]
    [TestCase(SimulatorFaults.Garbage, ErrorCodes.BadImage, "geçerli bir görsel", 2)]
    [TestCase(SimulatorFaults.Empty, ErrorCodes.BadImage, "geçerli bir görsel", 2)]
    [TestCase(SimulatorFaults.Blank, ErrorCodes.BadImage, "geçerli bir görsel", 2)]
    [TestCase(SimulatorFaults.Nan, ErrorCodes.BadImage, "tamamen siyah", 2)]
    [TestCase(SimulatorFaults.Invalid, ErrorCodes.Rejected, "kabul etmedi", 1)]
    [TestCase(SimulatorFaults.Rejected, ErrorCodes.Rejected, "kabul etmedi", 1)]
    public async Task Request_EndsInError_WhenForgeFails(string fault, string code, string sentence, int asked)
    {
        var id = (long)(await _app.SubmitAsync($"bir gül [fault:{fault}]", more: new { width = 64, height = 64, steps = 4 }))["id"]!;

        var message = await _app.WaitForAsync(id, MessageStatus.Error, MessageStatus.Complete, MessageStatus.Cancelled);

        var metadata = message["extra_metadata"]!.AsObject();
        Assert.Multiple(() =>
        {
            Assert.That((string?)metadata["status"], Is.EqualTo(MessageStatus.Error));
            Assert.That((string?)metadata["error"], Does.Contain(sentence));
            Assert.That((string?)metadata["error_code"], Is.EqualTo(code));
            Assert.That((string?)message["content"], Is.EqualTo($"❌ Görsel oluşturulamadı: {(string?)metadata["error"]}"));
            Assert.That((int)metadata["progress"]!, Is.Zero);
            Assert.That(metadata.ContainsKey("image_url"), Is.False);
            Assert.That(_forge.Stats.Received.Count(request => request.Prompt != Canary.Prompt), Is.EqualTo(asked), "attempts");
            Assert.That(Directory.Exists(_app.ImagesFolder) ? Directory.GetFiles(_app.ImagesFolder) : [], Is.Empty);
        });
    }

    [TestCase(SimulatorFaults.Slow, 1)]
    [TestCase(SimulatorFaults.Jpeg, 1)]
    [TestCase(SimulatorFaults.WebP, 1)]
    [TestCase($"{SimulatorFaults.Reset}*1", 2)]
    [TestCase($"{SimulatorFaults.Unavailable}*1", 2)]
    [TestCase($"{SimulatorFaults.Loading}*1", 2)]
    [TestCase($"{SimulatorFaults.NotJson}*1", 2)]
    [TestCase($"{SimulatorFaults.Unauthorized}*1", 2)]
    [TestCase($"{SimulatorFaults.ServerError}*1", 2)]
    [TestCase($"{SimulatorFaults.Garbage}*1", 2)]
    public async Task Request_IsCompleted_WhenForgeIsOnlyOddOrBriefly(string fault, int asked)
    {
        var id = (long)(await _app.SubmitAsync($"bir gül [fault:{fault}]", more: new { width = 64, height = 64, steps = 4 }))["id"]!;

        var message = await _app.WaitForAsync(id, MessageStatus.Error, MessageStatus.Complete);

        Assert.That((string?)message["extra_metadata"]!["status"], Is.EqualTo(MessageStatus.Complete), message.ToJsonString());
        Assert.That(_forge.Stats.Received.Count(request => request.Prompt != Canary.Prompt), Is.EqualTo(asked), "attempts");
        var image = await _app.Http.GetByteArrayAsync((string)message["extra_metadata"]!["image_url"]!);
        Assert.That(image.Take(4), Is.EqualTo(new byte[] { 0x89, 0x50, 0x4E, 0x47 }), "PNG, whatever Forge sends");
    }

    [Test]
    public async Task Queue_KeepsItsOrder_WhenForgeGoesAwayAndComesBack()
    {
        _forge.Simulator.Faults.Set(SimulatorFaults.Unavailable);
        var ids = new List<long>();
        for (var i = 0; i < 3; i++)
            ids.Add((long)(await _app.SubmitAsync($"{i}", more: new { width = 64, height = 64, steps = 4 }))["id"]!);
        await Until.TrueAsync(
            async () =>
                (bool?)(await TestApp.ReadAsync(await _app.Http.GetAsync("api/queue")))["backends"]![0]!["healthy"] == false,
                "Forge is unhealthy");
        Assert.That((int)(await _app.GetMessageAsync(ids[2]))["queue"]!["position"]!, Is.EqualTo(3));

        _forge.Simulator.Faults.Clear();

        foreach (var id in ids)
            await _app.WaitForAsync(id, MessageStatus.Complete);
        Assert.That(
            _forge.Simulator.Stats.Snapshot()
                .Received.Where(request => request.Outcome == "200" && request.Prompt != Canary.Prompt)
                .Select(request => request.Prompt), Is.EqualTo(new[] { "0", "1", "2" }));
    }

    [Test]
    public async Task Request_EndsInError_WhenNoBackendComesBackInTime()
    {
        await using var app = await TestApp.StartAsync(new()
        {
            ["Forge:Backends:0:Url"] = "http://127.0.0.1:9",
            ["Forge:Simulator:Enabled"] = "false",
            ["Forge:WaitForBackend"] = "00:00:00.500",
        });
        var id = (long)(await app.SubmitAsync("bir gül"))["id"]!;

        var message = await app.WaitForAsync(id, MessageStatus.Error);

        Assert.That((string?)message["extra_metadata"]!["error"], Does.Contain("Forge").And.Contain("0,5 s"));
        await app.JobStateAsync(id, "Failed");
    }

    [Test]
    public async Task PausedBackend_IsNoOutage()
    {
        await using var app = await TestApp.StartAsync(new() { ["Forge:WaitForBackend"] = "00:00:00.500" });
        using var paused = await app.Http.PostAsync("api/backends/simulator/pause", null);
        Assert.That(paused.IsSuccessStatusCode, await paused.Content.ReadAsStringAsync());
        var id = (long)(await app.SubmitAsync("bir gül"))["id"]!;

        await Task.Delay(TimeSpan.FromSeconds(3));
        Assert.That((string?)(await app.GetMessageAsync(id))["extra_metadata"]!["status"], Is.EqualTo(MessageStatus.Queued));

        using var resumed = await app.Http.PostAsync("api/backends/simulator/resume", null);
        await app.WaitForAsync(id, MessageStatus.Complete);
    }
}
