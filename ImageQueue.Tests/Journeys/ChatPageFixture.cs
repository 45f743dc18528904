using ImageQueue.Tests.Support;
using Microsoft.Playwright;

using static Microsoft.Playwright.Assertions;

namespace ImageQueue.Tests.Journeys;

/// <summary>What users do on the chat page.</summary>
internal abstract class ChatPageFixture : BrowserFixture
{
    private protected static ILocator Card(IPage page, int index = 0) => page.Locator("[data-testid^='message-'][data-status]").Nth(index);

    private protected static async Task<int> ProgressAsync(ILocator card) =>
        int.Parse(await card.GetAttributeAsync("data-progress") ?? "", CultureInfo.InvariantCulture);

    /// <summary>Opens the page under a name.</summary>
    private protected static async Task<IPage> EnterAsync(IBrowserContext context, string name = "ayşe")
    {
        var page = await context.NewPageAsync();
        await page.GotoAsync("/");
        await page.GetByTestId("name-input").FillAsync(name);
        await page.GetByTestId("name-submit").ClickAsync();
        await Expect(page.GetByTestId("prompt")).ToBeVisibleAsync();
        return page;
    }

    private protected static async Task SendAsync(IPage page, string prompt)
    {
        await page.GetByTestId("prompt").FillAsync(prompt);
        await page.GetByTestId("send").ClickAsync();
        await Expect(page.GetByTestId("prompt")).ToHaveValueAsync("");
    }
}
