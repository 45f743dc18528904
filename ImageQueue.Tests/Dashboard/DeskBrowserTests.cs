using ImageQueue.Tests.Support;
using Microsoft.Playwright;
using NUnit.Framework;
using static Microsoft.Playwright.Assertions;

namespace ImageQueue.Tests.Dashboard;

/// <summary>The desk as an operator meets it in a browser.</summary>
internal sealed class DeskBrowserTests
{
    private ChatBrowser _browser = null!; // All set before any test runs.
    private TestApp _app = null!;

    [OneTimeSetUp]
    public async Task StartAsync()
    {
        _browser = await ChatBrowser.StartAsync();
        _app = await TestApp.StartAsync();
        (await _app.Http.PostAsync("api/queue/pause", null)).Dispose();
        foreach (var prompt in new[] { "bir kedi", "<img src=x onerror=alert(1)>", "bir gemi" })
            await _app.SubmitAsync(prompt, more: new { width = 64, height = 64, steps = 2 });
    }

    [OneTimeTearDown]
    public async Task StopAsync()
    {
        if (_app is not null)
            await _app.DisposeAsync();
        if (_browser is not null)
            await _browser.DisposeAsync();
    }

    [TestCase(1280, ColorScheme.Light)]
    [TestCase(390, ColorScheme.Dark)]
    public async Task Pages_FitTheScreen_WithoutAnError(int width, ColorScheme scheme)
    {
        await using var context = await _browser.OpenAsync(_app, new() { ViewportSize = new() { Width = width, Height = 800 }, ColorScheme = scheme });
        var page = await context.NewPageAsync();
        foreach (var path in new[] { "images", "images?show=running", "images?show=ended", "images/1", "forges", "failures" })
        {
            await page.GotoAsync($"hangfire/{path}");
            await Expect(page.Locator("[data-desk-part]")).ToBeVisibleAsync();
            Assert.That(await page.EvaluateAsync<int>("document.documentElement.scrollWidth"), Is.LessThanOrEqualTo(width), path);
        }

        Assert.That(_browser.Errors, Is.Empty);
    }

    [Test]
    public async Task MoveToFront_IsDoneByKeyboard_AndSeenWithoutReloading()
    {
        await using var context = await _browser.OpenAsync(_app);
        var page = await context.NewPageAsync();
        await page.GotoAsync("hangfire/images");
        await Expect(page.Locator("tbody tr")).ToHaveCountAsync(3);
        await page.EvaluateAsync("window.sameDocument = true");

        await page.Locator("#pick-3").FocusAsync();
        await page.Keyboard.PressAsync("Space");
        await page.GetByRole(AriaRole.Button, new() { Name = "Move to front" }).FocusAsync();
        await page.Keyboard.PressAsync("Enter");

        await Expect(page.Locator("tbody tr").First).ToContainTextAsync("bir gemi");
        await Expect(page.Locator("[data-desk-said]")).ToContainTextAsync("1 done");
        Assert.That(await page.EvaluateAsync<bool>("window.sameDocument === true"), Is.True);

        // What others do is seen by itself.
        var fourth = (long)(await _app.SubmitAsync("bir kuş", more: new { width = 64, height = 64, steps = 2 }))["id"]!;
        await Expect(page.Locator($"#pick-{fourth}")).ToBeVisibleAsync();
        Assert.That(_browser.Errors, Is.Empty);
    }
}
