using System.Text.RegularExpressions;
using ImageQueue.Tests.Simulator;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.Time.Testing;
using Microsoft.Playwright;
using NUnit.Framework;

using static Microsoft.Playwright.Assertions;

namespace ImageQueue.Tests.Journeys;

/// <summary>The demo chat page while refreshes, restarts and lost networks get in its way: it ends in the right state by itself.</summary>
[TestFixture]
[Category(Categories.Process)]
internal sealed partial class ChatPageResilienceTests : ChatPageFixture
{
    private static readonly LocatorAssertionsToHaveAttributeOptions Patient = new() { Timeout = 60_000 };

    private static readonly LocatorAssertionsToBeVisibleOptions PatientlyVisible = new() { Timeout = 60_000 };

    private FakeTimeProvider _clock = null!; // Both set before each test.
    private SimulatorServer _backend = null!;
    private bool _hadOutage;

    [SetUp]
    public async Task SetUp()
    {
        _hadOutage = false;
        _clock = new FakeTimeProvider();
        _backend = await SimulatorServer.StartAsync(secondsPerImage: 20, _clock);
    }

    [TearDown]
    public async Task TearDown() => await _backend.DisposeAsync();

    // Chromium writes a line of its own for each request that found no server; a page cannot keep it from that.
    private protected override bool IsExpected(string error) =>
        _hadOutage && error.StartsWith("Failed to load resource: net::", StringComparison.Ordinal);

    [Test]
    public async Task Refresh_ShowsProgressAndPreviewAgain_WhileProcessing()
    {
        await using var app = await TestApp.StartAsync(Settings());
        await using var context = await Browser.OpenAsync(app);
        var page = await EnterAsync(context);
        await SendAsync(page, "bir kedi");
        var card = Card(page);
        await GenerateHalfAsync();
        await Expect(card).ToHaveClassAsync(HasPreview(), new() { Timeout = 60_000 });
        await Expect(page).ToHaveTitleAsync(Percent());
        var before = await ProgressAsync(card);

        await page.ReloadAsync();

        await Expect(card).ToHaveClassAsync(HasPreview());
        Assert.That(await ProgressAsync(card), Is.GreaterThanOrEqualTo(before));
        Assert.That(await card.Locator("img.preview").EvaluateAsync<int>("image => image.naturalWidth"), Is.InRange(64, 512));
        await using var running = Run();
        await AssertCompleteAsync(card);
        await Expect(card).Not.ToHaveClassAsync(HasPreview());
        await Expect(page).ToHaveTitleAsync(new Regex("bir kedi"));
    }

    [Test]
    public async Task Restart_IsLivedThrough_WhileProcessing()
    {
        _hadOutage = true;
        using var folder = new TemporaryFolder();
        var urls = $"http://127.0.0.1:{Ports.FindFree()}";
        var first = await TestApp.StartAsync(Settings(urls), folder);
        await using var context = await Browser.OpenAsync(first);
        var page = await EnterAsync(context);
        await SendAsync(page, "bir kedi");
        await SendAsync(page, "bir köpek");
        await GenerateHalfAsync();
        await Expect(Card(page)).ToHaveClassAsync(HasPreview(), new() { Timeout = 60_000 });

        await first.DisposeAsync();
        await Expect(page.GetByTestId("offline")).ToBeVisibleAsync(PatientlyVisible);
        await using var running = Run();
        await using var second = await TestApp.StartAsync(Settings(urls), folder);

        await AssertCompleteAsync(Card(page, 0));
        await AssertCompleteAsync(Card(page, 1));
        await Expect(page.GetByTestId("offline")).ToBeHiddenAsync();
    }

    [Test]
    public async Task Offline_IsSaid_AndLivedThrough()
    {
        _hadOutage = true;
        await using var app = await TestApp.StartAsync(Settings());
        await using var context = await Browser.OpenAsync(app);
        var page = await EnterAsync(context);
        await SendAsync(page, "bir kedi");
        await Expect(Card(page)).ToHaveAttributeAsync("data-status", "processing", Patient);

        await context.SetOfflineAsync(true);
        await Expect(page.GetByTestId("offline")).ToBeVisibleAsync(PatientlyVisible);
        await using var running = Run();
        await app.WaitForAsync(await IdAsync(Card(page)), "complete");
        await context.SetOfflineAsync(false);

        await AssertCompleteAsync(Card(page));
        await Expect(page.GetByTestId("offline")).ToBeHiddenAsync();
    }

    [Test]
    public async Task CutLine_IsSaid_AndLivedThrough()
    {
        _hadOutage = true;
        await using var app = await TestApp.StartAsync(Settings());
        await using var line = new TcpProxy(app.Address.Host, app.Address.Port);
        await using var context = await Browser.OpenAsync(app, new() { BaseURL = $"http://127.0.0.1:{line.Port}" });
        var page = await EnterAsync(context);
        await SendAsync(page, "bir kedi");
        await Expect(Card(page)).ToHaveAttributeAsync("data-status", "processing", Patient);

        line.Cut();
        await Expect(page.GetByTestId("offline")).ToBeVisibleAsync(PatientlyVisible);
        await using var running = Run();
        await app.WaitForAsync(await IdAsync(Card(page)), "complete");
        line.Mend();

        await AssertCompleteAsync(Card(page));
        await Expect(page.GetByTestId("offline")).ToBeHiddenAsync();
    }

    [Test]
    public async Task TwoTabs_ShowTheSame_WhicheverActs()
    {
        await using var app = await TestApp.StartAsync(Settings());
        await using var context = await Browser.OpenAsync(app);
        var one = await EnterAsync(context);
        await SendAsync(one, "bir kedi");
        await Expect(Card(one)).ToHaveAttributeAsync("data-status", "processing", Patient);
        var two = await context.NewPageAsync();
        await two.GotoAsync(one.Url);
        await GenerateHalfAsync();
        await Expect(Card(two)).ToHaveClassAsync(HasPreview(), new() { Timeout = 60_000 });

        await Card(two).GetByTestId("cancel").ClickAsync();
        await Expect(Card(one)).ToHaveAttributeAsync("data-status", "cancelled");
        await Expect(Card(one)).Not.ToHaveClassAsync(HasPreview());

        await Card(one).GetByTestId("retry").ClickAsync();
        await GenerateUntilAsync(async () => await Card(two).GetAttributeAsync("data-status") == "processing");
        await SendAsync(two, "bir köpek");
        await Expect(Card(one, 1)).ToHaveAttributeAsync("data-position", "1");

        await using var running = Run();
        foreach (var page in new[] { one, two })
        {
            await AssertCompleteAsync(Card(page, 0));
            await AssertCompleteAsync(Card(page, 1));
        }
    }

    [Test]
    public async Task Notification_TellsOfTheImage_WhenAskedForAndNobodyLooks()
    {
        await using var app = await TestApp.StartAsync(Settings());
        await using var context = await Browser.OpenAsync(app);
        // What a headless browser has none of: notifications, and a tab in the background.
        await context.AddInitScriptAsync(
            """
            window.asked = 0;
            window.told = [];
            window.Notification = class {
              static permission = 'default';
              static async requestPermission() { window.asked++; return window.Notification.permission = 'granted'; }
              constructor(title, options) { window.told.push(`${title}: ${options.body}`); }
              addEventListener() {}
              close() {}
            };
            Object.defineProperty(document, 'hidden', { get: () => window.inBackground === true });
            """);
        var page = await EnterAsync(context);
        Assert.That(await page.EvaluateAsync<int>("window.asked"), Is.Zero, "no permission is requested unasked");
        var label = await page.Locator("#notify").InnerTextAsync();
        await page.Locator("#notify").ClickAsync();
        await Expect(page.Locator("#notify")).ToHaveAttributeAsync("aria-pressed", "true");
        await Expect(page.Locator("#notify")).ToHaveTextAsync(label, new() { UseInnerText = true });
        await SendAsync(page, "bir kedi");

        await page.EvaluateAsync("() => { window.inBackground = true; document.dispatchEvent(new Event('visibilitychange')); }");
        await using var running = Run();
        await Expect(Card(page)).ToHaveAttributeAsync("data-status", "complete", Patient);

        Assert.That(await page.EvaluateAsync<string[]>("window.told"), Has.Exactly(1).Items.And.All.EndsWith(": bir kedi"));
        await Expect(page).ToHaveTitleAsync(new Regex("^✓"));
    }

    private Dictionary<string, string?> Settings(string url = "http://127.0.0.1:0") =>
        new(SimulatorServer.Settings(_backend)) { ["Urls"] = url, ["Forge:PollInterval"] = "00:00:00.2" };

    /// <summary>Lets time pass for the backend until its image has a preview, however slow the page is.</summary>
    private Task GenerateHalfAsync() => GenerateUntilAsync(
        async () => (await _backend.GetAsync("sdapi/v1/progress")).GetProperty("progress").GetDouble() >= 0.5);

    private Task GenerateUntilAsync(Func<Task<bool>> condition) => Until.TrueAsync(async () =>
    {
        if (await condition())
            return true;
        _clock.Advance(TimeSpan.FromSeconds(0.5));
        return false;
    });

    /// <summary>The backend works from here on, in a fiftieth of the time.</summary>
    private Timer Run() => new(_ => _clock.Advance(TimeSpan.FromSeconds(1)), null, TimeSpan.Zero, TimeSpan.FromMilliseconds(20));

    private static async Task<long> IdAsync(ILocator card) =>
        long.Parse((await card.GetAttributeAsync("data-testid"))!["message-".Length..], CultureInfo.InvariantCulture);

    private static async Task AssertCompleteAsync(ILocator card)
    {
        await Expect(card).ToHaveAttributeAsync("data-status", "complete", Patient);
        await Expect(card.GetByTestId("image")).ToBeVisibleAsync(PatientlyVisible);
        await Expect(card.GetByTestId("image")).ToHaveJSPropertyAsync("naturalWidth", 512, new() { Timeout = 30_000 });
    }

    [GeneratedRegex("\\bhas-preview\\b")]
    private static partial Regex HasPreview();

    [GeneratedRegex("^%\\d+")]
    private static partial Regex Percent();
}
