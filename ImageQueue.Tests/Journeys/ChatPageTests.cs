using System.Text.RegularExpressions;
using ImageQueue.Tests.Support;
using Microsoft.Playwright;
using NUnit.Framework;

using static Microsoft.Playwright.Assertions;

namespace ImageQueue.Tests.Journeys;

/// <summary>The demo chat page, as its users meet it.</summary>
[TestFixture]
[Category(Categories.Process)]
internal sealed partial class ChatPageTests : ChatPageFixture
{
    private static readonly LocatorAssertionsToHaveAttributeOptions Patient = new() { Timeout = 60_000 };

    [Test]
    public async Task Page_ShowsPositionProgressAndImage_AndSurvivesRefreshes()
    {
        await using var app = await TestApp.StartAsync(
            new() { ["Forge:Simulator:SecondsPerImage"] = "6", ["Forge:PollInterval"] = "00:00:00.2" });
        await using var context = await Browser.OpenAsync(app);
        var page = await EnterAsync(context);

        await SendAsync(page, "bir kedi, yağlı boya");
        var first = Card(page);
        await Expect(first).ToBeVisibleAsync();
        await SendAsync(page, "ıssız bir sahil");
        var second = Card(page, 1);
        await Expect(second).ToHaveAttributeAsync("data-position", "1");
        await Expect(first).ToHaveAttributeAsync("data-status", "processing");

        var earlier = await ProgressAsync(first);
        await Expect(first).Not.ToHaveAttributeAsync("data-progress", earlier.ToString(CultureInfo.InvariantCulture));
        Assert.That(await ProgressAsync(first), Is.GreaterThan(earlier));

        var before = await ProgressAsync(first);
        await page.ReloadAsync();
        await Expect(first).ToBeVisibleAsync();
        await Expect(second).ToHaveAttributeAsync("data-status", OnTheWay());
        Assert.That(await ProgressAsync(first), Is.GreaterThanOrEqualTo(before));

        await Expect(first).ToHaveAttributeAsync("data-status", "complete", Patient);
        await Expect(second).ToHaveAttributeAsync("data-status", "processing", Patient);
        await Expect(second).ToHaveAttributeAsync("data-status", "complete", Patient);
        await AssertImageAsync(first);
        await AssertImageAsync(second);

        await page.ReloadAsync();
        await Expect(second).ToHaveAttributeAsync("data-status", "complete");
        await AssertImageAsync(second);
    }

    [Test]
    public async Task SecondPage_SeesItsPositionFallToItsTurn()
    {
        await using var app = await TestApp.StartAsync(
            new() { ["Forge:Simulator:SecondsPerImage"] = "60", ["Forge:PollInterval"] = "00:00:00.2" });
        await using var one = await Browser.OpenAsync(app);
        await using var two = await Browser.OpenAsync(app);
        var (firstPage, secondPage) = (await EnterAsync(one), await EnterAsync(two, "mehmet"));

        await SendAsync(firstPage, "birinci");
        await Expect(firstPage.Locator("[data-status='processing']")).ToHaveCountAsync(1);
        await SendAsync(firstPage, "ikinci");
        await Expect(firstPage.Locator("[data-position='1']")).ToHaveCountAsync(1);
        await SendAsync(secondPage, "üçüncü");

        var mine = Card(secondPage);
        await Expect(mine).ToHaveAttributeAsync("data-position", "2", Patient);
        await Card(firstPage).GetByTestId("cancel").ClickAsync();
        await Expect(mine).ToHaveAttributeAsync("data-position", "1", Patient);
        await Card(firstPage, 1).GetByTestId("cancel").ClickAsync();
        await Expect(mine).ToHaveAttributeAsync("data-status", "processing", Patient);
    }

    [Test]
    public async Task Page_OffersCancelAndRetry_AndSaysWhatWentWrong()
    {
        await using var app = await TestApp.StartAsync(new() { ["Forge:Simulator:SecondsPerImage"] = "20", ["Messages:Culture"] = "en" });
        await using var context = await Browser.OpenAsync(app, new() { Locale = "en-GB" });
        var page = await EnterAsync(context, "Ada");

        await SendAsync(page, "a ship in a storm [fault:oom*1]");
        var card = Card(page);
        await Expect(card).ToHaveAttributeAsync("data-status", "error", Patient);
        await Expect(card).ToContainTextAsync("ran out of memory");

        await card.GetByTestId("retry").ClickAsync();
        await Expect(card).ToHaveAttributeAsync("data-status", "processing");
        await card.GetByTestId("cancel").ClickAsync();
        await Expect(card).ToHaveAttributeAsync("data-status", "cancelled");
        await Expect(card.GetByTestId("retry")).ToBeVisibleAsync();
    }

    [TestCase("tr-TR", "tr")]
    [TestCase("en-GB", "en")]
    [TestCase("de-DE", "en")]
    public async Task Page_SpeaksTheBrowsersLanguage(string locale, string language)
    {
        await using var app = await TestApp.StartAsync();
        await using var context = await Browser.OpenAsync(app, new() { Locale = locale });
        var page = await context.NewPageAsync();
        await page.GotoAsync("/");

        await Expect(page.Locator("html")).ToHaveAttributeAsync("lang", language);
    }

    [TestCase(360, 740, ColorScheme.Light)]
    [TestCase(360, 740, ColorScheme.Dark)]
    [TestCase(1280, 800, ColorScheme.Light)]
    public async Task Page_FitsTheScreen(int width, int height, ColorScheme scheme)
    {
        await using var app = await TestApp.StartAsync();
        await using var context = await Browser.OpenAsync(
            app, new() { ViewportSize = new() { Width = width, Height = height }, ColorScheme = scheme });
        var page = await EnterAsync(context);
        await SendAsync(page, "çokuzunbirkelime" + new string('x', 300));
        await Expect(page.Locator("[data-status='complete']")).ToHaveCountAsync(1, new() { Timeout = 60_000 });

        Assert.That(await page.EvaluateAsync<int>("document.documentElement.scrollWidth"), Is.LessThanOrEqualTo(width));
    }

    /// <summary>An estimate from before the pause would count down to "any moment now".</summary>
    [Test]
    public async Task WaitingCard_SaysPaused_WhileTheQueueIs()
    {
        await using var app = await TestApp.StartAsync(new() { ["Messages:Culture"] = "en" });
        await using var context = await Browser.OpenAsync(app, new() { Locale = "en-GB" });
        var page = await EnterAsync(context);
        await SendAsync(page, "a cat");
        await Expect(page.Locator("[data-status='complete']")).ToHaveCountAsync(1, new() { Timeout = 60_000 });

        (await app.Http.PostAsync("api/queue/pause", null)).EnsureSuccessStatusCode();
        await SendAsync(page, "a dog");
        var waiting = page.Locator("[data-status='queued']");
        await Expect(waiting).ToContainTextAsync("paused");
        Assert.That(await waiting.TextContentAsync(), Does.Not.Contain("any moment"));

        (await app.Http.PostAsync("api/queue/resume", null)).EnsureSuccessStatusCode();
        await Expect(page.Locator("[data-status='complete']")).ToHaveCountAsync(2, new() { Timeout = 60_000 });
    }

    [Test]
    public async Task Dashboard_ShowsTheImageJobs()
    {
        await using var app = await TestApp.StartAsync();
        await using var context = await Browser.OpenAsync(app);
        var id = (long)(await app.SubmitAsync("a cat"))["id"]!;
        await app.WaitForAsync(id, "complete");
        var page = await context.NewPageAsync();

        await page.GotoAsync("/hangfire/jobs/succeeded");

        await Expect(page.Locator("body")).ToContainTextAsync($"Image {id} · ayşe · a cat");
    }

    [GeneratedRegex("^(queued|processing)$")]
    private static partial Regex OnTheWay();

    private static async Task AssertImageAsync(ILocator card)
    {
        var image = card.GetByTestId("image");
        await Expect(image).ToBeVisibleAsync();
        await Expect(image).ToHaveJSPropertyAsync("naturalWidth", 512); // The thumbnail.
        await Expect(image).ToHaveAttributeAsync("loading", "lazy");

        // The image itself: large, and to keep.
        await image.ClickAsync();
        await Expect(card.Page.Locator("#lightbox-image")).ToHaveJSPropertyAsync("naturalWidth", 1024);
        await Expect(card.Page.Locator("#lightbox-download")).ToHaveAttributeAsync("href", ImageAddress());
        await card.Page.Locator("#lightbox-close").ClickAsync();
    }

    [GeneratedRegex("\\.png$")]
    private static partial Regex ImageAddress();
}
