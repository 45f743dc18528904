using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using ImageQueue.Tests.Push;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Playwright;
using NUnit.Framework;

using static Microsoft.Playwright.Assertions;

namespace ImageQueue.Tests.Journeys;

/// <summary>
/// The demo chat page where it is used otherwise than its makers do: odd data, small screens, keyboards, many tabs, no scripts.
/// </summary>
[TestFixture]
[Category(Categories.Process)]
internal sealed class ChatPageDetailsTests : ChatPageFixture
{
    private TestApp _app = null!; // Set before any test runs.
    private PushSource _source = null!; // Set before any test runs.

    private static readonly RouteFulfillOptions Picture = new() { ContentType = "image/png", BodyBytes = TestImages.Make() };

    private IMessageStore Store => _app.Services.GetRequiredService<IMessageStore>();

    [OneTimeSetUp]
    public async Task StartAsync()
    {
        _app = await TestApp.StartAsync(new() { ["Forge:Simulator:SecondsPerImage"] = "600" });
        _source = new PushSource(_app);
    }

    [OneTimeTearDown]
    public async Task StopAsync()
    {
        if (_app is not null)
            await _app.DisposeAsync();
    }

    /// <summary>Whatever a message says: the page shows the others, and links nowhere else.</summary>
    [Test]
    public async Task OddMessages_BreakNothingButThemselves()
    {
        foreach (var metadata in new[]
        {
            """{"status":"constructor","job_id":{"a":1},"prompt":["x"],"image_url":"https://evil.example/a.png"}""",
            """{"status":"complete","progress":100,"image_url":"//evil.example/b.png","preview_url":"https:"""
                + """//evil.example/c.png","settings":7}""",
        })
        {
            await Store.AddAsync(
                new NewMessage("odd", "ayşe", "user", $"words beside {metadata[11..19]}", MetadataPatch.Parse(metadata)), default);
            var image = await _source.BeginAsync("odd", "an odd image");
            await Store.UpdateMessageAsync(image.Id, null, MetadataPatch.Parse(metadata), default);
        }

        var last = await _source.ProgressAsync(await _source.BeginAsync("odd", "a good one"), 40);
        await using var context = await OpenAsync();
        var page = await GoAsync(context, "odd");

        await Expect(page.GetByTestId($"message-{last.Id}")).ToHaveAttributeAsync("data-progress", "40");
        await Expect(page.Locator("#messages > li")).ToHaveCountAsync(5);
        await Expect(page.Locator(".bubble").GetByText("words beside construc")).ToBeVisibleAsync();
        await _source.ProgressAsync(last, 60);
        await Expect(page.GetByTestId($"message-{last.Id}")).ToHaveAttributeAsync("data-progress", "60");
        var elsewhere = await page.EvaluateAsync<string[]>(
            "() => [...document.querySelectorAll('[href], [src]')].map(one => one.href?.baseVal ?? one.href ?? one.src).map(address => "
                + "new URL(address, location.href)).filter(address => address.origin !== location.origin).map(String)");
        Assert.That(elsewhere, Is.Empty);
    }

    /// <summary>Another page that shows it while it is erased.</summary>
    [Test]
    public async Task ErasedMessages_LeaveThePage_AtOnce()
    {
        var image = await _source.BeginAsync("erased", "an image to be erased");
        var words = await Store.AddAsync(new NewMessage("erased", "ayşe", "user", "words to be erased", null), default);
        var kept = await Store.AddAsync(new NewMessage("erased", "ayşe", "user", "words to be kept", null), default);
        await using var context = await OpenAsync();
        var page = await GoAsync(context, "erased");
        await Expect(page.Locator("#messages > li")).ToHaveCountAsync(3);
        await _source.ProgressAsync(image, 40);
        await Expect(page.GetByTestId($"message-{image.Id}")).ToHaveAttributeAsync("data-progress", "40");

        await Store.EraseAsync(image.Id, default);
        await Store.EraseAsync(words.Id, default);

        await Expect(page.Locator("#messages > li")).ToHaveCountAsync(1);
        await Expect(page.GetByTestId($"message-{kept.Id}")).ToBeVisibleAsync();
    }

    /// <summary>A list that was read before a message was erased comes after the page has been told.</summary>
    [Test]
    public async Task ErasedMessages_StayAway_WhenAnOlderReadingComesLater()
    {
        var erased = await Store.AddAsync(new NewMessage("overtaken", "ayşe", "user", "words to be erased", null), default);
        await using var context = await OpenAsync();
        var page = await GoAsync(context, "overtaken");
        await Expect(page.Locator("#messages > li")).ToHaveCountAsync(1);
        await Store.AddAsync(new NewMessage("overtaken", "ayşe", "user", "words to be kept", null), default);
        await Expect(page.Locator("#messages > li")).ToHaveCountAsync(2); // So its stream is open.
        var (isRead, mayCome) = (new TaskCompletionSource(), new TaskCompletionSource());
        await page.RouteAsync("**/api/conversations/overtaken/messages*", async route =>
        {
            var answer = await route.FetchAsync();
            isRead.TrySetResult();
            await mayCome.Task;
            await route.FulfillAsync(
                new()
                {
                    Response = answer,
                    Body = (await answer.TextAsync()).Replace("to be kept", "of the older reading", StringComparison.Ordinal),
                });
        });
        await page.EvaluateAsync("() => { dispatchEvent(new Event('online')); }");
        await isRead.Task.WaitAsync(TimeSpan.FromSeconds(30));

        await Store.EraseAsync(erased.Id, default);
        await Expect(page.Locator("#messages > li")).ToHaveCountAsync(1);
        mayCome.SetResult();

        await Expect(page.Locator(".bubble").GetByText("words of the older reading")).ToBeVisibleAsync();
        await Expect(page.Locator("#messages > li")).ToHaveCountAsync(1);
    }

    [Test]
    public async Task LongConversation_OpensAtItsEnd_OnAPhone_AndGoesBackPageByPage()
    {
        var ids = await TalkAsync("long", 120);
        await using var context = await OpenAsync(
            new() { ViewportSize = new() { Width = 390, Height = 700 }, HasTouch = true, IsMobile = true });
        var page = await GoAsync(context, "long");

        await Expect(page.GetByTestId($"message-{ids[^1]}")).ToBeInViewportAsync();
        await Expect(page.Locator("#messages > li")).ToHaveCountAsync(50);

        for (var read = 100; read <= 120; read += 20)
        {
            await page.GetByTestId("earlier").ClickAsync();
            await Expect(page.Locator("#messages > li")).ToHaveCountAsync(read);
        }

        await Expect(page.GetByTestId("earlier")).ToBeHiddenAsync();
        Assert.That(
            await page.Locator("#messages > li").EvaluateAllAsync<string[]>(
                "items => items.map(item => item.dataset.testid)"), Is.EqualTo(ids.Select(id => $"message-{id}")));
    }

    [Test]
    public async Task Opening_ReadsLittle_OfAThousandMessages()
    {
        var ids = await TalkAsync("thousand", 1000);
        await using var context = await OpenAsync();
        var read = new ConcurrentQueue<Task<byte[]>>();
        context.Response += (_, response) =>
        {
            if (response.Url.Contains("/messages?", StringComparison.Ordinal))
                read.Enqueue(response.BodyAsync());
        };
        var page = await GoAsync(context, "thousand");
        await Expect(page.GetByTestId($"message-{ids[^1]}")).ToBeInViewportAsync();
        await UntilLiveAsync(page, "thousand");

        var bodies = await Task.WhenAll(read);
        Assert.That(bodies.Sum(body => JsonNode.Parse(body)!["messages"]!.AsArray().Count), Is.InRange(1, 101));
        Assert.That(bodies.Sum(body => body.Length), Is.LessThan(200_000));
    }

    [Test]
    public async Task Focus_GoesOnAtTheButtonThatTookItsPlace_AfterCancelAndRetry()
    {
        await TalkAsync("keys", 1);
        await using var context = await OpenAsync();
        var page = await GoAsync(context, "keys");
        await SendAsync(page, "bir kedi");
        var card = page.Locator("[data-status]").First;

        await card.GetByTestId("cancel").FocusAsync();
        await page.Keyboard.PressAsync("Enter");
        await Expect(card.GetByTestId("retry")).ToBeFocusedAsync();
        await page.Keyboard.PressAsync("Enter");
        await Expect(card.GetByTestId("cancel")).ToBeFocusedAsync();
        await page.Keyboard.PressAsync("Enter");
        await Expect(card.GetByTestId("retry")).ToBeFocusedAsync();
    }

    [TestCase(832, 1216)]
    [TestCase(640, 512)]
    public async Task StartingFromAPrompt_KeepsSizeSeedAndSteps(int width, int height)
    {
        var first = await _app.SubmitAsync("bir gemi", $"reuse-{width}", more: new { width, height, seed = 4242, steps = 7 });
        await Store.CancelAsync((long)first["id"]!, "c", default);
        await using var context = await OpenAsync();
        var page = await GoAsync(context, $"reuse-{width}");

        await page.Locator("[data-part=reuse]").ClickAsync();
        await page.GetByTestId("send").ClickAsync();

        await Expect(page.Locator("#messages > li")).ToHaveCountAsync(2);
        var second = (await Store.ListAsync($"reuse-{width}", (long)first["id"]!, 1, default)).Single();
        var settings = JsonNode.Parse(second.ExtraMetadata)!["settings"]!;
        Assert.That(
            (
                (string?)second.Prompt,
                (int)settings["width"]!,
                (int)settings["height"]!,
                (int)settings["seed"]!,
                (int)settings["steps"]!), Is.EqualTo(("bir gemi", width, height, 4242, 7)));
        await Store.CancelAsync(second.Id, "c", default);
    }

    [Test]
    public async Task Waiting_TakesLittleRoom_AndLongPromptsAreFolded()
    {
        await _source.BeginAsync("room");
        var waiting = await _app.SubmitAsync(string.Join('\n', Enumerable.Repeat("uzun bir istek", 40)), "room");
        await using var context = await OpenAsync();
        var page = await GoAsync(context, "room");
        var turn = page.GetByTestId($"message-{waiting["id"]}");

        // Whatever else runs: this one waits behind another, or is about to be generated.
        await Store.RequeueAsync((long)waiting["id"]!, 1, AttemptCharge.None, default);
        await Expect(turn).ToHaveAttributeAsync("data-status", new Regex("queued|processing"));
        if (await turn.GetAttributeAsync("data-status") == "queued")
            Assert.That((await turn.Locator("[data-part=card]").BoundingBoxAsync())!.Height, Is.LessThan(140));

        var bubble = turn.Locator("[data-part=prompt]");
        Assert.That((await bubble.BoundingBoxAsync())!.Height, Is.LessThan(200));
        await turn.GetByTestId("unfold").ClickAsync();
        await Expect(turn.GetByTestId("unfold")).ToHaveAttributeAsync("aria-expanded", "true");
        Assert.That((await bubble.BoundingBoxAsync())!.Height, Is.GreaterThan(800));
        await Expect(page.GetByTestId("unfold")).ToHaveCountAsync(1 + 1);
        await Expect(page.GetByTestId("unfold").First).ToBeHiddenAsync();
        await Store.CancelAsync((long)waiting["id"]!, "c", default);
    }

    [Test]
    public async Task Language_IsSwitched_WhereTheReaderIs_AndStays()
    {
        await TalkAsync("language", 1);
        await using var context = await OpenAsync();
        var page = await GoAsync(context, "language");
        await Expect(page.Locator("html")).ToHaveAttributeAsync("lang", "tr");

        await page.GetByTestId("language").ClickAsync();

        await Expect(page.Locator("html")).ToHaveAttributeAsync("lang", "en");
        await Expect(page.GetByTestId("send")).ToHaveAttributeAsync("aria-label", "Send");
        Assert.That(new Uri(page.Url).Query, Is.EqualTo("?c=language"));
        await page.ReloadAsync();
        await Expect(page.GetByTestId("language")).ToHaveTextAsync("Türkçe");
    }

    [Test]
    public async Task LongNames_FitIntoANarrowWindow()
    {
        var name = new string('W', 100);
        await Store.AddAsync(new NewMessage("wide", name, "user", new string('M', 300), null), default);
        await using var context = await OpenAsync(new() { ViewportSize = new() { Width = 320, Height = 640 } }, name);
        var page = await GoAsync(context, "wide");

        await page.Locator("#open-sidebar").ClickAsync();
        await Expect(page.Locator("#current-name")).ToBeVisibleAsync();
        Assert.That(await OverflowsAsync(page), Is.Empty);
        await page.Locator("#close-sidebar").ClickAsync();
        await page.GotoAsync("/");
        await Expect(page.Locator("#empty-title")).ToBeVisibleAsync();
        Assert.That(await OverflowsAsync(page), Is.Empty);
    }

    [Test]
    public async Task Landscape_LeavesRoomToRead_OnAPhone()
    {
        await TalkAsync("side", 5);
        await using var context = await OpenAsync(
            new() { ViewportSize = new() { Width = 740, Height = 340 }, HasTouch = true, IsMobile = true });
        var page = await GoAsync(context, "side");

        Assert.That((await page.Locator("#thread").BoundingBoxAsync())!.Height, Is.GreaterThan(340 * 0.45));
        await Expect(page.GetByTestId("send")).ToBeInViewportAsync();
        await page.Locator("#open-sidebar").ClickAsync();
        await page.GetByTestId("change-name").ScrollIntoViewIfNeededAsync();
        await Expect(page.GetByTestId("change-name")).ToBeInViewportAsync();
    }

    /// <summary>What colours said is said by lines.</summary>
    [Test]
    public async Task ForcedColors_LeaveNothingUnsaid()
    {
        await TalkAsync("forced", 1);
        await using var context = await OpenAsync(new() { ForcedColors = ForcedColors.Active });
        var page = await GoAsync(context, "forced");

        foreach (var selector in new[] { "#send", ".bubble", ".sizes" })
            await Expect(page.Locator(selector).First).ToHaveCSSAsync("border-top-style", "solid");
        await Expect(page.Locator(".size:has(:checked)")).ToHaveCSSAsync("outline-style", "solid");
        await Expect(page.Locator(".conversation a[aria-current]")).ToHaveCSSAsync("outline-style", "solid");
        await Expect(page.Locator("#queue-light")).ToHaveCSSAsync("forced-color-adjust", "none");
    }

    [Test]
    public async Task WithoutJavaScript_ThePageSaysSo_AndShowsNoDeadControls()
    {
        await using var context = await Browser.OpenAsync(_app, new() { JavaScriptEnabled = false });
        var page = await context.NewPageAsync();
        await page.GotoAsync("/");

        await Expect(page.Locator("body > noscript p")).ToBeVisibleAsync();
        foreach (var control in await page.Locator("button, input, textarea, a").AllAsync())
            await Expect(control).ToBeHiddenAsync();
    }

    [Test]
    public async Task SomebodyElsesConversation_CanBeRead_AndIsSaidToBeReadOnly()
    {
        await Store.AddAsync(new NewMessage("hers", "zeynep", "user", "merhaba", null), default);
        var image = await _app.SubmitAsync("bir kedi", "hers", "zeynep");
        await using var context = await OpenAsync();
        var page = await GoAsync(context, "hers");

        await Expect(page.Locator(".bubble").GetByText("merhaba")).ToBeVisibleAsync();
        await Expect(page.GetByTestId("read-only")).ToContainTextAsync("zeynep");
        await Expect(page.GetByTestId("prompt")).ToBeHiddenAsync();
        await Expect(page.GetByTestId($"message-{image["id"]}").GetByTestId("cancel")).ToBeHiddenAsync();

        await page.Locator("#new-conversation").ClickAsync();
        await Expect(page.GetByTestId("prompt")).ToBeVisibleAsync();
        await Expect(page.GetByTestId("read-only")).ToBeHiddenAsync();
        await Store.CancelAsync((long)image["id"]!, "c", default);
    }

    /// <summary>Only what reads, copies or downloads is offered.</summary>
    [Test]
    public async Task SomebodyElsesConversation_OffersNoCommands()
    {
        var done = await _source.CompleteAsync(await _source.BeginAsync("foreign", "a lake"));
        var group = (await _app.SubmitAsync("iki gemi", "foreign", more: new { n = 2 }))["messages"]!.AsArray();
        await using var context = await OpenAsync(name: "zeynep");
        await context.RouteAsync("**/images/**", route => route.FulfillAsync(Picture));
        var page = await GoAsync(context, "foreign");
        var card = page.GetByTestId($"message-{done.Id}");
        await Expect(card.GetByTestId("image")).ToBeVisibleAsync();
        await Expect(page.GetByTestId("group")).ToBeVisibleAsync();

        await card.GetByTestId("more").Locator("summary").ClickAsync();
        await ChatBrowser.ShootAsync(page, "chat-foreign");
        await Expect(card.GetByTestId("copy-prompt")).ToBeVisibleAsync();
        foreach (var part in new[] { "cancel", "cancel-all", "retry", "reuse", "again", "change", "settings" })
            await Expect(page.Locator($"[data-part={part}]:visible")).ToHaveCountAsync(0);
        foreach (var one in group)
            await Store.CancelAsync((long)one!["id"]!, "c", default);
    }

    /// <summary>The retention has deleted the file: the message is kept, and says so.</summary>
    [Test]
    public async Task ExpiredImage_IsSaidToBeGone_AndOffersNothingThatNeedsIt()
    {
        var kept = await _source.CompleteAsync(await _source.BeginAsync("expired", "a lake"));
        await using var context = await OpenAsync();
        await context.RouteAsync("**/images/**", route => route.FulfillAsync(Picture));
        var page = await GoAsync(context, "expired");
        var card = page.GetByTestId($"message-{kept.Id}");
        await Expect(card.GetByTestId("image")).ToBeVisibleAsync();

        await Store.UpdateMessageAsync(kept.Id, null, MetadataPatch.Parse("""{"image_url":null,"thumbnail_url":null}"""), default);

        await Expect(card.Locator("[data-part=headline]")).ToHaveTextAsync("Bu görsel artık saklanmıyor.");
        await card.GetByTestId("more").Locator("summary").ClickAsync();
        await ChatBrowser.ShootAsync(page, "chat-expired");
        foreach (var part in new[] { "frame", "image-problem", "enlarge", "download", "change", "copy-image" })
            await Expect(card.Locator($"[data-part={part}]")).ToBeHiddenAsync();
        foreach (var part in new[] { "again", "reuse", "copy-prompt", "settings" })
            await Expect(card.Locator($"[data-part={part}]")).ToBeVisibleAsync();
        await page.ReloadAsync();
        await Expect(card.Locator("[data-part=headline]")).ToHaveTextAsync("Bu görsel artık saklanmıyor.");
    }

    /// <summary>While an image is pending, all messages are read again every few seconds.</summary>
    [Test]
    public async Task TextMessages_KeepTheirFocus_WhenTheyAreReadAgain()
    {
        await Store.AddAsync(new NewMessage("reread", "ayşe", MessageRole.Bot, "[bir yer](https://example.org/a)", null), default);
        await using var context = await OpenAsync();
        var page = await GoAsync(context, "reread");
        var link = page.Locator("[data-part=text] a");
        await link.FocusAsync();

        await page.EvaluateAsync("() => { dispatchEvent(new Event('online')); }");
        await UntilLiveAsync(page, "reread");
        await page.EvaluateAsync("() => { dispatchEvent(new Event('online')); }");
        await UntilLiveAsync(page, "reread");

        await Expect(link).ToBeFocusedAsync();
    }

    /// <summary>The events of another client's request have all that its cards show.</summary>
    [Test]
    public async Task Group_IsAGrid_BeforeItsMessagesAreRead()
    {
        await TalkAsync("grid", 1);
        await using var context = await OpenAsync();
        var page = await GoAsync(context, "grid");
        await UntilLiveAsync(page, "grid");
        await page.RouteAsync("**/api/messages/**", _ => Task.CompletedTask); // Neither answered nor refused.
        await page.RouteAsync("**/api/conversations/grid/messages*", _ => Task.CompletedTask);

        var group = (await _app.SubmitAsync("iki gemi", "grid", more: new { n = 2 }))["messages"]!.AsArray();

        await Expect(page.GetByTestId("group").Locator("[data-status]")).ToHaveCountAsync(2);
        foreach (var one in group)
            await Store.CancelAsync((long)one!["id"]!, "c", default);
    }

    /// <summary>A page in the browser's back/forward cache has no stream, and opens another when it comes back.</summary>
    [Test]
    public async Task Stream_IsOpenedAgain_WhenThePageComesBackFromTheCache()
    {
        await TalkAsync("cached", 1);
        await using var context = await OpenAsync();
        var page = await GoAsync(context, "cached");
        await UntilLiveAsync(page, "cached");

        await page.EvaluateAsync(
            """
            () => {
              for (const type of ['pagehide', 'pageshow']) dispatchEvent(new PageTransitionEvent(type, { persisted: true }));
            }
            """);

        await UntilLiveAsync(page, "cached"); // Maybe by the read that the return causes.
        await UntilLiveAsync(page, "cached");
    }

    /// <summary>The worker that holds the stream of all tabs, with tabs, time and stream of the test.</summary>
    [Test]
    public async Task StreamWorker_TellsATab_WhenItMayHaveMissedAMessage()
    {
        await using var context = await OpenAsync(new() { BypassCSP = true });
        var page = await context.NewPageAsync();
        await page.GotoAsync("/");

        var told = await page.EvaluateAsync<string[]>(
            """
            async () => {
              let now = 0;
              const streams = [];
              class Stream extends EventTarget {
                static OPEN = 1;
                static CLOSED = 2;
                readyState = 0;
                constructor() { super(); streams.push(this); }
                open() { this.readyState = 1; this.dispatchEvent(new Event('open')); }
                close() { this.readyState = 2; }
              }
              const worker = new EventTarget();
              const timers = [];
              const later = run => timers.push(run);
              const source = await (await fetch('/chat/stream-worker.js')).text();
              new Function('globalThis', 'EventSource', 'performance', 'setTimeout', 'clearTimeout', source)(
                worker, Stream, { now: () => now }, later, () => timers.splice(0));
              const told = [];
              const tab = name => {
                const port = Object.assign(new EventTarget(), {
                  start() {}, close() {}, postMessage: ({ type, isClosed }) => told.push(`${name}: ${type}${isClosed ? ' closed' : ''}`),
                });
                worker.dispatchEvent(Object.assign(new Event('connect'), { ports: [port] }));
                return data => {
                  port.dispatchEvent(new MessageEvent('message', { data }));
                  timers.splice(0).forEach(run => run());
                };
              };
              const one = tab('one');
              one({ conversation: 'a', root: '/' });
              streams.at(-1).open();
              const two = tab('two');
              two({ conversation: 'b', root: '/' });
              streams.at(-1).open();
              told.push('frozen');
              now = 170_000;
              two({ here: true });
              now = 190_000;
              two({ here: true });
              one({ here: true });
              return told;
            }
            """);

        Assert.That(told, Is.EqualTo(new[] { "one: open", "one: open", "two: open", "frozen", "one: error closed" }));
    }

    /// <summary>The code is translated; the raw reason is for the operators.</summary>
    [Test]
    public async Task Error_IsSaidInTheReadersLanguage_ByItsCode()
    {
        var message = await _source.BeginAsync("errors");
        await Store.FailAsync(
            message.Id, message.Attempt, "c", new RequestFailure(ErrorCodes.OutOfMemory, "CUDA out of memory at 0x7f"), default);
        await using var context = await OpenAsync();
        var page = await GoAsync(context, "errors");

        await Expect(page.GetByTestId($"message-{message.Id}")).ToContainTextAsync("Ekran kartının belleği bu görsele yetmedi");
        await Expect(page.GetByText("CUDA")).ToHaveCountAsync(0);
    }

    /// <summary>HTTP/1.1 gives a browser six connections to one server, whatever the number of its tabs.</summary>
    [Test]
    public async Task SixTabsAndASeventh_AreAllLive_OverOneStream()
    {
        var messages = new List<Message>();
        for (var i = 0; i < 7; i++)
            messages.Add(await _source.BeginAsync($"tab-{i % 3}"));
        await using var context = await OpenAsync();
        var pages = new List<IPage>();
        for (var i = 0; i < 7; i++)
        {
            pages.Add(await GoAsync(context, $"tab-{i % 3}"));
            await Expect(pages[i].GetByTestId($"message-{messages[i].Id}")).ToHaveAttributeAsync("data-status", "processing");
            await UntilLiveAsync(pages[i], $"tab-{i % 3}");
        }

        for (var i = 0; i < 7; i++)
            await _source.ProgressAsync(messages[i], 10 + i);
        for (var i = 0; i < 7; i++)
        {
            await Expect(pages[i].GetByTestId($"message-{messages[i].Id}")).ToHaveAttributeAsync(
                "data-progress", $"{10 + i}", new() { Timeout = 4_000 });
        }

        Assert.That(_app.Services.GetRequiredService<MessageFeed>().WatcherCount, Is.EqualTo(1));

        foreach (var page in pages.Skip(1))
            await page.CloseAsync();
        await _source.ProgressAsync(messages[0], 50);
        await Expect(
            pages[0].GetByTestId($"message-{messages[0].Id}")).ToHaveAttributeAsync("data-progress", "50", new() { Timeout = 4_000 });
    }

    private async Task<IBrowserContext> OpenAsync(BrowserNewContextOptions? options = null, string name = "ayşe")
    {
        var context = await Browser.OpenAsync(_app, options);
        await context.AddInitScriptAsync(
            $"if (location.origin !== 'null' && !localStorage.getItem('imagequeue.chat')) localStorage.setItem('imagequeue.chat', "
                + $"JSON.stringify({{ name: '{name}', conversations: [] }}));");
        return context;
    }

    private static async Task<IPage> GoAsync(IBrowserContext context, string conversation)
    {
        var page = await context.NewPageAsync();
        await page.GotoAsync($"/?c={conversation}");
        await Expect(page.Locator("#chat")).ToBeVisibleAsync();
        await Expect(page.Locator("#loading")).ToBeHiddenAsync();
        return page;
    }

    private async Task<List<long>> TalkAsync(string conversation, int count)
    {
        var ids = new List<long>();
        for (var i = 0; i < count; i++)
        {
            ids.Add((await Store.AddAsync(
                new NewMessage(
                    conversation,
                    "ayşe",
                    i % 2 == 0 ? MessageRole.User : MessageRole.Bot,
                    $"söz {i.ToString(CultureInfo.InvariantCulture)}",
                    null), default)).Id);
        }

        return ids;
    }

    /// <summary>A word that is written now arrives by itself.</summary>
    private async Task UntilLiveAsync(IPage page, string conversation)
    {
        var word = await Store.AddAsync(new NewMessage(conversation, "ayşe", MessageRole.User, "canlı", null), default);
        await Expect(page.GetByTestId($"message-{word.Id}")).ToBeVisibleAsync(new() { Timeout = 15_000 });
    }

    /// <summary>What sticks out of the window sideways.</summary>
    private static Task<string[]> OverflowsAsync(IPage page) => page.EvaluateAsync<string[]>(
        "() => [...document.querySelectorAll('#app *')].filter(one => one.checkVisibility() && !one.closest('.icon, .visually-hidden, "
            + ".wash') && one.getBoundingClientRect().right > innerWidth + 1 && one.getBoundingClientRect().left >= 0).map(one => "
                + "one.outerHTML.slice(0, 120))");
}
