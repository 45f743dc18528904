using System.Collections.Concurrent;
using Microsoft.Playwright;
using NUnit.Framework;

namespace ImageQueue.Tests.Support;

/// <summary>The machine's Chromium, driven by Playwright. Tests are skipped without one.</summary>
internal sealed class ChatBrowser : IAsyncDisposable
{
    private static readonly string[] Names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

    private readonly IPlaywright _playwright;
    private readonly IBrowser _browser;

    private ChatBrowser(IPlaywright playwright, IBrowser browser)
    {
        _playwright = playwright;
        _browser = browser;
    }

    /// <summary>Uncaught exceptions and console errors of all pages.</summary>
    public ConcurrentQueue<string> Errors { get; } = new();

    public static async Task<ChatBrowser> StartAsync()
    {
        var path = Environment.GetEnvironmentVariable("IMAGEQUEUE_TEST_CHROMIUM") ?? Find();
        if (path is null)
            Assert.Ignore("No Chromium here. Install it (Debian: apt-get install chromium), or name one in IMAGEQUEUE_TEST_CHROMIUM.");
        var playwright = await Playwright.CreateAsync();
        var browser = await playwright.Chromium.LaunchAsync(new()
        {
            ExecutablePath = path,
            Args = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--no-first-run"],
        });
        return new ChatBrowser(playwright, browser);
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

    public async ValueTask DisposeAsync()
    {
        await _browser.DisposeAsync();
        _playwright.Dispose();
    }

    private static string? Find() => (Environment.GetEnvironmentVariable("PATH") ?? "")
        .Split(Path.PathSeparator)
        .SelectMany(folder => Names.Select(name => Path.Combine(folder, name)))
        .FirstOrDefault(File.Exists);
}
