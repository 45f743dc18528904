using Deque.AxeCore.Commons;
using ImageQueue.Core.Statistics;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Playwright;
using NUnit.Framework;

using static Microsoft.Playwright.Assertions;

namespace ImageQueue.Tests.Dashboard;

/// <summary>The home page's charts in a browser.</summary>
[Category(Categories.Process)]
internal sealed class OverviewBrowserTests : BrowserFixture
{
    private TestApp _app = null!; // Set before any test runs.
    private int _images = 4000;

    [OneTimeSetUp]
    public async Task StartAsync()
    {
        _app = await TestApp.StartAsync();
        var random = new Random(7);
        var now = StatisticsWriter.HourOf(TimeProvider.System.GetUtcNow());
        var rows = Enumerable.Range(1, 160).SelectMany(hour => new StatisticsRow[]
        {
            new(now.AddHours(-hour), StatisticsKinds.Complete, "", 40 + random.Next(60), 6, 9),
            new(now.AddHours(-hour), StatisticsKinds.Claimed, "", 100, 10 + random.Next(50), 90 + random.Next(200)),
            new(now.AddHours(-hour), StatisticsKinds.Error, ErrorCodes.TimedOut, 1 + random.Next(5)),
            new(
                now.AddHours(-hour),
                StatisticsKinds.Error,
                hour % 5 == 0 ? ErrorCodes.OutOfMemory : ErrorCodes.BackendFailed,
                1 + random.Next(9)),
            new(now.AddHours(-hour), StatisticsKinds.Queue, "", random.Next(120)),
        });
        await _app.Services.GetRequiredService<IMessageStore>().SaveStatisticsAsync([.. rows], CancellationToken.None);
    }

    [OneTimeTearDown]
    public async Task StopAsync()
    {
        if (_app is not null)
            await _app.DisposeAsync();
    }

    [TestCase(1280, ColorScheme.Light)]
    [TestCase(390, ColorScheme.Dark)]
    public async Task Home_ShowsTheCharts_AndKeepsOpenDetailsWhenRefreshed(int width, ColorScheme scheme)
    {
        await using var context = await Browser.OpenAsync(
            _app, new() { ViewportSize = new() { Width = width, Height = 800 }, ColorScheme = scheme });
        var page = await context.NewPageAsync();
        await page.GotoAsync("hangfire");

        await Expect(page.Locator(".iq-chart > svg")).ToHaveCountAsync(8);
        await Expect(page.Locator(".iq-chart > svg").First).ToBeVisibleAsync();
        Assert.That(await page.EvaluateAsync<int>("document.documentElement.scrollWidth"), Is.LessThanOrEqualTo(width));
        var bars = page.GetByRole(AriaRole.Img, new() { NameRegex = new("^Errors by code, last day: [0-9,]+ of") }).Locator("g rect");
        Assert.That(await bars.CountAsync(), Is.GreaterThanOrEqualTo(40), "two codes in each of 23 hours, but at most one missing");

        await page.EvaluateAsync(new BundledAxeScriptProvider().GetScript());
        Assert.That(
            await page.EvaluateAsync<string[]>(
                "async () => (await axe.run('.iq')).violations.map(one => one.id + ': ' + one.nodes.map(node => node.target).join(' '))"),
            Is.Empty);

        // Opened by keyboard, and still open after a refresh.
        var numbers = page.GetByText("Images, last day, in numbers");
        await numbers.FocusAsync();
        await page.Keyboard.PressAsync("Enter");
        await Expect(page.GetByRole(AriaRole.Table, new() { Name = "Images, last day" })).ToBeVisibleAsync();
        await page.EvaluateAsync("window.sameDocument = true");
        var hour = StatisticsWriter.HourOf(TimeProvider.System.GetUtcNow());
        await _app.Services.GetRequiredService<IMessageStore>().SaveStatisticsAsync(
            [new(hour, StatisticsKinds.Complete, "", ++_images)], CancellationToken.None);
        // Otherwise it refreshes every ten seconds.
        await page.EvaluateAsync("void setInterval(() => document.dispatchEvent(new Event('visibilitychange')), 100)");
        await Expect(page.GetByRole(AriaRole.Table, new() { Name = "Images, last day" })).ToContainTextAsync(
            _images.ToString("#,0", CultureInfo.InvariantCulture));
        Assert.That(await page.EvaluateAsync<bool>("window.sameDocument === true"), Is.True);
    }
}
