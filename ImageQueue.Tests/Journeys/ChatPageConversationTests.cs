using System.Text.RegularExpressions;
using ImageQueue.Tests.Support;
using Microsoft.Playwright;
using NUnit.Framework;

using static Microsoft.Playwright.Assertions;

namespace ImageQueue.Tests.Journeys;

/// <summary>The chat page's list of conversations, which the server keeps, and the commands of a finished card.</summary>
[TestFixture]
[Category(Categories.Process)]
internal sealed class ChatPageConversationTests : ChatPageFixture
{
    private TestApp _app = null!; // Set before any test runs.

    [OneTimeSetUp]
    public async Task StartAsync()
    {
        _app = await TestApp.StartAsync();
    }

    [OneTimeTearDown]
    public async Task StopAsync()
    {
        if (_app is not null)
            await _app.DisposeAsync();
    }

    /// <summary>Made by another client, and seen in two browsers of the same name.</summary>
    [Test]
    public async Task Conversations_AreTheServers_InEveryBrowser()
    {
        await SayAsync("elif-1", "elif", "İlk SOHBET");
        await SayAsync("elif-2", "elif", "yağmur");
        await using var one = await Browser.OpenAsync(_app);
        await using var two = await Browser.OpenAsync(_app);
        var (first, second) = (await EnterAsync(one, "elif"), await EnterAsync(two, "elif"));
        await Expect(Titles(first)).ToHaveTextAsync(["yağmur", "İlk SOHBET"]);
        await Expect(Titles(second)).ToHaveTextAsync(["yağmur", "İlk SOHBET"]);

        await first.GetByTestId("conversation-search").FillAsync("ilk sohbet");
        await Expect(Titles(first)).ToHaveTextAsync(["İlk SOHBET"]);
        await ChatBrowser.ShootAsync(first, "chat-search");
        await first.GetByTestId("conversation-search").FillAsync("");

        var item = first.Locator(".conversation[data-id='elif-1']");
        await item.HoverAsync();
        await item.GetByTestId("rename").ClickAsync();
        await first.Locator(".rename input").FillAsync("Yeni ad");
        await first.Keyboard.PressAsync("Enter");
        await Expect(Titles(first)).ToHaveTextAsync(["yağmur", "Yeni ad"]);
        await second.ReloadAsync();
        await Expect(Titles(second)).ToHaveTextAsync(["yağmur", "Yeni ad"]);
        await first.ReloadAsync();
        await Expect(Titles(first)).ToHaveTextAsync(["yağmur", "Yeni ad"]);
    }

    [Test]
    public async Task Erase_CanBeUndone_ThenErasesOnTheServer()
    {
        await SayAsync("can-1", "can", "kalacak");
        await SayAsync("can-2", "can", "gidecek");
        await using var context = await Browser.OpenAsync(_app);
        var page = await EnterAsync(context, "can");
        var item = page.Locator(".conversation[data-id='can-2']");
        await item.HoverAsync();
        await item.GetByTestId("erase").ClickAsync();
        await Expect(Titles(page)).ToHaveTextAsync(["kalacak"]);
        await ChatBrowser.ShootAsync(page, "chat-undo");
        await page.GetByTestId("undo").ClickAsync();
        await Expect(Titles(page)).ToHaveTextAsync(["gidecek", "kalacak"]);
        Assert.That((int)(await _app.Http.GetAsync("api/conversations/can-2/messages")).StatusCode, Is.EqualTo(200));

        await item.HoverAsync();
        await item.GetByTestId("erase").ClickAsync();
        await Until.TrueAsync(
            async () => (int)(await _app.Http.GetAsync("api/conversations/can-2/messages")).StatusCode == 404, "it is erased");
        await Expect(page.Locator("#new-conversation")).ToBeFocusedAsync(); // The button that had the focus is gone.
        await page.ReloadAsync();
        await Expect(Titles(page)).ToHaveTextAsync(["kalacak"]);
    }

    [Test]
    public async Task Erase_IsSent_WhenThePageIsLeftBeforeTheTimeToUndoIsOver()
    {
        await SayAsync("gül-1", "gül", "gidecek");
        await using var context = await Browser.OpenAsync(_app);
        var page = await EnterAsync(context, "gül");
        var item = page.Locator(".conversation[data-id='gül-1']");
        await item.HoverAsync();
        await item.GetByTestId("erase").ClickAsync();
        await Expect(page.GetByTestId("undo")).ToBeFocusedAsync();

        await page.GotoAsync("about:blank");

        await Until.TrueAsync(
            async () => (int)(await _app.Http.GetAsync("api/conversations/gül-1/messages")).StatusCode == 404, "it is erased");
    }

    /// <summary>Erased by another client: it leaves the list, and a message to it is refused in the reader's language.</summary>
    [Test]
    public async Task ErasedElsewhere_LeavesTheList_AndRefusesMessages()
    {
        await SayAsync("nur-1", "nur", "gidecek");
        await SayAsync("nur-2", "nur", "kalacak");
        await using var context = await Browser.OpenAsync(_app);
        var page = await EnterAsync(context, "nur");
        await Titles(page).Nth(1).ClickAsync();
        await Expect(page.Locator(".bubble")).ToHaveTextAsync("gidecek");
        var rename = page.Locator(".conversation[data-id='nur-2']").GetByTestId("rename");
        await rename.FocusAsync();

        (await _app.Http.DeleteAsync("api/conversations/nur-1")).EnsureSuccessStatusCode();
        await page.EvaluateAsync("() => { document.dispatchEvent(new Event('visibilitychange')); }");

        await Expect(Titles(page)).ToHaveTextAsync(["kalacak"]);
        await Expect(rename).ToBeFocusedAsync();
        await page.GetByTestId("prompt").FillAsync("bir gül");
        await page.GetByTestId("send").ClickAsync();
        await Expect(page.GetByTestId("send-problem")).ToHaveTextAsync("Bu sohbet silindi. Yeni bir sohbet başlatın.");
        Browser.Errors.Clear(); // Chromium reports the refused request.
    }

    [Test]
    public async Task Conversations_AreOfTheNewName_WhileTheListOfTheOldOneIsRead()
    {
        await SayAsync("yeni-1", "yeni", "yeninin");
        await using var context = await Browser.OpenAsync(_app);
        await context.RouteAsync("**/api/conversations?username=eski*", _ => Task.CompletedTask); // Neither answered nor refused.
        var page = await EnterAsync(context, "eski");

        await page.GetByTestId("change-name").ClickAsync();
        await page.GetByTestId("name-input").FillAsync("yeni");
        await page.GetByTestId("name-submit").ClickAsync();

        await Expect(Titles(page)).ToHaveTextAsync(["yeninin"], new() { Timeout = 3_000 });
    }

    [Test]
    public async Task FinishedCard_IsRepeated_AndGivesItsPromptAndSettings()
    {
        await using var context = await Browser.OpenAsync(
            _app, new() { ViewportSize = new() { Width = 1280, Height = 800 }, Permissions = ["clipboard-read", "clipboard-write"] });
        var done = await _app.SubmitAsync(
            "bir kedi, yağlı boya", "deniz-1", "deniz", new { width = 832, height = 1216, seed = 7, steps = 5 });
        await _app.WaitForAsync((long)done["id"]!, "complete");
        var page = await EnterAsync(context, "deniz");
        await Titles(page).First.ClickAsync();
        var card = page.GetByTestId($"message-{done["id"]}");
        await Expect(card.GetByTestId("image")).ToBeVisibleAsync();
        var box = (await card.BoundingBoxAsync())!;
        var room = (await page.Locator("#thread").BoundingBoxAsync())!;
        Assert.That(box.Height, Is.LessThanOrEqualTo(room.Height), "prompt and card fit at 1280 x 800");
        await ChatBrowser.ShootAsync(page, "chat-card");
        await card.GetByTestId("image").ClickAsync();
        await Expect(page.GetByRole(AriaRole.Dialog, new() { Name = "bir kedi, yağlı boya" })).ToBeVisibleAsync();
        await page.Keyboard.PressAsync("Escape");

        await card.GetByTestId("more").Locator("summary").ClickAsync();
        await ChatBrowser.ShootAsync(page, "chat-menu");
        await card.GetByTestId("copy-prompt").ClickAsync();
        await Until.TrueAsync(
            async () => await page.EvaluateAsync<string>("navigator.clipboard.readText()") == "bir kedi, yağlı boya",
            "the prompt is copied");
        await page.GetByTestId("prompt").FillAsync("bir köpek");
        await card.GetByTestId("more").Locator("summary").ClickAsync();
        await card.GetByTestId("use-settings").ClickAsync();
        await Expect(page.GetByTestId("prompt")).ToHaveValueAsync("bir köpek");
        await Expect(page.Locator("#steps")).ToHaveValueAsync("5");

        await card.GetByTestId("again").ClickAsync();
        await Expect(page.Locator("#messages > li")).ToHaveCountAsync(2);
        await Expect(page.GetByTestId("prompt")).ToHaveValueAsync("bir köpek");
        var messages = (await TestApp.ReadAsync(await _app.Http.GetAsync("api/conversations/deniz-1/messages")))["messages"]!.AsArray();
        var settings = messages[^1]!["extra_metadata"]!["settings"]!;
        Assert.That(((int)settings["width"]!, (int)settings["steps"]!), Is.EqualTo((832, 5)));
        Assert.That((long?)settings["seed"], Is.Not.EqualTo(7));
    }

    /// <summary>A bot's Markdown is rendered by elements: markup in it stays text.</summary>
    [Test]
    public async Task BotText_ShowsMarkdown_AndNoMarkup()
    {
        await SayAsync("markdown", "ece", "soru");
        await SayAsync(
            "markdown",
            "ece",
            "**kalın** ve `kod`\n- bir\n- [iki](https://example.org/a)\n<img src=x onerror=alert(1)> javascript:alert(1)",
            "bot");
        await using var context = await Browser.OpenAsync(_app);
        var page = await EnterAsync(context, "ece");
        await Titles(page).First.ClickAsync();

        var text = page.Locator("[data-role=bot] [data-part=text]");
        await Expect(text.Locator("strong")).ToHaveTextAsync("kalın");
        await Expect(text.Locator("code")).ToHaveTextAsync("kod");
        await Expect(text.Locator("li")).ToHaveCountAsync(2);
        await Expect(text.Locator("a")).ToHaveAttributeAsync("href", "https://example.org/a");
        await Expect(text.Locator("a")).ToHaveAttributeAsync("rel", new Regex("noopener"));
        await Expect(text).ToContainTextAsync("<img src=x onerror=alert(1)> javascript:alert(1)");
    }

    /// <summary>After 429 the page counts down and sends by itself.</summary>
    [Test]
    public async Task Prompt_IsSentByItself_WhenTheTimeOf429IsOver()
    {
        await using var context = await Browser.OpenAsync(_app);
        var page = await EnterAsync(context, "naz");
        var refusals = 0;
        await page.RouteAsync("**/images", async route =>
        {
            if (route.Request.Method != "POST" || Interlocked.Increment(ref refusals) > 1)
            {
                await route.ContinueAsync();
            }
            else
            {
                await route.FulfillAsync(
                    new()
                    {
                        Status = 429,
                        Headers = new Dictionary<string, string> { ["Retry-After"] = "2" },
                        ContentType = "application/problem+json",
                        Body = """{"code":"rate_limited"}""",
                    });
            }
        });

        await page.GetByTestId("prompt").FillAsync("bir gül");
        await page.GetByTestId("send").ClickAsync();
        await Expect(page.GetByTestId("resend")).ToContainTextAsync("kendiliğinden gönderilecek");
        await Expect(page.GetByTestId("send-problem")).ToContainTextAsync("Çok hızlı."); // The countdown does not replace the reason.
        Assert.That(await page.Locator("[role=alert]:has([data-testid=resend])").CountAsync(), Is.Zero);
        await ChatBrowser.ShootAsync(page, "chat-resend");

        await Expect(page.Locator("#messages > li")).ToHaveCountAsync(1);
        await Expect(page.GetByTestId("send-problem")).ToBeHiddenAsync();
        Browser.Errors.Clear(); // Chromium reports the refused request.
    }

    private static ILocator Titles(IPage page) => page.Locator("#conversation-list .conversation-title");

    private async Task SayAsync(string conversation, string username, string content, string role = "user")
    {
        var body = JsonSerializer.Serialize(new { username, role, content });
        using var response = await _app.Http.PostAsync(
            $"api/conversations/{conversation}/messages", new StringContent(body, Encoding.UTF8, "application/json"));
        Assert.That((int)response.StatusCode, Is.EqualTo(201), await response.Content.ReadAsStringAsync());
    }
}
