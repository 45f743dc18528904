using System.Text.Json.Nodes;
using ImageQueue.Tests.Support;
using Microsoft.Playwright;
using NUnit.Framework;

using static Microsoft.Playwright.Assertions;

namespace ImageQueue.Tests.Journeys;

/// <summary>The demo chat page offers the models, where there is a choice.</summary>
[TestFixture]
[Category(Categories.Process)]
internal sealed class ModelChoicePageTests : ChatPageFixture
{
    private static readonly Dictionary<string, string?> Two = new()
    {
        ["Forge:Models:dev:Checkpoint"] = "flux1-dev-bnb-nf4-v2",
        ["Forge:Models:dev:Title"] = "FLUX.1 dev",
        ["Forge:Models:schnell:Checkpoint"] = "flux1-schnell-fp8",
        ["Forge:Models:schnell:Title"] = "FLUX.1 schnell, küçük ve çok hızlı",
        ["Forge:Models:schnell:Width"] = "512",
        ["Forge:Models:schnell:Height"] = "512",
    };

    [Test]
    public async Task Page_GeneratesWithTheModelThatIsPicked_InItsSize_AndRemembersIt()
    {
        await using var app = await TestApp.StartAsync(Two);
        await using var context = await Browser.OpenAsync(app, new() { ViewportSize = new() { Width = 390, Height = 844 } });
        var page = await EnterAsync(context);
        var models = page.GetByTestId("model");
        await Expect(models).ToHaveValueAsync("dev");

        await models.SelectOptionAsync("schnell");
        await page.ReloadAsync();
        await Expect(models).ToHaveValueAsync("schnell");
        await page.GetByTestId("prompt").FillAsync("bir kedi");
        await page.GetByTestId("send").ClickAsync();
        var card = page.Locator("[data-testid^='message-'][data-status='complete']");
        await Expect(card).ToBeVisibleAsync();

        var id = long.Parse(
            (await card.GetAttributeAsync("data-testid"))!["message-".Length..], CultureInfo.InvariantCulture);
        var settings = (JsonObject)(await app.GetMessageAsync(id))["extra_metadata"]!["settings"]!;
        Assert.That(((string?)settings["model"], (int)settings["width"]!, (int)settings["height"]!), Is.EqualTo(("schnell", 512, 512)));
        Assert.That(
            await page.EvaluateAsync<bool>("document.documentElement.scrollWidth <= innerWidth"), Is.True, "nothing sticks out on a phone");
    }

    [Test]
    public async Task Page_OffersNothing_WhenThereIsNoChoice()
    {
        await using var app = await TestApp.StartAsync(new() { ["Forge:Models:dev:Checkpoint"] = "flux1-dev-bnb-nf4-v2" });
        await using var context = await Browser.OpenAsync(app);
        var page = await EnterAsync(context);

        await Expect(page.GetByTestId("prompt")).ToBeVisibleAsync();
        await Expect(page.GetByTestId("model")).ToHaveCountAsync(0);
    }

    [TestCase(ColorScheme.Light, 390)]
    [TestCase(ColorScheme.Dark, 390)]
    [TestCase(ColorScheme.Light, 1280)]
    [Explicit("Leaves images of the page to look at in the directory that PICTURES names.")]
    public async Task Page_IsPhotographed(ColorScheme scheme, int width)
    {
        var folder = Environment.GetEnvironmentVariable("PICTURES");
        Assert.That(folder, Is.Not.Null.And.Not.Empty, "Set PICTURES to a directory.");
        await using var app = await TestApp.StartAsync(Two);
        await using var context = await Browser.OpenAsync(
            app, new() { ViewportSize = new() { Width = width, Height = 844 }, ColorScheme = scheme });
        var page = await EnterAsync(context);
        await page.GetByTestId("model").SelectOptionAsync("schnell");
        await page.GetByTestId("prompt").FillAsync("bir kedi, yağlı boya");
        await page.GetByTestId("send").ClickAsync();
        await Expect(page.Locator("[data-testid^='message-'][data-status='complete']")).ToBeVisibleAsync();
        await page.WaitForFunctionAsync("[...document.images].every(image => image.complete)");
        await page.ScreenshotAsync(new() { Path = Path.Combine(folder!, FormattableString.Invariant($"models-{scheme}-{width}.png")) });
    }
}
