using System.Text.Json.Nodes;
using Hangfire;
using Hangfire.Storage;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Recovery;
using ImageQueue.Tests.Auth;
using ImageQueue.Tests.Simulator;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Dashboard;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using NUnit.Framework;

namespace ImageQueue.Tests.Dashboard;

/// <summary>The image dashboard over HTTP: pages, commands and their effect on the rows.</summary>
[Category(Categories.App)]
internal sealed class DashboardTests
{
    private const string Hostile =
        "\"><img src=x onerror=alert(1)> <script>alert(2)</script> <style>*{display:none}</style> \" onmouseover=\"alert(3) "
            + "javascript:alert(4) {{x}} {0} \u202e";

    private AuthApp _app = null!; // All set before each test.
    private SimulatorServer _forge = null!;
    private HttpClient _operator = null!;

    [SetUp]
    public async Task StartAsync()
    {
        _forge = await SimulatorServer.StartAsync();
        _app = await AuthApp.StartAsync(new()
        {
            ["Forge:Backends:0:Url"] = _forge.Address.AbsoluteUri,
            ["Forge:Backends:0:Name"] = "gpu1",
            ["Forge:Simulator:Enabled"] = "false",
            ["Limits:RequestsPerAddress"] = "10000",
        });
        _operator = await _app.SignInAsync(AuthApp.OperatorKey);
    }

    [TearDown]
    public async Task StopAsync()
    {
        await _app.DisposeAsync();
        await _forge.DisposeAsync();
    }

    [Test]
    public async Task PauseQueue_KeepsWaitingRequests_AndFinishesRunningOnes()
    {
        var generating = await SubmitAsync("bir gül [fault:slow]");
        await _app.WaitForAsync(generating, MessageStatus.Processing);
        await ApiAsync("api/queue/pause");
        var waiting = await SubmitAsync("bir kedi");

        await _app.WaitForAsync(generating, MessageStatus.Complete);
        var queue = await QueueAsync();
        Assert.That(((bool)queue["paused"]!, (int)queue["waiting"]!), Is.EqualTo((true, 1)));
        Assert.That(
            await _operator.GetStringAsync("hangfire/images"), Does.Contain("The queue is paused.").And.Contain("By the operator, since"));

        await ApiAsync("api/queue/resume");
        await _app.WaitForAsync(waiting, MessageStatus.Complete);
    }

    [Test]
    public async Task Pause_SurvivesARestart()
    {
        using var folder = new TemporaryFolder();
        long waiting;
        await using (var first = await TestApp.StartAsync(folder: folder))
        {
            using var answer = await first.Http.PostAsync("api/queue/pause", null);
            Assert.That((int)answer.StatusCode, Is.EqualTo(200));
            waiting = (long)(await first.SubmitAsync("bir kedi", more: new { width = 64, height = 64, steps = 2 }))["id"]!;
        }

        await using var second = await TestApp.StartAsync(folder: folder);
        await Until.TrueAsync(
            async () => (int)(await TestApp.ReadAsync(await second.Http.GetAsync("api/queue")))["waiting"]! == 1, "the queue is rebuilt");
        Assert.That((bool)(await TestApp.ReadAsync(await second.Http.GetAsync("api/queue")))["paused"]!, Is.True);
        Assert.That((string?)(await second.GetMessageAsync(waiting))["extra_metadata"]!["status"], Is.EqualTo(MessageStatus.Queued));
        (await second.Http.PostAsync("api/queue/resume", null)).Dispose();
        await second.WaitForAsync(waiting, MessageStatus.Complete);
    }

    [Test]
    public async Task BackendPause_IsShown_AndRefusedForAnUnknownName()
    {
        var queue = await ApiAsync("api/backends/gpu1/pause");
        Assert.That((bool)queue["backends"]![0]!["paused"]!, Is.True);
        Assert.That(await _operator.GetStringAsync("hangfire/backends"), Does.Contain("Paused by"));

        using var unknown = await _app.As(AuthApp.OperatorKey).PostAsync("api/backends/gpu9/pause", null);
        Assert.That((int)unknown.StatusCode, Is.EqualTo(404));

        await CommandAsync("commands/backends/resume", "gpu1");
        Assert.That((bool)(await QueueAsync())["backends"]![0]!["paused"]!, Is.False);
    }

    [Test]
    public async Task MoveToFront_RunsRequestsNext_AndOnce()
    {
        await ApiAsync("api/queue/pause");
        var ids = new List<long>();
        for (var i = 0; i < 4; i++)
            ids.Add(await SubmitAsync($"bir gül {i}"));

        Assert.That(await CommandAsync("commands/images/front", $"{ids[2]}", $"{ids[3]}", "999"), Is.EqualTo((2, 1)));

        var positions = new List<int>();
        foreach (var id in ids)
            positions.Add((int)(await MessageAsync(id))["queue"]!["position"]!);
        Assert.That(positions, Is.EqualTo(new[] { 3, 4, 2, 1 }), "the last one moved is first");

        await ApiAsync("api/queue/resume");
        foreach (var id in ids)
            await _app.WaitForAsync(id, MessageStatus.Complete);
        Assert.That(
            _forge.Simulator.Stats.Snapshot().Received.Select(request => request.Task).Count(), Is.EqualTo(4), "each is generated once");
    }

    /// <summary>Hostile prompts, names and backend texts: script, attribute, style, address, template, direction, length.</summary>
    [Test]
    public async Task Pages_EncodeHostileText_AndNameJobsByUserAndPrompt()
    {
        await ApiAsync("api/queue/pause");
        var id = (long)(await _app.SubmitAsync(Hostile, "kötü<u>", "<i>ayşe</i>"))["id"]!;
        var longOne = (long)(await _app.SubmitAsync(new string('W', 4000), "uzun", new string('<', 100)))["id"]!;
        var cancelled = await SubmitAsync("bir kedi, yağlı boya");
        await CommandAsync("commands/images/cancel", $"{cancelled}");
        var store = _app.App.Services.GetRequiredService<IMessageStore>();
        var job = (await store.FindAsync(id, CancellationToken.None))!.HangfireJobId;
        Assert.That(await TextAsync("jobs/enqueued/images"), Does.Contain($"Image {id} · <i>ayşe</i> · \"><img src=x"));
        Assert.That(await TextAsync("jobs/deleted"), Does.Contain($"Image {cancelled} · ayşe · bir kedi, yağlı boya"));
        Assert.That(await TextAsync($"jobs/details/{job}"), Does.Contain("Timeline").And.Contain("Move to front"));

        // In error, with a hostile reason and a hostile key of the chat app's own.
        var failed = (long)(await _app.SubmitAsync(Hostile, "kötü<u>", "<i>ayşe</i>"))["id"]!;
        var row = (await store.FindAsync(failed, CancellationToken.None))!;
        row = (await store.ClaimAsync(failed, row.HangfireJobId!, Hostile, null, CancellationToken.None)).Message!;
        await store.FailAsync(
            failed,
            row.Attempt,
            Hostile,
            new RequestFailure(ErrorCodes.BackendFailed, Hostile) { Reason = Hostile },
            CancellationToken.None);
        await store.UpdateMessageAsync(
            failed,
            null,
            MetadataPatch.Parse("""{"<img src=x onerror=alert(1)>":["<script>alert(2)</script>"]}"""),
            CancellationToken.None);

        var hostile = Uri.EscapeDataString(Hostile);
        foreach (var path in new[]
        {
            "images", $"images?show=waiting&q={hostile}", "images?user=" + Uri.EscapeDataString("<i>ayşe</i>"),
            $"images?show=ended&q={hostile}&user={hostile}&backend={hostile}&code={hostile}",
            "images?show=ended", "images?show=error", $"images?show=error&backend={hostile}", $"images?show={hostile}",
            "images?show=running", "images?show=ended&q=kötü<u>",
            $"images/{id}", $"images/{failed}", $"images/{longOne}", "images/999", "backends", "failures",
            "live/images", "live/images?show=ended", $"live/images/{id}", $"live/images/{failed}", "live/failures", "live/backends",
            "jobs/enqueued", "jobs/enqueued/images", $"jobs/details/{job}", $"jobs/details/{row.HangfireJobId}", "", "jobs/deleted",
            "jobs/failed", "jobs/processing",
        })
        {
            var page = await _operator.GetStringAsync($"hangfire/{path}");
            Assert.That(
                page,
                Does.Not.Contain("<img src=x")
                    .And.Not.Contain("<script>alert")
                    .And.Not.Contain("<style>*")
                    .And.Not.Contain("<i>ay")
                    .And.Not.Contain("<u>")
                    .And.Not.Contain("<<<")
                    .And.Not.Contain("\uE0A0")
                    .And.Not.Contain("\" onmouseover=").And.Not.Contain("href=\"javascript:"),
                path);
        }

        Assert.That(
            await TextAsync("images"),
            Does.Contain(new string('W', 120) + "…").And.Not.Contain(new string('W', 121)),
            "a long prompt is cut");
        var turned = await SubmitAsync("sol \u202e sağ");
        var list = await TextAsync("images");
        Assert.That(list, Does.Contain($"/images/{turned}\"").And.Contain("datetime=\"20"));
        Assert.That(list.Contains('\u202e', StringComparison.Ordinal), Is.False, "bidirectional control characters are dropped");
    }

    [Test]
    public async Task Failures_AreGroupedByCodeAndBackend_AndRetriedTogether()
    {
        var ids = new List<long>();
        for (var i = 0; i < 3; i++)
            ids.Add(await SubmitAsync($"bir gül {i} [fault:oom*1]"));
        foreach (var id in ids)
        {
            await _app.WaitForAsync(id, MessageStatus.Error);
            await _app.App.JobStateAsync(id, "Failed");
        }

        var texts = _app.App.Services.GetRequiredService<MessageTexts>();
        var stock = await TextAsync("jobs/failed");
        Assert.That(stock, Does.Contain(texts.OutOfMemory).And.Not.Contain(" at ImageQueue."), "no stack of ours");
        Assert.That(await TextAsync("failures"), Does.Contain("out_of_memory").And.Contain("gpu1"));
        Assert.That(await TextAsync("images?show=error&code=out_of_memory&backend=gpu1"), Does.Contain("bir gül 2"));
        Assert.That(await TextAsync("images?show=error&code=timed_out"), Does.Contain("No images found."));

        Assert.That(await CommandAsync("commands/failures/retry", "out_of_memory|gpu1"), Is.EqualTo((3, 0)));
        foreach (var id in ids)
            await _app.WaitForAsync(id, MessageStatus.Complete);
    }

    /// <summary>After random clicks, each message and its job agree, and no attempt runs twice.</summary>
    [Test]
    public async Task HangfireCommands_ReachTheMessages_AndNothingRunsTwice()
    {
        var random = new Random(20261126);
        var ids = new List<long>();
        for (var i = 0; i < 12; i++)
            ids.Add(await SubmitAsync($"bir gül {i}"));
        var store = _app.App.Services.GetRequiredService<IMessageStore>();

        for (var round = 0; round < 8; round++)
        {
            var jobs = new List<string>();
            foreach (var id in ids.Where(_ => random.Next(3) == 0))
                jobs.Add((await store.FindAsync(id, CancellationToken.None))!.HangfireJobId!);
            var command =
                random.Next(
                    5) switch
                {
                    0 => "enqueued/delete",
                    1 => "processing/delete",
                    2 => "failed/requeue",
                    3 => "deleted/requeue",
                    _ => ""
                        + "processing/requeue"
                };
            using var clicked = await AuthApp.PostDashboardAsync(_operator, $"hangfire/jobs/{command}", [.. jobs, "none"]);
            await CommandAsync("commands/images/front", $"{ids[random.Next(ids.Count)]}");
        }

        await Until.TrueAsync(
            () => Task.FromResult(_app.App.Services.GetRequiredService<DashboardCommands>().Open().Count == 0),
            "every command has reached its message");
        foreach (var id in ids)
        {
            await Until.TrueAsync(
                async () =>
                {
                    var message = (await store.FindAsync(id, CancellationToken.None))!;
                    var state = _app.App.Services.GetRequiredService<ImageJobs>().Find(message.HangfireJobId!)?.Name;
                    return (message.Status, state) is (
                        MessageStatus.Complete, "Succeeded" or "Deleted") or (MessageStatus.Cancelled, "Deleted");
                },
                $"message {id} and its job agree"); // A message that was complete before its job was deleted stays complete.
        }

        var tasks = _forge.Simulator.Stats.Snapshot().Received.Select(request => request.Task).ToList();
        Assert.That(tasks, Is.Unique);
    }

    [TestCase("commands/images/cancel")]
    [TestCase("commands/images/retry")]
    [TestCase("commands/images/front")]
    [TestCase("commands/images/erase")]
    [TestCase("commands/failures/retry")]
    [TestCase("commands/backends/pause")]
    [TestCase("commands/backends/resume")]
    [TestCase("commands/backends/drain")]
    [TestCase("commands/backends/probe")]
    [TestCase("commands/queue/pause")]
    [TestCase("commands/queue/resume")]
    public async Task Command_IsRefused_WhenOperatorIsReadOnlyOrTokenIsMissing(string command)
    {
        var reader = await _app.SignInAsync(AuthApp.ReaderKey);
        using var looked = await AuthApp.PostDashboardAsync(reader, $"hangfire/{command}", "gpu1");
        Assert.That((int)looked.StatusCode, Is.EqualTo(403));

        using var forged = await _operator.PostAsync($"hangfire/{command}", new FormUrlEncodedContent([new("jobs[]", "gpu1")]));
        Assert.That((int)forged.StatusCode, Is.EqualTo(403));
        using var read = await _operator.GetAsync($"hangfire/{command}");
        Assert.That((int)read.StatusCode, Is.EqualTo(405));
        Assert.That((bool)(await QueueAsync())["paused"]!, Is.False);
        Assert.That(await reader.GetStringAsync("hangfire/backends"), Does.Not.Contain("data-iq-post"));
    }

    [Test]
    public async Task Sweep_IsScheduledAgain_WhenRemovedOrChanged()
    {
        var storage = _app.App.Services.GetRequiredService<JobStorage>();
        var keeper = _app.App.Services.GetServices<IHostedService>().OfType<SweepKeeper>().Single();
        await Until.TrueAsync(() => Task.FromResult(IsScheduled()), "the sweep is scheduled");
        keeper.Check();

        using var removed = await AuthApp.PostDashboardAsync(_operator, "hangfire/recurring/remove", RecurringJobs.SweepId);
        Assert.That(((int)removed.StatusCode, IsScheduled()), Is.EqualTo((204, false)));
        keeper.Check();
        Assert.That(IsScheduled(), Is.True);

        _app.App.Services.GetRequiredService<IRecurringJobManagerV2>().AddOrUpdate<Sweep>(
            RecurringJobs.SweepId, sweep => sweep.RunAsync(CancellationToken.None), Cron.Never());
        keeper.Check();
        using var connection = storage.GetConnection();
        Assert.That(connection.GetRecurringJobs([RecurringJobs.SweepId]).Single().Cron, Is.EqualTo(RecurringJobs.SweepCron));

        bool IsScheduled()
        {
            using var looking = storage.GetConnection();
            return looking.GetRecurringJobs([RecurringJobs.SweepId]) is [{ Removed: false }];
        }
    }

    private async Task<long> SubmitAsync(string prompt) => (long)(await _app.SubmitAsync(prompt))["id"]!;

    private async Task<string> TextAsync(string path) =>
        System.Net.WebUtility.HtmlDecode(await _operator.GetStringAsync($"hangfire/{path}"));

    private async Task<JsonObject> QueueAsync() => await TestApp.ReadAsync(await _app.As(AuthApp.OperatorKey).GetAsync("api/queue"));

    private async Task<JsonObject> MessageAsync(long id) => await TestApp.ReadAsync(await _app.Client().GetAsync($"api/messages/{id}"));

    private async Task<JsonObject> ApiAsync(string path)
    {
        using var response = await _app.As(AuthApp.OperatorKey).PostAsync(path, null);
        Assert.That((int)response.StatusCode, Is.EqualTo(200), await response.Content.ReadAsStringAsync());
        return await TestApp.ReadAsync(response);
    }

    private async Task<(int Done, int Refused)> CommandAsync(string path, params string[] values)
    {
        using var response = await AuthApp.PostDashboardAsync(_operator, $"hangfire/{path}", values);
        Assert.That((int)response.StatusCode, Is.EqualTo(200), await response.Content.ReadAsStringAsync());
        var answer = await TestApp.ReadAsync(response);
        return ((int)answer["done"]!, (int)answer["refused"]!);
    }
}
