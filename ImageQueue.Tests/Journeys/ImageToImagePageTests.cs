using System.Text.Json.Nodes;
using Deque.AxeCore.Commons;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Simulator;
using Microsoft.Playwright;
using NUnit.Framework;
using SkiaSharp;

using static Microsoft.Playwright.Assertions;

namespace ImageQueue.Tests.Journeys;

/// <summary>The chat page where one image becomes another: vary, edit, upscale, attach; and several images of one request.</summary>
[TestFixture]
[Category(Categories.Process)]
internal sealed class ImageToImagePageTests : ChatPageFixture
{
    private const string User = "ayşe";

    private static readonly byte[] Photo = SceneRenderer.Draw("a photo", 3, 256, 192);

    private static readonly LocatorAssertionsToHaveAttributeOptions Patient = new() { Timeout = 60_000 };

    private TestApp _app = null!; // Set before any test runs.

    [OneTimeSetUp]
    public async Task StartAsync() => _app = await TestApp.StartAsync();

    [OneTimeTearDown]
    public async Task StopAsync()
    {
        if (_app is not null)
            await _app.DisposeAsync();
    }

    [TestCase(1280, 800, ColorScheme.Light)]
    [TestCase(1280, 800, ColorScheme.Dark)]
    [TestCase(390, 844, ColorScheme.Light)]
    public async Task Edit_ChangesOnlyWhatWasMarked(int width, int height, ColorScheme scheme)
    {
        await using var context = await OpenAsync(width, height, scheme);
        var (page, card) = await WithImageAsync(context, $"edit-{width}-{scheme}");

        await OpenEditorAsync(page, card);
        await page.GetByTestId("editor-send").ClickAsync();
        await Expect(page.GetByTestId("editor-problem")).Not.ToBeEmptyAsync();
        await MarkAsync(page, width == 390, (0.25, 0.25), (0.45, 0.3));
        await page.GetByTestId("editor-prompt").FillAsync("a red balloon");
        await ShootAsync(page, $"editor-{width}-{scheme}");
        Assert.That(await ViolationsAsync(page), Is.Empty);
        Assert.That(await page.EvaluateAsync<int>("document.documentElement.scrollWidth"), Is.LessThanOrEqualTo(width));
        await page.GetByTestId("editor-send").ClickAsync();

        await Expect(page.GetByTestId("editor")).ToBeHiddenAsync();
        var edited = Card(page, 1);
        await Expect(edited).ToHaveAttributeAsync("data-status", "complete", Patient);
        var changed = await ChangedAsync(card, edited);
        Assert.Multiple(() =>
        {
            Assert.That(changed.Width * changed.Height, Is.GreaterThan(0), "the marked part has changed");
            Assert.That(changed.Left, Is.GreaterThan(256 * 0.15));
            Assert.That(changed.Top, Is.GreaterThan(192 * 0.1));
            Assert.That(changed.Right, Is.LessThan(256 * 0.55));
            Assert.That(changed.Bottom, Is.LessThan(192 * 0.45));
        });
        await ShootAsync(page, $"edited-{width}-{scheme}");
    }

    [Test]
    public async Task Edit_UndoesAndClears_AndTakesTheWholeImageByKeyboard()
    {
        await using var context = await OpenAsync();
        var (page, card) = await WithImageAsync(context, "edit-keys");
        await OpenEditorAsync(page, card);

        await MarkAsync(page, byTouch: false, (0.2, 0.2), (0.3, 0.3));
        await MarkAsync(page, byTouch: false, (0.6, 0.6), (0.7, 0.7));
        var two = await MarkedAsync(page);
        await page.GetByTestId("mask-undo").ClickAsync();
        var one = await MarkedAsync(page);
        await page.GetByTestId("mask-clear").ClickAsync();
        var none = await MarkedAsync(page);
        Assert.That(two, Is.GreaterThan(one));
        Assert.That(one, Is.GreaterThan(none));
        Assert.That(none, Is.Zero);

        await page.GetByTestId("mask-whole").FocusAsync();
        await page.Keyboard.PressAsync("Space");
        await page.GetByTestId("editor-prompt").FillAsync("bütün gece");
        await page.GetByTestId("editor-send").FocusAsync();
        await page.Keyboard.PressAsync("Enter");

        var edited = Card(page, 1);
        await Expect(edited).ToHaveAttributeAsync("data-status", "complete", Patient);
        var source = (await _app.GetMessageAsync(await IdOfAsync(edited)))["extra_metadata"]!["source"]!;
        Assert.That((decimal)source["strength"]!, Is.EqualTo(0.75m));
        Assert.That(source["mask_upload_id"], Is.Null);
    }

    /// <summary>Closed while it is sent, and opened again: the answer does not close the second dialog.</summary>
    [Test]
    public async Task Editor_StaysOpen_WhenAnEarlierOneIsSent()
    {
        await using var context = await OpenAsync();
        var (page, card) = await WithImageAsync(context, "edit-twice");
        var mayGo = new TaskCompletionSource();
        await page.RouteAsync("**/uploads", async route =>
        {
            await mayGo.Task;
            await route.ContinueAsync();
        });
        await OpenEditorAsync(page, card);
        await MarkAsync(page, byTouch: false, (0.2, 0.2), (0.3, 0.3));
        await page.GetByTestId("editor-send").ClickAsync();
        await page.Keyboard.PressAsync("Escape");
        await Expect(page.GetByTestId("editor")).ToBeHiddenAsync();
        await OpenEditorAsync(page, card);
        await Expect(page.GetByTestId("editor-send")).ToHaveTextAsync("Oluştur");

        mayGo.SetResult();

        await Expect(Card(page, 1)).ToBeAttachedAsync();
        await Expect(page.GetByTestId("editor")).ToBeVisibleAsync();
    }

    /// <summary>A photo that was dropped before and is decoded later does not replace the variation's source.</summary>
    [Test]
    public async Task Vary_KeepsItsSource_WhenAnEarlierPhotoIsDecodedLater()
    {
        await using var context = await OpenAsync();
        var (page, card) = await WithImageAsync(context, "vary-late");
        await page.EvaluateAsync(
            """
            () => {
              const decode = createImageBitmap;
              window.createImageBitmap = async file => {
                await new Promise(resolve => { window.mayDecode = resolve; });
                return decode(file);
              };
            }
            """);
        await TakeAsync(page, "drop", Photo);
        await ChangeAsync(card, "vary");
        await Expect(page.GetByTestId("start")).ToBeVisibleAsync();
        await page.EvaluateAsync("async () => { window.mayDecode(); await new Promise(resolve => setTimeout(resolve, 300)); }");

        await page.GetByTestId("send").ClickAsync();

        await Expect(Card(page, 1)).ToBeVisibleAsync();
        var source = (await _app.GetMessageAsync(await IdOfAsync(Card(page, 1))))["extra_metadata"]!["source"]!;
        Assert.That((long?)source["message_id"], Is.EqualTo(await IdOfAsync(card)));
    }

    [Test]
    public async Task Vary_SendsTheImageWithItsStrength_AndKeepsItsShape()
    {
        await using var context = await OpenAsync();
        var (page, card) = await WithImageAsync(context, "vary");

        await ChangeAsync(card, "vary");
        await Expect(page.GetByTestId("start")).ToBeVisibleAsync();
        await page.GetByTestId("strength").FillAsync("30");
        await ShootAsync(page, "vary");
        Assert.That(await ViolationsAsync(page), Is.Empty);
        await page.GetByTestId("send").ClickAsync();

        var varied = Card(page, 1);
        await Expect(varied).ToHaveAttributeAsync("data-status", "complete", Patient);
        await Expect(page.GetByTestId("start")).ToBeHiddenAsync();
        await Expect(varied.Locator("[data-part=detail]")).ToContainTextAsync("256");
        var message = (await _app.GetMessageAsync(await IdOfAsync(varied)))["extra_metadata"]!;
        Assert.Multiple(async () =>
        {
            Assert.That((decimal)message["source"]!["strength"]!, Is.EqualTo(0.3m));
            Assert.That((long)message["source"]!["message_id"]!, Is.EqualTo(await IdOfAsync(card)));
            Assert.That(((int)message["result"]!["width"]!, (int)message["result"]!["height"]!), Is.EqualTo((256, 192)));
        });

        await varied.GetByTestId("again").ClickAsync();
        await Expect(Card(page, 2)).ToHaveAttributeAsync("data-status", "complete", Patient);
        var again = (await _app.GetMessageAsync(await IdOfAsync(Card(page, 2))))["extra_metadata"]!;
        Assert.That(again["source"]!.ToJsonString(), Is.EqualTo(message["source"]!.ToJsonString()));
    }

    [TestCase(2)]
    [TestCase(4)]
    public async Task Upscale_MakesTheImageLarger(int factor)
    {
        await using var context = await OpenAsync();
        var (page, card) = await WithImageAsync(context, $"upscale-{factor}");

        await ChangeAsync(card, $"upscale-{factor}");

        var large = Card(page, 1);
        await Expect(large).ToHaveAttributeAsync("data-status", "complete", Patient);
        using var image = SKBitmap.Decode(await ImageOfAsync(large));
        Assert.That((image.Width, image.Height), Is.EqualTo((256 * factor, 192 * factor)));
    }

    [TestCase("attach")]
    [TestCase("paste")]
    [TestCase("drop")]
    public async Task Composer_TakesAnImage_ForANewConversation(string way)
    {
        await using var context = await OpenAsync();
        var page = await EnterAsync(context);
        await Expect(page.GetByTestId("attach")).ToBeVisibleAsync();

        await TakeAsync(page, way, Photo);
        await Expect(page.GetByTestId("start")).ToBeVisibleAsync();
        await page.GetByTestId("start-remove").ClickAsync();
        await Expect(page.GetByTestId("start")).ToBeHiddenAsync();
        await TakeAsync(page, way, Photo);
        await SendAsync(page, "aynısı gece");

        var card = Card(page);
        await Expect(card).ToHaveAttributeAsync("data-status", "complete", Patient);
        using var image = SKBitmap.Decode(await ImageOfAsync(card));
        Assert.That((image.Width, image.Height), Is.EqualTo((256, 192)), "the shape of the image");
    }

    [Test]
    public async Task Composer_SaysSo_WhenAFileIsNoImage()
    {
        await using var context = await OpenAsync();
        var page = await EnterAsync(context);
        await Expect(page.GetByTestId("attach")).ToBeVisibleAsync();

        await page.GetByTestId("attach-file").SetInputFilesAsync(
            new FilePayload { Name = "notes.png", MimeType = "image/png", Buffer = "no image"u8.ToArray() });

        await Expect(page.GetByTestId("send-problem")).ToBeVisibleAsync();
        await Expect(page.GetByTestId("start")).ToBeHiddenAsync();
    }

    [Test]
    public async Task Composer_MakesALargePhotoSmaller_BeforeItIsUploaded()
    {
        await using var context = await OpenAsync();
        var page = await EnterAsync(context);
        await Expect(page.GetByTestId("attach")).ToBeVisibleAsync();
        using var large = new SKBitmap(new SKImageInfo(3000, 1500, SKColorType.Gray8));
        using var png = large.Encode(SKEncodedImageFormat.Png, 100);
        await page.GetByTestId("attach-file").SetInputFilesAsync(
            new FilePayload { Name = "photo.png", MimeType = "image/png", Buffer = png.ToArray() });
        await Expect(page.GetByTestId("start")).ToBeVisibleAsync();
        await page.GetByTestId("prompt").FillAsync("küçük");

        var answered = page.WaitForResponseAsync(response => response.Url.EndsWith("/uploads", StringComparison.Ordinal));
        await page.GetByTestId("send").ClickAsync();

        var upload = JsonNode.Parse(await (await answered).TextAsync())!;
        Assert.That(((int)upload["width"]!, (int)upload["height"]!), Is.EqualTo((2048, 1024)));
        await Expect(page.Locator("[data-status='complete']")).ToHaveCountAsync(1, new() { Timeout = 60_000 });
    }

    [TestCase(1280, 800)]
    [TestCase(390, 844)]
    public async Task SeveralImages_AreOneGrid_WithOneCancel(int width, int height)
    {
        await using var app = await TestApp.StartAsync(new() { ["Forge:Simulator:SecondsPerImage"] = "600" });
        await using var context = await OpenAsync(width, height, app: app);
        var page = await EnterAsync(context);
        await page.GetByTestId("images").SelectOptionAsync("4");
        await SendAsync(page, "dört mevsim");

        var group = page.GetByTestId("group");
        var cards = group.Locator("[data-testid^='message-'][data-status]");
        await Expect(cards).ToHaveCountAsync(4);
        await Expect(cards.Nth(0)).ToHaveAttributeAsync("data-status", "processing");
        await Expect(cards.Nth(3)).ToHaveAttributeAsync("data-position", "3");
        await Expect(page.Locator("#messages > li")).ToHaveCountAsync(1);
        await Expect(group.Locator(".bubble:visible")).ToHaveCountAsync(1);
        await Expect(group.GetByTestId("cancel").First).ToBeHiddenAsync();
        await Expect(cards.Nth(0).GetByRole(AriaRole.Progressbar)).ToBeVisibleAsync();
        await ShootAsync(page, $"group-{width}");
        Assert.That(await ViolationsAsync(page), Is.Empty);
        Assert.That(await page.EvaluateAsync<int>("document.documentElement.scrollWidth"), Is.LessThanOrEqualTo(width));

        await page.ReloadAsync();
        await Expect(cards).ToHaveCountAsync(4);
        await group.GetByTestId("cancel-group").FocusAsync();
        await page.Keyboard.PressAsync("Enter");

        for (var i = 0; i < 4; i++)
            await Expect(cards.Nth(i)).ToHaveAttributeAsync("data-status", "cancelled");
        await Expect(group.GetByTestId("cancel-group")).ToBeHiddenAsync();
        await Expect(cards.First.GetByTestId("retry")).ToBeFocusedAsync();
    }

    [Test]
    public async Task SeveralImages_EndEachByItself()
    {
        await using var context = await OpenAsync(390, 844);
        var page = await EnterAsync(context);
        await page.GetByTestId("images").SelectOptionAsync("4");
        await SendAsync(page, "dört gemi");

        var cards = page.GetByTestId("group").Locator("[data-status='complete']");
        await Expect(cards).ToHaveCountAsync(4, new() { Timeout = 60_000 });
        await cards.First.GetByTestId("change").Locator("summary").ClickAsync();
        await Expect(cards.First.GetByTestId("upscale-2")).ToBeInViewportAsync(new() { Ratio = 1 });
        await ShootAsync(page, "group-done-390");
        Assert.That(await ViolationsAsync(page), Is.Empty);
        Assert.That(await page.EvaluateAsync<int>("document.documentElement.scrollWidth"), Is.LessThanOrEqualTo(390));
    }

    /// <summary>A server that can only make images from words: nothing else is offered.</summary>
    [Test]
    public async Task Page_OffersOnlyWhatCanBeDone()
    {
        await using var context = await OpenAsync();
        await context.RouteAsync("**/api/models", route => route.FulfillAsync(
            new() { ContentType = "application/json", Body = """{"models":[],"can":["text_to_image"]}""" }));
        var (page, card) = await WithImageAsync(context, "plain", isOffered: false);

        await Expect(card.GetByTestId("change")).ToBeHiddenAsync();
        await Expect(page.GetByTestId("attach")).ToBeHiddenAsync();
    }

    private Task<IBrowserContext> OpenAsync(
        int width = 1280, int height = 800, ColorScheme scheme = ColorScheme.Light, TestApp? app = null) =>
        Browser.OpenAsync(app ?? _app, new()
        {
            ViewportSize = new() { Width = width, Height = height },
            ColorScheme = scheme,
            HasTouch = width == 390,
            IsMobile = width == 390,
        });

    /// <summary>A conversation with one finished image.</summary>
    private async Task<(IPage Page, ILocator Card)> WithImageAsync(IBrowserContext context, string conversation, bool isOffered = true)
    {
        var message = await _app.SubmitAsync("a quiet lake", conversation, User, new { width = 256, height = 192, steps = 4, seed = 5 });
        await _app.WaitForAsync((long)message["id"]!, "complete");
        var page = await EnterAsync(context, User);
        await page.GotoAsync($"/?c={conversation}");
        var card = Card(page);
        await Expect(card.GetByTestId("image")).ToBeVisibleAsync();
        if (isOffered)
            await Expect(card.GetByTestId("change")).ToBeVisibleAsync();
        return (page, card);
    }

    private static async Task ChangeAsync(ILocator card, string what)
    {
        await card.GetByTestId("change").Locator("summary").ClickAsync();
        await card.GetByTestId(what).ClickAsync();
    }

    private static async Task OpenEditorAsync(IPage page, ILocator card)
    {
        await ChangeAsync(card, "edit");
        await Expect(page.GetByTestId("mask")).ToHaveJSPropertyAsync("width", 256);
    }

    /// <summary>Draws a line over the image, in parts of its size.</summary>
    private static async Task MarkAsync(IPage page, bool byTouch, (double X, double Y) from, (double X, double Y) to)
    {
        var box = (await page.GetByTestId("mask").BoundingBoxAsync())!; // It is visible.
        var (x1, y1) = (box.X + (box.Width * from.X), box.Y + (box.Height * from.Y));
        var (x2, y2) = (box.X + (box.Width * to.X), box.Y + (box.Height * to.Y));
        if (byTouch)
        {
            var touch = await page.Context.NewCDPSessionAsync(page);
            await TouchAsync("touchStart", (x1, y1));
            for (var i = 1; i <= 10; i++)
                await TouchAsync("touchMove", (x1 + ((x2 - x1) * i / 10), y1 + ((y2 - y1) * i / 10)));
            await TouchAsync("touchEnd");
            return;

            Task TouchAsync(string type, params (double X, double Y)[] points) => touch.SendAsync(
                "Input.dispatchTouchEvent",
                new() { ["type"] = type, ["touchPoints"] = points.Select(point => new { x = point.X, y = point.Y }).ToArray() });
        }

        await page.Mouse.MoveAsync((float)x1, (float)y1);
        await page.Mouse.DownAsync();
        await page.Mouse.MoveAsync((float)x2, (float)y2, new() { Steps = 10 });
        await page.Mouse.UpAsync();
    }

    private static Task<int> MarkedAsync(IPage page) => page.GetByTestId("mask").EvaluateAsync<int>(
        """
        canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data
          .filter((value, i) => i % 4 === 3 && value > 0).length
        """);

    private static async Task TakeAsync(IPage page, string way, byte[] image)
    {
        if (way == "attach")
        {
            await page.GetByTestId("attach-file").SetInputFilesAsync(
                new FilePayload { Name = "a.png", MimeType = "image/png", Buffer = image });
            return;
        }

        await page.EvaluateAsync(
            """
            ([way, base64]) => {
              const files = new DataTransfer();
              files.items.add(new File([Uint8Array.from(atob(base64), one => one.charCodeAt(0))], 'a.png', { type: 'image/png' }));
              const target = document.getElementById('prompt');
              const fire = (name, data) => target.dispatchEvent(name === 'paste'
                ? new ClipboardEvent(name, { bubbles: true, cancelable: true, clipboardData: data })
                : new DragEvent(name, { bubbles: true, cancelable: true, dataTransfer: data }));
              if (way === 'paste') return fire('paste', files);
              fire('dragenter', files);
              fire('dragover', files);
              fire('drop', files);
            }
            """,
            new[] { way, Convert.ToBase64String(image) });
    }

    private static async Task<long> IdOfAsync(ILocator card) =>
        long.Parse((await card.GetAttributeAsync("data-testid"))!["message-".Length..], null); // It was found by it.

    private async Task<byte[]> ImageOfAsync(ILocator card) => await _app.Http.GetByteArrayAsync(
        ((string)(await _app.GetMessageAsync(await IdOfAsync(card)))["extra_metadata"]!["image_url"]!).TrimStart('/'));

    /// <summary>The smallest rectangle that holds every pixel which differs.</summary>
    private async Task<SKRectI> ChangedAsync(ILocator before, ILocator after)
    {
        using var one = SKBitmap.Decode(await ImageOfAsync(before));
        using var other = SKBitmap.Decode(await ImageOfAsync(after));
        Assert.That((other.Width, other.Height), Is.EqualTo((one.Width, one.Height)));
        var changed = Enumerable.Range(0, one.Width * one.Height)
            .Select(i => (X: i % one.Width, Y: i / one.Width))
            .Where(at => one.GetPixel(at.X, at.Y) != other.GetPixel(at.X, at.Y)).ToList();
        return changed is []
            ? SKRectI.Empty
            : new SKRectI(changed.Min(at => at.X), changed.Min(at => at.Y), changed.Max(at => at.X) + 1, changed.Max(at => at.Y) + 1);
    }

    private static async Task<string[]> ViolationsAsync(IPage page)
    {
        await page.EvaluateAsync(new BundledAxeScriptProvider().GetScript());
        return await page.EvaluateAsync<string[]>(
            """
            async () => {
              const found = await axe.run();
              if (found.passes.length === 0) return ['axe has looked at nothing'];
              return found.violations.flatMap(one => one.nodes.map(node => `${one.id}: ${node.html}`));
            }
            """);
    }

    private static Task ShootAsync(IPage page, string name) => ChatBrowser.ShootAsync(page, name);
}
