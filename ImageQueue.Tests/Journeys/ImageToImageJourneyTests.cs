using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using ImageQueue.Core.Recovery;
using ImageQueue.Tests.Simulator;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;
using SkiaSharp;

namespace ImageQueue.Tests.Journeys;

/// <summary>From an image, or an upload, to another one: varied, edited under a mask, made larger, several at once.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed class ImageToImageJourneyTests
{
    [Test]
    public async Task Variation_StartsFromTheMessage_AndHasItsSize()
    {
        await using var app = await TestApp.StartAsync();
        var first = await CompleteAsync(app, new { username = "ayşe", prompt = "bir kedi", width = 128, height = 96, steps = 4 });

        var varied = await CompleteAsync(
            app, new { username = "ayşe", prompt = "bir kedi, gece", steps = 4, source = new { message_id = (long)first["id"]! } });

        var metadata = varied["extra_metadata"]!;
        Assert.Multiple(() =>
        {
            Assert.That(((int)metadata["settings"]!["width"]!, (int)metadata["settings"]!["height"]!), Is.EqualTo((128, 96)));
            Assert.That(((int)metadata["result"]!["width"]!, (int)metadata["result"]!["height"]!), Is.EqualTo((128, 96)));
            Assert.That((long)metadata["source"]!["message_id"]!, Is.EqualTo((long)first["id"]!));
            Assert.That((string?)metadata["source"]!["job_id"], Is.EqualTo((string?)first["extra_metadata"]!["job_id"]));
            Assert.That((decimal)metadata["source"]!["strength"]!, Is.EqualTo(0.55m));
        });
        Assert.That(
            await app.Http.GetStringAsync($"hangfire/images/{varied["id"]}"),
            Does.Contain(
                $"""<dt>Starts from</dt><dd><a href="/hangfire/images/{first["id"]}">image {first["id"]}</a>, strength 0.55</dd>"""));
    }

    [Test]
    public async Task Edit_ChangesOnlyWhatTheMaskAllows_OfAnUpload()
    {
        await using var app = await TestApp.StartAsync();
        await OwnAsync(app);
        var photo = await UploadAsync(app, TestImages.Make(128, 96));
        var mask = await UploadAsync(app, TestImages.Mask(128, 96));

        var edited = await CompleteAsync(
            app,
            new
            {
                username = "ayşe",
                prompt = "bir pencere",
                steps = 4,
                source = new { upload_id = photo, mask_upload_id = mask, strength = 1 },
            },
            conversation: "başka");

        Assert.That((decimal)edited["extra_metadata"]!["source"]!["strength"]!, Is.EqualTo(1m));
        Assert.That(
            await app.Http.GetStringAsync($"hangfire/images/{edited["id"]}"),
            Does.Contain(
                $"""<dd><a href="/api/conversations/demo/uploads/{photo}">an upload</a> """
                + $"""under <a href="/api/conversations/demo/uploads/{mask}">a mask</a>, strength 1</dd>"""));
        using var before = TestImages.Decode(await app.Http.GetByteArrayAsync($"api/conversations/demo/uploads/{photo}"));
        using var after = TestImages.Decode(await app.Http.GetByteArrayAsync((string)edited["extra_metadata"]!["image_url"]!));
        Assert.That((after.Width, after.Height), Is.EqualTo((128, 96)));
        Assert.That(Changed(before, after, new SKRectI(72, 0, 128, 96)), Is.Zero, "the black half stays");
        Assert.That(Changed(before, after, new SKRectI(0, 0, 56, 96)), Is.GreaterThan(1000), "the white half is another");
    }

    [TestCase(2, 256, 192)]
    [TestCase(4, 512, 384)]
    public async Task Upscale_MakesTheImageLarger_AndKeepsItsPrompt(int factor, int width, int height)
    {
        await using var app = await TestApp.StartAsync();
        var first = await CompleteAsync(app, new { username = "ayşe", prompt = "bir kedi", width = 128, height = 96, steps = 4 });
        var upload = await UploadAsync(app, TestImages.Make(128, 96));

        var ofMessage = await CompleteAsync(
            app, new { username = "ayşe", source = new { message_id = (long)first["id"]!, upscale = factor } });
        var ofUpload = await CompleteAsync(app, new { username = "ayşe", source = new { upload_id = upload, upscale = factor } });

        foreach (var metadata in new[] { ofMessage, ofUpload }.Select(message => message["extra_metadata"]!))
        {
            Assert.That(((int)metadata["result"]!["width"]!, (int)metadata["result"]!["height"]!), Is.EqualTo((width, height)));
            Assert.That((string?)metadata["result"]!["upscaler"], Is.EqualTo("R-ESRGAN 4x+"));
        }

        Assert.That((string?)ofMessage["extra_metadata"]!["prompt"], Is.EqualTo("bir kedi"));
        Assert.That((string?)ofUpload["extra_metadata"]!["prompt"], Is.Empty);
        Assert.That(
            await app.Http.GetStringAsync($"hangfire/images/{ofMessage["id"]}"), Does.Contain($"</a>, {factor} times as large</dd>"));
    }

    [Test]
    public async Task Source_IsNotFound_WhenItIsAnothersOrNotComplete()
    {
        await using var app = await TestApp.StartAsync(new() { ["Forge:Simulator:SecondsPerImage"] = "600" });
        var waiting = (long)(await app.SubmitAsync("bekleyen"))["id"]!;
        var upload = await UploadAsync(app, TestImages.Make());
        var nowhere = await UploadAsync(app, TestImages.Make(), "daha yok");

        await AssertRefusedAsync("mehmet", new { message_id = waiting }, 404, "source_not_found", "source.message_id");
        await AssertRefusedAsync("mehmet", new { upload_id = upload }, 404, "source_not_found", "source.upload_id");
        await AssertRefusedAsync("ayşe", new { upload_id = nowhere }, 404, "source_not_found", "source.upload_id");
        await AssertRefusedAsync(
            "ayşe", new { upload_id = upload, mask_upload_id = nowhere }, 404, "source_not_found", "source.mask_upload_id");
        await AssertRefusedAsync("ayşe", new { message_id = 4242 }, 404, "source_not_found", "source.message_id");
        await AssertRefusedAsync("ayşe", new { message_id = waiting }, 409, "source_not_ready", "source.message_id");
        await AssertRefusedAsync("ayşe", new { }, 422, "invalid_request", "source");
        await AssertRefusedAsync("ayşe", new { message_id = waiting, upload_id = upload }, 422, "invalid_request", "source");
        await AssertRefusedAsync("ayşe", new { upload_id = "../../x" }, 422, "invalid_request", "source.upload_id");
        await AssertRefusedAsync("ayşe", new { upload_id = upload, strength = 1.5 }, 422, "invalid_request", "source.strength");
        await AssertRefusedAsync("ayşe", new { upload_id = upload, upscale = 3 }, 422, "invalid_request", "source.upscale");
        await AssertRefusedAsync(
            "ayşe", new { upload_id = upload, upscale = 2, strength = 0.5 }, 422, "invalid_request", "source.strength");

        async Task AssertRefusedAsync(string username, object source, int status, string code, string field)
        {
            using var response = await app.Http.PostAsJsonAsync(
                $"api/conversations/of-{username}/images", new { username, prompt = "bir kedi", source });
            var problem = await TestApp.ReadAsync(response);
            Assert.That(((int)response.StatusCode, (string?)problem["code"]), Is.EqualTo((status, code)), problem.ToJsonString());
            Assert.That(problem["errors"]!.AsObject().Select(error => error.Key), Is.EqualTo(new[] { field }));
        }
    }

    [Test]
    public async Task Request_IsRefused_WhenNoBackendCanStartFromAnImage()
    {
        await using var forge = await Tests.Forge.StubServer.StartAsync();
        forge["/sdapi/v1/samplers"] = (200, """[{"name":"Euler"}]""");
        forge["/openapi.json"] = (200, """{"paths":{"/sdapi/v1/txt2img":{}}}""");
        await using var app = await TestApp.StartAsync(new() { ["Forge:Backends:0:Url"] = forge.Backend.Url.AbsoluteUri });
        await OwnAsync(app);
        var upload = await UploadAsync(app, TestImages.Make());
        await Until.TrueAsync(
            async () => (await TestApp.ReadAsync(await app.Http.GetAsync("api/models")))["can"]!.AsArray().Count == 1, "it is known");

        using var response = await app.Http.PostAsJsonAsync(
            "api/conversations/demo/images", new { username = "ayşe", prompt = "bir kedi", source = new { upload_id = upload } });

        var problem = await TestApp.ReadAsync(response);
        Assert.That(
            (response.StatusCode, (string?)problem["code"]), Is.EqualTo((HttpStatusCode.UnprocessableEntity, "unsupported_source")));
    }

    /// <summary>Of two backends only one can: that one gets it, though the other is free.</summary>
    [Test]
    public async Task Request_GoesToTheBackendThatCan()
    {
        await using var cannot = await Tests.Forge.StubServer.StartAsync();
        cannot["/sdapi/v1/samplers"] = (200, """[{"name":"Euler"}]""");
        cannot["/openapi.json"] = (200, """{"paths":{"/sdapi/v1/txt2img":{}}}""");
        await using var can = await SimulatorServer.StartAsync();
        var settings = SimulatorServer.Settings(can);
        settings["Forge:Backends:1:Url"] = cannot.Backend.Url.AbsoluteUri;
        await using var app = await TestApp.StartAsync(settings);
        await OwnAsync(app);
        var upload = await UploadAsync(app, TestImages.Make(64, 64));

        for (var i = 0; i < 4; i++)
            await CompleteAsync(app, new { username = "ayşe", prompt = "bir kedi", steps = 2, source = new { upload_id = upload } });

        Assert.That(can.Stats.Received, Has.Count.EqualTo(4));
        Assert.That(
            cannot.Requests.Where(request => request.Method == "POST" && request.Path.Contains("img", StringComparison.Ordinal)), Is.Empty);
    }

    /// <summary>The process died between upload and submit, or while receiving: the clean-up leaves nothing.</summary>
    [Test]
    public async Task Cleanup_LeavesNothing_AfterAProcessDiedBetweenUploadAndSubmit()
    {
        using var folder = new TemporaryFolder();
        string used;
        await using (var app = await TestApp.StartAsync(folder: folder))
        {
            await OwnAsync(app);
            await UploadAsync(app, TestImages.Make());
            used = await UploadAsync(app, TestImages.Make());
            await CompleteAsync(app, new { username = "ayşe", prompt = "bir kedi", steps = 2, source = new { upload_id = used } });
            await File.WriteAllBytesAsync(Path.Combine(app.ImagesFolder, $"upload_{new string('a', 32)}.png"), [1]); // Before its row.
            await File.WriteAllBytesAsync(Path.Combine(app.ImagesFolder, $"upload_{new string('b', 32)}.tmp"), [1]);
            await File.WriteAllBytesAsync(Path.Combine(app.ImagesFolder, $"upload_{new string('c', 32)}.part.tmp"), [1]);
        }

        await using var next = await TestApp.StartAsync(
            new() { ["Images:KeepUploadsFor"] = "00:01:00" }, folder, configure: builder =>
                builder.Services.AddSingleton<TimeProvider>(new LaterClock(TimeSpan.FromDays(2))));
        await next.Services.GetRequiredService<Cleanup>().CleanUpAsync(CancellationToken.None);

        Assert.That(
            Directory.GetFiles(next.ImagesFolder, "upload_*").Select(Path.GetFileName), Is.EqualTo(new[] { $"upload_{used}.png" }));
        Assert.That(await next.Services.GetRequiredService<IUploadStore>().FindUploadAsync(used, default), Is.Not.Null);
    }

    [Test]
    public async Task Erasing_RemovesUploads_WithTheLastMessageThatNamesThem()
    {
        await using var app = await TestApp.StartAsync();
        await OwnAsync(app);
        var unused = await UploadAsync(app, TestImages.Make());
        var upload = await UploadAsync(app, TestImages.Make());
        var body = new { username = "ayşe", prompt = "bir kedi", steps = 2, source = new { upload_id = upload } };
        var one = (long)(await CompleteAsync(app, body))["id"]!;
        await CompleteAsync(app, body, "başka");

        await app.Http.DeleteAsync($"api/messages/{one}");
        Assert.That(Uploads(), Is.EquivalentTo(new[] { $"upload_{upload}.png", $"upload_{unused}.png" }), "another message names it");
        await app.Http.DeleteAsync("api/conversations/demo");
        Assert.That(Uploads(), Is.EqualTo(new[] { $"upload_{upload}.png" }), "the unused one goes with its conversation");
        await app.Http.DeleteAsync("api/conversations/ba%C5%9Fka");
        Assert.That(Uploads(), Is.Empty);

        IEnumerable<string?> Uploads() => Directory.GetFiles(app.ImagesFolder, "upload_*").Select(Path.GetFileName);
    }

    [Test]
    public async Task Request_EndsInAClearError_WhenItsSourceIsErasedWhileItWaits()
    {
        await using var app = await TestApp.StartAsync(new() { ["Messages:Culture"] = "en" });
        var first = await CompleteAsync(app, new { username = "ayşe", prompt = "bir kedi", width = 128, height = 96, steps = 4 });
        await app.Http.PostAsync("api/queue/pause", null);
        var varied = await PostAsync(
            app, new { username = "ayşe", prompt = "gece", steps = 2, source = new { message_id = (long)first["id"]! } });
        await app.Http.DeleteAsync($"api/messages/{first["id"]}");

        await app.Http.PostAsync("api/queue/resume", null);

        var ended = await app.WaitForAsync((long)varied["id"]!, MessageStatus.Error, MessageStatus.Complete);
        Assert.That(
            ((string?)ended["extra_metadata"]!["error_code"], (string?)ended["extra_metadata"]!["error"]),
            Is.EqualTo((ErrorCodes.Rejected, "The image to start from is gone. Please send a new request with another one.")));
    }

    [Test]
    public async Task FourImages_AreGeneratedSideBySide_OverFourBackends()
    {
        SimulatorServer[] servers =
        [
            await SimulatorServer.StartAsync(millisecondsPerImage: 1500), await SimulatorServer.StartAsync(millisecondsPerImage: 1500),
            await SimulatorServer.StartAsync(millisecondsPerImage: 1500), await SimulatorServer.StartAsync(millisecondsPerImage: 1500),
        ];
        await using var app = await TestApp.StartAsync(SimulatorServer.Settings(servers));
        using var events = await SseReader.OpenAsync(app.Http, "api/conversations/demo/events?last_event_id=0");

        var group = await PostAsync(
            app, new { username = "ayşe", prompt = "dört kedi", width = 64, height = 64, steps = 4, seed = 40, n = 4 });

        var id = (string)group["group_id"]!;
        var messages = group["messages"]!.AsArray().Select(message => message!.AsObject()).ToList();
        Assert.That(
            messages.Select(message => (long)message["extra_metadata"]!["settings"]!["seed"]!), Is.EqualTo(new long[] { 40, 41, 42, 43 }));
        Assert.That(messages.Select(message => (string?)message["extra_metadata"]!["group_id"]), Is.All.EqualTo(id));
        Assert.That((string?)(await events.ReadAsync())["group_id"], Is.EqualTo(id));
        await Until.TrueAsync(() => servers.All(server => server.Stats.InFlight == 1), "each backend has one at the same time");
        foreach (var message in messages)
            await app.WaitForAsync((long)message["id"]!, MessageStatus.Complete);
        foreach (var server in servers)
            await server.DisposeAsync();
    }

    [Test]
    public async Task Group_IsAcceptedOrRefusedTogether_AndRepeatedByItsKey()
    {
        await using var app = await TestApp.StartAsync(
            new() { ["Forge:Simulator:SecondsPerImage"] = "600", ["Queue:MaxPendingPerUser"] = "5" });
        await app.Http.PostAsync("api/queue/pause", null);
        var body = new { username = "ayşe", prompt = "üç kedi", n = 3 };

        var first = await PostAsync(app, body, key: "k");
        var again = await PostAsync(app, body, key: "k");
        using var refused = await SendAsync(app, body, key: "other");
        using var reused = await SendAsync(app, new { username = "ayşe", prompt = "üç kedi", n = 2 }, key: "k");

        Assert.That(again.ToJsonString(), Does.Contain((string)first["group_id"]!));
        Assert.That(Ids(again), Is.EqualTo(Ids(first)));
        Assert.That((int)refused.StatusCode, Is.EqualTo(429));
        Assert.That((int)reused.StatusCode, Is.EqualTo(422));
        Assert.That(await app.Services.GetRequiredService<IMessageStore>().CountAsync(MessageStatus.Queued, default), Is.EqualTo(3));

        static IEnumerable<long> Ids(JsonObject group) => group["messages"]!.AsArray().Select(message => (long)message!["id"]!);
    }

    private static int Changed(SKBitmap before, SKBitmap after, SKRectI area)
    {
        var changed = 0;
        for (var y = area.Top; y < area.Bottom; y++)
        {
            for (var x = area.Left; x < area.Right; x++)
                changed += before.GetPixel(x, y) == after.GetPixel(x, y) ? 0 : 1;
        }

        return changed;
    }

    /// <summary>Uploads belong to the owner of their conversation.</summary>
    private static async Task OwnAsync(TestApp app)
    {
        using var response = await app.Http.PostAsJsonAsync(
            "api/conversations/demo/messages", new { username = "ayşe", role = "user", content = "selam" });
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.Created));
    }

    private static async Task<string> UploadAsync(TestApp app, byte[] image, string conversation = "demo")
    {
        using var content = new ByteArrayContent(image) { Headers = { ContentType = new MediaTypeHeaderValue("image/png") } };
        using var response = await app.Http.PostAsync($"api/conversations/{Uri.EscapeDataString(conversation)}/uploads", content);
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.Created), await response.Content.ReadAsStringAsync());
        return (string)(await TestApp.ReadAsync(response))["upload_id"]!;
    }

    private static Task<HttpResponseMessage> SendAsync(TestApp app, object body, string conversation = "demo", string? key = null)
    {
        var request = new HttpRequestMessage(HttpMethod.Post, $"api/conversations/{Uri.EscapeDataString(conversation)}/images")
        {
            Content = JsonContent.Create(body),
        };
        if (key is not null)
            request.Headers.Add("Idempotency-Key", key);
        return app.Http.SendAsync(request);
    }

    private static async Task<JsonObject> PostAsync(TestApp app, object body, string conversation = "demo", string? key = null)
    {
        using var response = await SendAsync(app, body, conversation, key);
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.Accepted), await response.Content.ReadAsStringAsync());
        return await TestApp.ReadAsync(response);
    }

    private static async Task<JsonObject> CompleteAsync(TestApp app, object body, string conversation = "demo")
    {
        var message = await app.WaitForAsync(
            (long)(await PostAsync(app, body, conversation))["id"]!, MessageStatus.Complete, MessageStatus.Error);
        Assert.That((string?)message["extra_metadata"]!["status"], Is.EqualTo(MessageStatus.Complete), message.ToJsonString());
        return message;
    }
}
