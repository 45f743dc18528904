using Deque.AxeCore.Commons;
using ImageQueue.Core.Queue;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Playwright;
using NUnit.Framework;

using static Microsoft.Playwright.Assertions;

namespace ImageQueue.Tests.Dashboard;

/// <summary>The image dashboard in a browser, with none, a few and 10,000 requests waiting.</summary>
[TestFixture(0)]
[TestFixture(3)]
[TestFixture(10_000)]
[Category(Categories.Process)]
internal sealed class DashboardBrowserTests(int waiting) : BrowserFixture
{
    /// <summary>Finished requests, the first rows of the database.</summary>
    private const int Kept = 60;

    private static readonly string Axe = new BundledAxeScriptProvider().GetScript();

    private static readonly string[] Pages =
    [
        "", "images", "images?show=running", "images?show=ended", "images?show=error&code=out_of_memory&backend=gpu1",
        "images?show=ended&q=kedi", "images/20", "images/10",
        "backends", "failures",
    ];

    /// <summary>Cells that a phone shows only after a scroll to the side.</summary>
    private const string CellsOutOfSight =
        """
        [...document.querySelectorAll('.iq tbody :is(td, th)')].filter(cell => cell.getBoundingClientRect().right > innerWidth)
          .map(cell => cell.outerHTML)
        """;

    private readonly TemporaryFolder _folder = new();
    private TestApp _app = null!; // Set before any test runs.

    [OneTimeSetUp]
    public async Task StartAsync()
    {
        await DashboardRows.FillAsync(_folder, waiting, Kept);
        _app = await TestApp.StartAsync(folder: _folder);
        await Until.TrueAsync(
            async () =>
                (await _app.Services.GetRequiredService<IQueueOrder>().GetAsync(CancellationToken.None))
                    .Count == waiting, "the queue is rebuilt");
    }

    [OneTimeTearDown]
    public async Task StopAsync()
    {
        if (_app is not null)
            await _app.DisposeAsync();
        _folder.Dispose();
    }

    [TestCase(1280, ColorScheme.Light)]
    [TestCase(390, ColorScheme.Dark)]
    public async Task Pages_FitTheScreen_AndPassAxe(int width, ColorScheme scheme)
    {
        await using var context = await Browser.OpenAsync(
            _app, new() { ViewportSize = new() { Width = width, Height = 800 }, ColorScheme = scheme });
        var page = await context.NewPageAsync();
        var violations = new List<string>();
        foreach (var path in waiting == 0 ? Pages : Pages.Append($"images/{Kept + 1}"))
        {
            await page.GotoAsync($"hangfire/{path}");
            await Expect(page.Locator("[data-iq-part]")).ToBeVisibleAsync();
            Assert.That(await page.EvaluateAsync<int>("document.documentElement.scrollWidth"), Is.LessThanOrEqualTo(width), path);
            if (width == 390)
                Assert.That(await page.EvaluateAsync<string[]>(CellsOutOfSight), Is.Empty, path);
            // With more requests waiting, only the tables differ.
            if (waiting == 3 || path == "images")
                violations.AddRange(await ViolationsAsync(page, ".iq", path, scheme));
        }

        if (waiting == 3)
        {
            // Hangfire's own page of the job has the same part.
            var job = (await _app.Services.GetRequiredService<IMessageStore>().FindAsync(Kept + 1, CancellationToken.None))!.HangfireJobId;
            await page.GotoAsync($"hangfire/jobs/details/{job}");
            await Expect(page.Locator(".iq-image")).ToContainTextAsync("Timeline");
            violations.AddRange(await ViolationsAsync(page, ".iq-image", "jobs/details", scheme));
        }

        Assert.That(violations, Is.Empty);
    }

    /// <summary>Selects a row and runs a command by keyboard, and shows another operator's change without a reload.</summary>
    [Test]
    public async Task Commands_RunByKeyboard_AndShowWithoutReload()
    {
        await using var context = await Browser.OpenAsync(_app);
        var page = await context.NewPageAsync();
        page.Dialog += (_, dialog) => _ = dialog.AcceptAsync();
        if (waiting == 0)
        {
            await page.GotoAsync("hangfire/images?show=error");
            await TabToAsync(page, "#pick-10");
            await page.Keyboard.PressAsync("Space");
            await TabToAsync(page, "[data-iq-post$='/retry']", "Shift+Tab");
            await page.Keyboard.PressAsync("Enter");
            await Expect(page.Locator("[data-iq-said]")).ToContainTextAsync("1 done");
            await Expect(page.Locator("#pick-10")).ToHaveCountAsync(0);
            await page.GotoAsync("hangfire/images");
            await Expect(page.Locator("#pick-10")).ToHaveCountAsync(1);
            await TabToAsync(page, "#pick-10");
            await page.Keyboard.PressAsync("Space");
            await TabToAsync(page, "[data-iq-post$='/erase']", "Shift+Tab");
            await page.Keyboard.PressAsync("Enter");
            await Expect(page.Locator("[data-iq-part]")).ToContainTextAsync("No images found.");
            return;
        }

        await page.GotoAsync("hangfire/images");
        await Expect(page.Locator("tbody tr")).ToHaveCountAsync(Math.Min(waiting, 50));
        await page.EvaluateAsync("window.sameDocument = true");
        await TabToAsync(page, $"#pick-{Kept + 3}");
        await page.Keyboard.PressAsync("Space");
        await TabToAsync(page, "[data-iq-post$='/front']", "Shift+Tab");
        await page.Keyboard.PressAsync("Enter");

        await Expect(page.Locator("tbody tr").First).ToContainTextAsync("numara 3");
        await Expect(page.Locator("[data-iq-said]")).ToContainTextAsync("1 done");

        // Another client cancels the second.
        await _app.Http.PostAsync($"api/messages/{Kept + 2}/cancel", null);
        await Expect(page.Locator($"#pick-{Kept + 2}")).ToHaveCountAsync(0);
        Assert.That(await page.EvaluateAsync<bool>("window.sameDocument === true"), Is.True);
    }

    /// <summary>A refresh keeps the keyboard focus, and a command moves it to the result.</summary>
    [Test]
    public async Task Focus_IsKept_WhenThePageRefreshes()
    {
        await using var context = await Browser.OpenAsync(_app);
        var page = await context.NewPageAsync();
        page.Dialog += (_, dialog) => _ = dialog.AcceptAsync();
        await page.GotoAsync("hangfire/images?show=error");
        await page.Locator("#pick-30").CheckAsync();
        var erase = page.Locator("[data-iq-post$='/erase']");
        await erase.FocusAsync();

        (await _app.Http.DeleteAsync("api/messages/50")).EnsureSuccessStatusCode();
        await Expect(page.Locator("#pick-50")).ToHaveCountAsync(0);
        await Expect(erase).ToBeFocusedAsync();

        await page.Keyboard.PressAsync("Enter");
        await Expect(page.Locator("[data-iq-said]")).ToContainTextAsync("1 done");
        await Expect(page.Locator("[data-iq-said]")).ToBeFocusedAsync();
    }

    [Test]
    public async Task Erase_AsksForConfirmation()
    {
        await using var context = await Browser.OpenAsync(_app);
        var page = await context.NewPageAsync();
        var (asked, isSure) = ("", false);
        page.Dialog += (_, dialog) =>
        {
            asked = dialog.Message;
            _ = isSure ? dialog.AcceptAsync() : dialog.DismissAsync();
        };
        await page.GotoAsync("hangfire/images?show=cancelled");
        await page.Locator("#pick-20").CheckAsync();
        await page.Locator("#pick-40").CheckAsync();
        var erase = page.Locator("[data-iq-post$='/erase']");

        await erase.ClickAsync();
        Assert.That(asked, Does.StartWith("Delete the 2 selected images for good?"));
        await Expect(page.Locator("#pick-20")).ToHaveCountAsync(1);

        isSure = true;
        await erase.ClickAsync();
        await Expect(page.Locator("[data-iq-said]")).ToContainTextAsync("2 done");
        await Expect(page.Locator("#pick-20")).ToHaveCountAsync(0);
        Assert.That(await _app.Services.GetRequiredService<IMessageStore>().FindAsync(40, CancellationToken.None), Is.Null);
    }

    /// <summary>Presses a key until the element has the focus.</summary>
    private static async Task TabToAsync(IPage page, string selector, string key = "Tab")
    {
        for (var i = 0; i < 80; i++)
        {
            if (await page.EvaluateAsync<bool>("selector => document.activeElement.matches(selector)", selector))
                return;
            await page.Keyboard.PressAsync(key);
        }

        Assert.Fail($"{selector} was not reached by {key}.");
    }

    /// <summary>Axe violations of our part: all rules in light, colours in dark.</summary>
    private static async Task<string[]> ViolationsAsync(IPage page, string ours, string path, ColorScheme scheme)
    {
        // Axe's Playwright package opens another page for each run.
        await page.EvaluateAsync(Axe);
        return await page.EvaluateAsync<string[]>(
            """
            async ([ours, path, rules]) => {
              const found = await axe.run(ours, rules ? { runOnly: { type: 'rule', values: rules } } : {});
              if (found.passes.length === 0) return [path + ': axe has looked at nothing'];
              return found.violations.flatMap(violation => violation.nodes.map(node =>
                  `${path}: ${violation.help} (${violation.id}) ${node.html}`));
            }
            """,
            new object?[] { ours, path, scheme == ColorScheme.Light ? null : new[] { "color-contrast" } });
    }
}
