using System.Collections.Concurrent;
using Microsoft.Playwright;
using NUnit.Framework;

namespace ImageQueue.Tests.Support;

/// <summary>
/// The machine's Chromium, driven by Playwright. Tests are skipped without one. All fixtures share one, since a start costs seconds of
/// processor time; windows share nothing.
/// </summary>
internal sealed class ChatBrowser
{
    private static readonly string[] Names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

    private static readonly Lazy<Task<(IPlaywright Playwright, IBrowser Browser)>> Shared = new(LaunchAsync);

    private readonly IBrowser _browser;

    private ChatBrowser(IBrowser browser) => _browser = browser;

    /// <summary>Uncaught exceptions and console errors of all pages.</summary>
    public ConcurrentQueue<string> Errors { get; } = new();

    public static async Task<ChatBrowser> StartAsync()
    {
        if (Find() is null)
            Assert.Ignore("No Chromium here. Install it (Debian: apt-get install chromium), or name one in IMAGEQUEUE_TEST_CHROMIUM.");
        return new ChatBrowser((await Shared.Value).Browser);
    }

    /// <summary>When all tests are over.</summary>
    public static async Task CloseAsync()
    {
        if (!Shared.IsValueCreated)
            return;
        var (playwright, browser) = await Shared.Value;
        await browser.DisposeAsync();
        playwright.Dispose();
    }

    /// <summary>Opens a window with empty storage.</summary>
    public async Task<IBrowserContext> OpenAsync(TestApp app, BrowserNewContextOptions? options = null)
    {
        options ??= new();
        options.BaseURL ??= app.Address.ToString();
        options.Locale ??= "tr-TR";
        options.ReducedMotion ??= ReducedMotion.Reduce; // Without a GPU, animations cost processor time sixty times a second.
        var context = await _browser.NewContextAsync(options);
        context.SetDefaultTimeout(30_000);
        context.WebError += (_, error) => Errors.Enqueue(error.Error);
        context.Console += (_, message) =>
        {
            if (message.Type == "error")
                Errors.Enqueue($"{message.Text} ({message.Location})");
        };
        return context;
    }

    /// <summary>
    /// Writes a screenshot into the folder <c>IMAGEQUEUE_TEST_SCREENSHOTS</c>, for a look by eye; nothing where it is not set.
    /// </summary>
    public static async Task ShootAsync(IPage page, string name)
    {
        if (Environment.GetEnvironmentVariable("IMAGEQUEUE_TEST_SCREENSHOTS") is { Length: > 0 } folder)
            await page.ScreenshotAsync(new() { Path = Path.Combine(folder, $"{name}.png") });
    }

    private static async Task<(IPlaywright Playwright, IBrowser Browser)> LaunchAsync()
    {
        var playwright = await Playwright.CreateAsync();
        return (playwright, await playwright.Chromium.LaunchAsync(new()
        {
            ExecutablePath = Find(),
            Args = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--no-first-run"],
        }));
    }

    private static string? Find() => Environment.GetEnvironmentVariable("IMAGEQUEUE_TEST_CHROMIUM")
        ?? (Environment.GetEnvironmentVariable("PATH") ?? "")
            .Split(Path.PathSeparator)
            .SelectMany(folder => Names.Select(name => Path.Combine(folder, name)))
            .FirstOrDefault(File.Exists);
}
