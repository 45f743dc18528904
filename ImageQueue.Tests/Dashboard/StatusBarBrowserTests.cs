using Deque.AxeCore.Commons;
using Hangfire;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Recovery;
using ImageQueue.Core.Webhooks;
using ImageQueue.Tests.Simulator;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Time.Testing;
using Microsoft.Playwright;
using Moq;
using NUnit.Framework;

using static Microsoft.Playwright.Assertions;

namespace ImageQueue.Tests.Dashboard;

/// <summary>The status bar shows each trouble with since when and a control, on image pages and Hangfire's own.</summary>
[Category(Categories.Process)]
internal sealed class StatusBarBrowserTests : BrowserFixture
{
    private static readonly string[] Pages = ["", "images", "backends", "failures", "recurring"];

    [TestCase(1280, ColorScheme.Light)]
    [TestCase(1280, ColorScheme.Dark)]
    [TestCase(390, ColorScheme.Light)]
    public async Task StatusBar_ShowsWhatStopsTheQueue_WithAControl(int width, ColorScheme scheme)
    {
        using var folder = new TemporaryFolder();
        var file = Path.Combine(folder.Path, "file");
        await File.WriteAllTextAsync(file, "no folder");
        await using var app = await TestApp.StartAsync(new()
        {
            ["Forge:Backends:0:Url"] = $"http://127.0.0.1:{Ports.FindFree()}",
            ["Forge:Backends:0:Name"] = "gpu1",
            ["Images:Directory"] = Path.Combine(file, "images"),
            ["Webhooks:0:Url"] = $"http://127.0.0.1:{Ports.FindFree()}/hook",
            ["Webhooks:0:Secret"] = "0123456789abcdef0123456789abcdef",
            ["Webhooks:0:Events:0"] = "message",
            ["Webhooks:AllowPrivate"] = "true",
        });
        (await app.Http.PostAsync("api/queue/pause", null)).EnsureSuccessStatusCode();
        (await app.Http.PostAsync("api/conversations/c/messages", Json("""{"username":"ayşe","role":"user","content":"Merhaba"}""")))
            .EnsureSuccessStatusCode();
        var conditions = app.Services.GetRequiredService<SystemConditions>();
        await Until.TrueAsync(
            async () =>
                (await conditions.GetAsync(CancellationToken.None)).Count(one => one.Code is ConditionCodes.WebhookFailing
                    or ConditionCodes.BackendUnhealthy) == 2,
            "backend and receiver have failed");

        await ExpectAsync(app, width, scheme,
            prepare: () => app.Services.GetRequiredService<IRecurringJobManager>().RemoveIfExists(RecurringJobs.SweepId), new()
            {
                [ConditionCodes.QueuePaused] = ("The queue is paused.", "Resume the queue"),
                [ConditionCodes.NotWritable] = ("cannot be written", "Check again"),
                [ConditionCodes.NoBackend] = ("No backend is healthy.", "Probe all"),
                [ConditionCodes.BackendUnhealthy] = ("Backend gpu1 is unhealthy:", "Probe now"),
                [ConditionCodes.SweepMissing] = ("is missing or was changed", "Schedule now"),
                [ConditionCodes.WebhookFailing] = ("Webhook receiver 127.0.0.1-", "Deliveries"),
            });
    }

    [TestCase(1280, ColorScheme.Light)]
    [TestCase(1280, ColorScheme.Dark)]
    [TestCase(390, ColorScheme.Light)]
    public async Task StatusBar_ShowsWhatSlowsTheQueue_WithAControl(int width, ColorScheme scheme)
    {
        await using var backend = await SimulatorServer.StartAsync();
        await using var paused = await SimulatorServer.StartAsync();
        await using var app = await TestApp.StartAsync(
            new()
            {
                ["Forge:Backends:0:Url"] = backend.Address.AbsoluteUri,
                ["Forge:Backends:0:Name"] = "gpu1",
                ["Forge:Backends:1:Url"] = paused.Address.AbsoluteUri,
                ["Forge:Backends:1:Name"] = "gpu2",
                ["Forge:Models:lost:Checkpoint"] = "lost.safetensors",
                ["Webhooks:0:Url"] = $"http://127.0.0.1:{Ports.FindFree()}/gone",
                ["Webhooks:0:Secret"] = "0123456789abcdef0123456789abcdef",
                ["Webhooks:AllowPrivate"] = "true",
                ["Forge:Simulator:Enabled"] = "false",
            },
            configure: builder => builder.Services.AddSingleton<IConditionSource, NoLeader>());
        (await app.Http.PostAsync("api/backends/gpu2/pause", null)).EnsureSuccessStatusCode();
        await app.Services.GetRequiredService<WebhookSuspensions>().SuspendAsync(
            app.Services.GetRequiredService<WebhookReceivers>().All[0].Name, CancellationToken.None);
        var conditions = app.Services.GetRequiredService<SystemConditions>();
        await Until.TrueAsync(
            async () => (await conditions.GetAsync(CancellationToken.None)).Any(one => one.Code == ConditionCodes.ModelMissing),
            "both were probed");

        await ExpectAsync(app, width, scheme, prepare: () => { }, new()
        {
            [ConditionCodes.ModelMissing] = ("Model lost is on no backend", "Backends"),
            [ConditionCodes.BackendPaused] = ("Backend gpu2 is paused.", "Resume"),
            [ConditionCodes.WebhookSuspended] = ("answered 410 Gone and is suspended", "Resume"),
            [ConditionCodes.LeaderMissing] = ("No process holds the lease", "Servers"),
        });
    }

    /// <summary>The controls act, the bar follows without a reload, and without trouble it is one line.</summary>
    [Test]
    public async Task StatusBar_IsCalm_WhenTheQueueIsResumed()
    {
        await using var app = await TestApp.StartAsync();
        await using var context = await Browser.OpenAsync(app);
        var page = await context.NewPageAsync();
        await Until.TrueAsync(
            async () => (await app.Services.GetRequiredService<SystemConditions>().GetAsync(CancellationToken.None)).Count == 0,
            "all is normal");
        await page.GotoAsync("hangfire/servers");
        await Expect(page.Locator(".iq-conditions")).ToHaveTextAsync("All systems normal", new() { UseInnerText = true });
        Assert.That(await page.Locator("html").GetAttributeAsync("lang"), Is.EqualTo("en"));
        await Expect(page.Locator("#footer")).ToContainTextAsync("ImageQueue ");

        (await app.Http.PostAsync("api/queue/pause", null)).EnsureSuccessStatusCode();
        await page.ReloadAsync();
        await page.GetByRole(AriaRole.Button, new() { Name = "Resume the queue" }).ClickAsync();

        await Expect(page.Locator("[data-iq-list]")).ToHaveTextAsync("All systems normal");
        await Expect(page.Locator("[data-iq-result]")).ToHaveTextAsync("Resume the queue: 1 done.");
    }

    /// <summary>A page that gets no answer for ten seconds says so, and is itself again with the next answer.</summary>
    [Test]
    public async Task Page_SaysSo_WhenNoAnswerComes()
    {
        await using var app = await TestApp.StartAsync();
        await using var context = await Browser.OpenAsync(app);
        var page = await context.NewPageAsync();
        await page.Clock.InstallAsync();
        await page.RouteAsync("**/live/**", _ => Task.CompletedTask); // Neither answered nor refused.
        await page.GotoAsync("hangfire/images");
        var notice = page.Locator("[data-iq-stale]");
        await Expect(notice).ToBeHiddenAsync();

        await page.Clock.RunForAsync(11_000);
        await Expect(notice).ToContainTextAsync("No answer since");
        await Expect(page.Locator("body.iq-stale")).ToHaveCountAsync(1);

        await page.UnrouteAsync("**/live/**"); // What was held goes on.
        await Expect(notice).ToBeHiddenAsync();
    }

    /// <summary>The charts of Hangfire's home page refresh every ten seconds: one answer a little late is not missing.</summary>
    [Test]
    public async Task Charts_AreNotStale_BeforeASecondAnswerIsMissing()
    {
        await using var app = await TestApp.StartAsync();
        await using var context = await Browser.OpenAsync(app);
        var page = await context.NewPageAsync();
        await page.Clock.InstallAsync();
        await page.GotoAsync("hangfire");
        await Expect(page.Locator("[data-iq-part]")).Not.ToBeEmptyAsync();
        await page.RouteAsync("**/live/overview", _ => Task.CompletedTask); // Neither answered nor refused.

        await page.Clock.FastForwardAsync(12_000);
        await Expect(page.Locator("[data-iq-stale]")).ToBeHiddenAsync();
        await page.Clock.FastForwardAsync(10_000);
        await Expect(page.Locator("[data-iq-stale]")).ToContainTextAsync("No answer since");
    }

    [Test]
    public async Task BulkCommand_SaysSo_WhenTheCountFails_AndStartsOnce()
    {
        await using var app = await TestApp.StartAsync();
        await using var context = await Browser.OpenAsync(app);
        var page = await context.NewPageAsync();
        page.Dialog += (_, dialog) => _ = dialog.AcceptAsync();
        var (counts, commands) = (0, 0);
        await page.RouteAsync("**/live/count*", async route =>
        {
            if (Interlocked.Increment(ref counts) == 1)
                await route.FulfillAsync(new() { Status = 503, ContentType = "application/json", Body = "{}" });
            else
                await route.ContinueAsync();
        });
        await page.RouteAsync("**/commands/matching/*", async route =>
        {
            Interlocked.Increment(ref commands);
            await route.ContinueAsync();
        });
        await page.GotoAsync("hangfire/images?q=kedi");
        var cancel = page.Locator("[data-iq-post$='/matching/cancel']");

        await cancel.ClickAsync();
        await Expect(page.Locator("[data-iq-said]")).ToHaveTextAsync("The matching images could not be counted. Try again.");
        await Expect(cancel).ToBeFocusedAsync();
        Browser.Errors.Clear(); // Chromium reports the refused request.

        await cancel.EvaluateAsync("button => { button.click(); button.click(); }");
        await Expect(page.Locator("[data-iq-said]")).ToContainTextAsync("started");
        Assert.That((counts, commands), Is.EqualTo((2, 1)));
    }

    /// <summary>A lease that moves is free for a moment; a missing leader is a condition after half a minute.</summary>
    [Test]
    public async Task LeaderConditions_AreFound_WhenTheLeaseStaysFree()
    {
        var (time, readiness, leases) = (new FakeTimeProvider(), new DatabaseReadiness(), new Mock<ILeaseStore>());
        readiness.Set();
        IReadOnlyList<HeldLease> held = [];
        leases.Setup(store => store.ListLeasesAsync(PositionWriter.LeaseName, It.IsAny<CancellationToken>())).ReturnsAsync(() => held);
        var source = new LeaderConditions(leases.Object, readiness, time);

        Assert.That(await source.ReadAsync(CancellationToken.None), Is.Empty);
        time.Advance(TimeSpan.FromSeconds(31));
        Assert.That((await source.ReadAsync(CancellationToken.None)).Single().Since, Is.EqualTo(time.GetUtcNow().AddSeconds(-31)));
        held = [new HeldLease(PositionWriter.LeaseName, "other", null)];
        Assert.That(await source.ReadAsync(CancellationToken.None), Is.Empty);
    }

    private async Task ExpectAsync(
        TestApp app, int width, ColorScheme scheme, Action prepare, Dictionary<string, (string Text, string Control)> expected)
    {
        await using var context = await Browser.OpenAsync(
            app, new() { ViewportSize = new() { Width = width, Height = 800 }, ColorScheme = scheme });
        var page = await context.NewPageAsync();
        var conditions = app.Services.GetRequiredService<SystemConditions>();
        foreach (var path in Pages)
        {
            prepare();
            conditions.Invalidate();
            await page.GotoAsync($"hangfire/{path}");
            foreach (var (code, (text, control)) in expected)
            {
                var row = page.Locator($"[data-iq-code={code}]");
                await Expect(row).ToContainTextAsync(text);
                await Expect(row.Locator("time")).ToHaveCountAsync(1);
                await Expect(row.Locator(".iq-controls :is(a, button)")).ToHaveTextAsync(control);
            }

            Assert.That(await page.EvaluateAsync<int>("document.documentElement.scrollWidth"), Is.LessThanOrEqualTo(width), path);
            await page.EvaluateAsync(new BundledAxeScriptProvider().GetScript());
            Assert.That(
                await page.EvaluateAsync<string[]>(
                    "async () => (await axe.run('.iq-conditions')).violations.flatMap(one => one.nodes.map(node => one.id + ': ' + "
                        + "node.html))"),
                Is.Empty,
                path);
            await ChatBrowser.ShootAsync(page, $"status-{path}-{width}-{scheme}-{expected.Count}");
        }

        Assert.That(app.Log.Of(LogLevel.Critical), Is.Empty);
    }

    private static StringContent Json(string json) => new(json, Encoding.UTF8, "application/json");

    private sealed class NoLeader : IConditionSource
    {
        public string Part => "test";

        public Task<IReadOnlyList<SystemCondition>> ReadAsync(CancellationToken cancellationToken) =>
            Task.FromResult<IReadOnlyList<SystemCondition>>(
            [new(ConditionCodes.LeaderMissing, "No process holds the lease for queue positions.") { Subject = PositionWriter.LeaseName }]);
    }
}
