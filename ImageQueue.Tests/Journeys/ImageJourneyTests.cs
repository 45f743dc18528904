using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using ImageQueue.Tests.Support;
using NUnit.Framework;
using SkiaSharp;

namespace ImageQueue.Tests.Journeys;

/// <summary>The whole path of a request, over HTTP, Hangfire and the simulator; also where i is not I in lower case.</summary>
[TestFixture("")]
[TestFixture("tr-TR")]
[NonParallelizable] // The culture is the process's.
[Category(Categories.App)]
internal sealed class ImageJourneyTests(string culture)
{
    private readonly CultureInfo? _defaultCulture = CultureInfo.DefaultThreadCurrentCulture;
    private TestApp _app = null!; // Set before each test.

    [SetUp]
    public async Task StartAsync()
    {
        CultureInfo.DefaultThreadCurrentCulture =
            CultureInfo.DefaultThreadCurrentUICulture = CultureInfo.CurrentCulture = new CultureInfo(culture);
        _app = await TestApp.StartAsync();
    }

    [TearDown]
    public async Task StopAsync()
    {
        await _app.DisposeAsync();
        CultureInfo.DefaultThreadCurrentCulture = CultureInfo.DefaultThreadCurrentUICulture = _defaultCulture;
        CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
    }

    /// <summary>A list of images costs what thumbnails cost.</summary>
    [Test]
    public async Task Thumbnail_IsASmallWebP_OfTheImage()
    {
        var accepted = await _app.SubmitAsync("bir kedi", more: new { width = 1024, height = 640, steps = 2 });
        using var events = await SseReader.OpenAsync(_app.Http, "api/conversations/demo/events?last_event_id=0");
        await _app.WaitForAsync((long)accepted["id"]!, MessageStatus.Complete);
        var pushed = await events.ReadAsync();
        while ((string?)pushed["status"] != MessageStatus.Complete)
            pushed = await events.ReadAsync();
        var url = (string)pushed["thumbnail_url"]!;

        var whole = await _app.Http.GetAsync(url);
        var bytes = await whole.Content.ReadAsByteArrayAsync();
        using var codec = SKCodec.Create(new MemoryStream(bytes));
        Assert.Multiple(() =>
        {
            Assert.That(whole.Content.Headers.ContentType?.MediaType, Is.EqualTo("image/webp"));
            Assert.That(whole.Headers.CacheControl?.ToString(), Does.Contain("private").And.Contain("immutable"));
            Assert.That(codec.EncodedFormat, Is.EqualTo(SKEncodedImageFormat.Webp));
            Assert.That((codec.Info.Width, codec.Info.Height), Is.EqualTo((512, 320)));
        });

        foreach (var path in new[] { url, (string)pushed["image_url"]! })
        {
            using var range = new HttpRequestMessage(HttpMethod.Get, path) { Headers = { Range = new RangeHeaderValue(4, 9) } };
            using var part = await _app.Http.SendAsync(range);
            Assert.That(
                (part.StatusCode, (await part.Content.ReadAsByteArrayAsync()).Length),
                Is.EqualTo((HttpStatusCode.PartialContent, 6)),
                path);
            using var head = await _app.Http.SendAsync(new HttpRequestMessage(HttpMethod.Head, path));
            Assert.That(head.Content.Headers.ContentLength, Is.EqualTo((await _app.Http.GetByteArrayAsync(path)).Length), path);
        }
    }

    [Test]
    public async Task Request_EndsWithARealImage()
    {
        // While Forge is at another one it waits; an idle worker may be quicker than the answer.
        var before = (long)(await _app.SubmitAsync("[fault:stalled]", "before"))["id"]!;
        await _app.WaitForAsync(before, MessageStatus.Processing);
        var accepted = await _app.SubmitAsync(
            "bir kedi, yağlı boya İIıi", more: new { width = 512, height = 320, steps = 4, cfg_scale = 1.5, seed = 4294967295L });

        var jobId = (string)accepted["extra_metadata"]!["job_id"]!;
        Assert.Multiple(() =>
        {
            Assert.That((string)accepted["extra_metadata"]!["status"]!, Is.EqualTo("queued"));
            Assert.That((string)accepted["content"]!, Is.EqualTo("[IMAGE_PENDING]"));
            Assert.That((string)accepted["role"]!, Is.EqualTo("bot"));
            Assert.That(jobId, Does.Match("^[0-9a-f]{32}$"));
        });

        (await _app.Http.PostAsync($"api/messages/{before}/cancel", null)).EnsureSuccessStatusCode();
        var done = await _app.WaitForAsync((long)accepted["id"]!, MessageStatus.Complete);

        var metadata = done["extra_metadata"]!.AsObject();
        Assert.Multiple(() =>
        {
            Assert.That((int)metadata["progress"]!, Is.EqualTo(100));
            Assert.That((int)metadata["queue_position"]!, Is.Zero);
            Assert.That((string)metadata["job_id"]!, Is.EqualTo(jobId));
            Assert.That((string)metadata["prompt"]!, Is.EqualTo("bir kedi, yağlı boya İIıi"));
            Assert.That((string)metadata["image_url"]!, Is.EqualTo($"/images/flux_{jobId}.png"));
            Assert.That((string)metadata["thumbnail_url"]!, Is.EqualTo($"/images/flux_{jobId}.thumb.webp"));
            Assert.That(metadata["settings"]!["cfg_scale"]!.ToJsonString(), Is.EqualTo("1.5"));
            Assert.That((long)metadata["result"]!["seed"]!, Is.EqualTo(4294967295L));
            Assert.That((int)metadata["result"]!["width"]!, Is.EqualTo(512));
            Assert.That((int)metadata["result"]!["height"]!, Is.EqualTo(320));
            Assert.That((string)metadata["result"]!["model"]!, Is.Not.Empty);
            Assert.That((double)metadata["result"]!["duration_seconds"]!, Is.GreaterThanOrEqualTo(0));
            Assert.That(metadata.ContainsKey("error"), Is.False);
            Assert.That(done.ContainsKey("queue"), Is.False);
            Assert.That((string)done["content"]!, Is.EqualTo($"[IMAGE] Resminiz hazır.\nIMAGE_PATH: /images/flux_{jobId}.png"));
        });

        var image = await _app.Http.GetAsync((string)metadata["image_url"]!);
        Assert.That(image.Content.Headers.ContentType?.MediaType, Is.EqualTo("image/png"));
        Assert.That(image.Headers.CacheControl?.ToString(), Does.Contain("immutable"));
        using var bitmap = SKBitmap.Decode(await image.Content.ReadAsByteArrayAsync());
        Assert.That((bitmap.Width, bitmap.Height), Is.EqualTo((512, 320)));
        Assert.That(_app.Log.Of(LogLevel.Warning), Is.Empty);
    }

    [Test]
    public async Task Request_KeepsTheChatAppsKeys()
    {
        await using var slow = await TestApp.StartAsync(new() { ["Forge:Simulator:SecondsPerImage"] = "1" });
        var id = (long)(await slow.SubmitAsync("a cat"))["id"]!;
        const string mine = """{"client":{"thread":{"id":9007199254740993,"i̇ş":"ğ"},"price":1.10},"seen":true,"tags":["a",null]}""";
        var patched = await slow.Http.PatchAsync(
            $"api/messages/{id}", new StringContent($$"""{"extra_metadata":{{mine}}}""", Encoding.UTF8, "application/merge-patch+json"));
        Assert.That(patched.StatusCode, Is.EqualTo(HttpStatusCode.OK));

        var done = (await slow.WaitForAsync(id, MessageStatus.Complete))["extra_metadata"]!.AsObject();

        foreach (var (key, value) in JsonNode.Parse(mine)!.AsObject())
            Assert.That(done[key]?.ToJsonString(), Is.EqualTo(value!.ToJsonString()), key);
    }

    [Test]
    public async Task PlainMessages_KeepTheirOwnMetadata()
    {
        var response = await _app.Http.PostAsJsonAsync(
            "api/conversations/demo/messages",
            new
            {
                username = "ayşe",
                role = "user",
                content = "merhaba 👋 </script>",
                extra_metadata = new { status = "queued", okundu = true },
            });

        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.Created));
        var message = await _app.GetMessageAsync((long)(await TestApp.ReadAsync(response))["id"]!);
        Assert.Multiple(() =>
        {
            Assert.That((string)message["content"]!, Is.EqualTo("merhaba 👋 </script>"));
            Assert.That(message["extra_metadata"]!.ToJsonString(), Is.EqualTo("""{"status":"queued","okundu":true}"""));
        });
    }

    [Test]
    public async Task Pages_ListAllMessagesInOrder()
    {
        for (var i = 0; i < 5; i++)
            await _app.Http.PostAsJsonAsync("api/conversations/demo/messages", new { username = "ayşe", role = "user", content = $"{i}" });

        var contents = new List<string>();
        for (long? after = 0; after is not null;)
        {
            var page = await TestApp.ReadAsync(await _app.Http.GetAsync($"api/conversations/demo/messages?after={after}&limit=2"));
            contents.AddRange(page["messages"]!.AsArray().Select(message => (string)message!["content"]!));
            after = (long?)page["next"];
        }

        Assert.That(contents, Is.EqualTo(new[] { "0", "1", "2", "3", "4" }));
    }

    [Test]
    public async Task Restart_FinishesWhatWasWaiting()
    {
        using var folder = new TemporaryFolder();
        long[] ids;
        await using (var first = await TestApp.StartAsync(new() { ["Forge:Simulator:SecondsPerImage"] = "600" }, folder))
        {
            ids = [
                (long)(await first.SubmitAsync("one"))["id"]!,
                (long)(await first.SubmitAsync("two"))["id"]!,
                (long)(await first.SubmitAsync("three"))["id"]!];
            await first.WaitForAsync(ids[0], MessageStatus.Processing);
            Assert.That((int)(await first.GetMessageAsync(ids[2]))["queue"]!["position"]!, Is.EqualTo(2));
        }

        await using var second = await TestApp.StartAsync(folder: folder);

        foreach (var id in ids)
            await second.WaitForAsync(id, MessageStatus.Complete);
    }

    [Test]
    public async Task Events_TellOfEveryStateInOrder()
    {
        var id = (long)(await _app.SubmitAsync("the first makes the conversation"))["id"]!;
        await _app.WaitForAsync(id, MessageStatus.Complete);
        using var events = await SseReader.OpenAsync(_app.Http, "api/conversations/demo/events");

        var second = (long)(await _app.SubmitAsync("the second"))["id"]!;

        var seen = await events.ReadUntilAsync(progress => (string)progress["status"]! == "complete");
        Assert.Multiple(() =>
        {
            Assert.That(seen.Select(progress => (long)progress["message_id"]!), Is.All.EqualTo(second));
            Assert.That(seen.Select(progress => (long)progress["revision"]!), Is.Ordered.Ascending);
            Assert.That((string)seen[^1]["image_url"]!, Does.StartWith("/images/flux_"));
            Assert.That((int)seen[^1]["progress"]!, Is.EqualTo(100));
            Assert.That((string)seen[^1]["username"]!, Is.EqualTo("ayşe"));
        });
    }
}
