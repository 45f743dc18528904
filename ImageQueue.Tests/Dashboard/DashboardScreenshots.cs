using System.Text.RegularExpressions;
using ImageQueue.Core.Backends;
using ImageQueue.Tests.Simulator;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Simulator;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Playwright;
using NUnit.Framework;

using static Microsoft.Playwright.Assertions;

namespace ImageQueue.Tests.Dashboard;

/// <summary>
/// Writes the README's screenshots into <c>.github</c>.
/// Run: <c>dotnet test --filter FullyQualifiedName~DashboardScreenshots</c>.
/// </summary>
[TestFixture]
[Explicit("Writes the README's screenshots.")]
[Category("Screenshots")]
[Category(Categories.Process)]
internal sealed class DashboardScreenshots
{
    private static readonly string[] Users = ["ayşe", "mehmet", "zeynep", "emre", "elif"];

    private static readonly string[] Prompts =
    [
        "bir kedi, yağlı boya, sabah ışığı", "Galata Kulesi, suluboya, yağmurlu akşam", "fırtınada bir yelkenli",
        "a lighthouse on a cliff, oil painting", "kırmızı bir gül, makro",
        "Kapadokya'da balonlar, gün doğumu", "eski bir kütüphane, sıcak ışık", "a robot gardener, children's book", "karlı bir orman yolu",
        "portre: yaşlı bir balıkçı",
    ];

    [Test]
    public async Task Pages_AreTheReadmesScreenshots()
    {
        var browser = await ChatBrowser.StartAsync();
        await using var one = await SimulatorServer.StartAsync(millisecondsPerImage: 4000);
        await using var two = await SimulatorServer.StartAsync(millisecondsPerImage: 5000);
        await using var three = await SimulatorServer.StartAsync(millisecondsPerImage: 4500);
        await using var app = await TestApp.StartAsync(new()
        {
            ["Forge:Backends:0:Url"] = one.Address.AbsoluteUri,
            ["Forge:Backends:0:Name"] = "gpu1",
            ["Forge:Backends:1:Url"] = two.Address.AbsoluteUri,
            ["Forge:Backends:1:Name"] = "gpu2",
            ["Forge:Backends:2:Url"] = three.Address.AbsoluteUri,
            ["Forge:Backends:2:Name"] = "gpu3",
            ["Forge:Simulator:Enabled"] = "false",
        });

        var first = new List<long>();
        for (var i = 0; i < 12; i++)
            first.Add(await SubmitAsync(app, i));
        foreach (var id in first)
            await app.WaitForAsync(id, MessageStatus.Complete);
        await three.KillAsync();
        one.Break(SimulatorFaults.OutOfMemory);
        two.Break(SimulatorFaults.OutOfMemory);
        for (var i = 0; i < 3; i++)
            await app.WaitForAsync(await SubmitAsync(app, 3 * i), MessageStatus.Error);
        one.Mend();
        two.Mend();

        // Complete at the second attempt: the first backend fails.
        one.Break(SimulatorFaults.ServerError);
        long twice;
        do
        {
            twice = await SubmitAsync(app, 1);
            await app.WaitForAsync(twice, MessageStatus.Complete);
        }
        while ((await app.Services.GetRequiredService<IMessageStore>().FindAsync(twice, CancellationToken.None))!.Attempt < 2);
        one.Mend();

        one.MillisecondsPerImage = 30_000;
        two.MillisecondsPerImage = 45_000;
        var generating = await SubmitAsync(app, 5);
        for (var i = 0; i < 24; i++)
            await SubmitAsync(app, i);

        await using var context = await browser.OpenAsync(
            app, new() { ViewportSize = new() { Width = 1180, Height = 760 }, ColorScheme = ColorScheme.Light, Locale = "en-GB" });
        var page = await context.NewPageAsync();
        await Until.TrueAsync(
            () => Task.FromResult(app.Services.GetRequiredService<BackendPool>().Status.Any(forge => forge.Healthy == false)),
            "the killed backend is unhealthy");
        await page.GotoAsync($"hangfire/images/{generating}");
        await Expect(page.Locator(".iq-image img")).ToBeVisibleAsync(new() { Timeout = 40_000 });
        await ShootAsync(page, "hangfire/images", "dashboard-images.png", 620);
        await ShootAsync(page, $"hangfire/images/{twice}", "dashboard-image.png", 760);
        await ShootAsync(page, "hangfire/backends", "dashboard-backends.png", 540);
    }

    [Test]
    public async Task ChatPage_IsTheReadmesScreenshot()
    {
        var browser = await ChatBrowser.StartAsync();
        await using var backend = await SimulatorServer.StartAsync(millisecondsPerImage: 500);
        await using var app = await TestApp.StartAsync(new()
        {
            ["Forge:Backends:0:Url"] = backend.Address.AbsoluteUri,
            ["Forge:Backends:0:Name"] = "gpu1",
            ["Forge:Simulator:Enabled"] = "false",
        });
        await app.WaitForAsync(
            (long)(await app.SubmitAsync("A robot gardener, children's book", "garden", "Alex"))["id"]!, MessageStatus.Complete);
        var done = await app.SubmitAsync(
            "A lighthouse on a cliff at dusk, oil painting", "lighthouse", "Alex", new { width = 1216, height = 832 });
        await app.WaitForAsync((long)done["id"]!, MessageStatus.Complete);
        backend.MillisecondsPerImage = 60_000;
        var half = (long)(
            await app.SubmitAsync("The same lighthouse in a storm", "lighthouse", "Alex", new { width = 1216, height = 832 }))["id"]!;
        foreach (var (scheme, file) in new[] { (ColorScheme.Light, "chat.png"), (ColorScheme.Dark, "chat-dark.png") })
        {
            await using var context = await browser.OpenAsync(
                app,
                new()
                {
                    ViewportSize = new() { Width = 1180, Height = 900 },
                    DeviceScaleFactor = 1.5f,
                    ColorScheme = scheme,
                    Locale = "en-GB",
                });
            var page = await context.NewPageAsync();
            await page.GotoAsync("/?c=lighthouse");
            await page.GetByTestId("name-input").FillAsync("Alex");
            await page.GetByTestId("name-submit").ClickAsync();
            await Expect(page.GetByTestId($"message-{half}")).ToHaveAttributeAsync(
                "data-progress", new Regex("^(4[5-9]|[5-9].)$"), new() { Timeout = 90_000 });
            await Expect(page.GetByTestId($"message-{done["id"]}").GetByTestId("image")).ToBeVisibleAsync();
            await Expect(page.Locator(".has-preview .preview")).ToBeVisibleAsync(new() { Timeout = 30_000 });
            await page.WaitForTimeoutAsync(1000); // It fades in.
            await page.ScreenshotAsync(new() { Path = Path.Combine(Repository.Root, ".github", file) });
        }
    }

    private static async Task<long> SubmitAsync(TestApp app, int i) => (long)(await app.SubmitAsync(
        Prompts[i % Prompts.Length], $"sohbet-{i % Users.Length + 1}", Users[i % Users.Length],
        new { width = 512, height = 512, steps = 20 }))["id"]!;

    private static async Task ShootAsync(IPage page, string path, string file, int height)
    {
        await page.GotoAsync(path);
        await Expect(page.Locator("[data-iq-part]")).ToBeVisibleAsync();
        await page.WaitForLoadStateAsync(LoadState.NetworkIdle);
        // The addresses of the test servers differ from run to run.
        await page.EvaluateAsync(
            "() => document.querySelectorAll('.iq-card').forEach(card => card.innerHTML = "
                + "card.innerHTML.replace(/127\\.0\\.0\\.1:\\d+/g, card.getAttribute('aria-label') + ':7860'))");
        await page.ScreenshotAsync(
            new() { Path = Path.Combine(Repository.Root, ".github", file), Clip = new() { X = 0, Y = 0, Width = 1180, Height = height } });
    }
}
