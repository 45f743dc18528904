using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Simulator;
using NUnit.Framework;
using SkiaSharp;

namespace ImageQueue.Tests.Compatibility;

/// <summary>The calls of the compatible APIs that start from an image.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed class ImageToImageCallTests
{
    private static readonly byte[] Photo = SceneRenderer.Draw("a photo", 3, 128, 96);

    private TestApp _app = null!; // Set before any test runs.

    [OneTimeSetUp]
    public async Task StartAsync()
    {
        _app = await TestApp.StartAsync();
        await Until.TrueAsync(
            async () => (await _app.Http.GetStringAsync("api/models")).Contains("inpaint", StringComparison.Ordinal),
            "the backend is known");
    }

    [OneTimeTearDown]
    public async Task StopAsync() => await _app.DisposeAsync();

    [Test]
    public async Task Edit_ChangesOnlyTheTransparentPart()
    {
        var answer = await PostAsync("v1/images/edits", Form(("prompt", "a red boat"), ("user", "edit")), mask: Mask(SKColors.Transparent));

        using var edited = Decode(answer["data"]![0]!["b64_json"]);
        using var photo = SKBitmap.Decode(Photo);
        Assert.That((edited.Width, edited.Height), Is.EqualTo((128, 96)));
        AssertOnlyTheLeftHalfDiffers(photo, edited);
    }

    [TestCase("v1/images/edits", "prompt")]
    [TestCase("v1/images/variations", "model")]
    public async Task Form_GivesSeveralImages_OfItsSizeAndFormat(string path, string field)
    {
        var answer = await PostAsync(
            path,
            Form(
                (field, "x"), ("n", "2"), ("size", "64x64"), ("output_format", "webp"), ("response_format", "b64_json"), ("user", "two")));

        var images = answer["data"]!.AsArray().Select(one => Convert.FromBase64String((string)one!["b64_json"]!)).ToList();
        Assert.That(images, Has.Count.EqualTo(2));
        Assert.That(images[0], Is.Not.EqualTo(images[1]));
        using var image = SKBitmap.Decode(images[0]);
        Assert.That((image.Width, image.Height), Is.EqualTo((64, 64)));
        Assert.That(images[0][..4], Is.EqualTo("RIFF"u8.ToArray()));
    }

    [Test]
    public async Task Edit_Streams_UnderItsOwnName()
    {
        using var response = await SendAsync("v1/images/edits", Form(("prompt", "x"), ("stream", "true"), ("user", "stream")));

        Assert.That(response.Content.Headers.ContentType?.MediaType, Is.EqualTo("text/event-stream"));
        Assert.That(await response.Content.ReadAsStringAsync(), Does.Contain("event: image_edit.completed"));
    }

    [Test]
    public async Task Edit_JoinsTheFirstCall_WhenItIsRepeatedWithItsKey()
    {
        var (first, again, other) = (await KeyedAsync("0.5"), await KeyedAsync("0.5"), await KeyedAsync("0.6"));

        Assert.That((string?)first["data"]![0]!["b64_json"], Is.Not.Null.And.EqualTo((string?)again["data"]![0]!["b64_json"]));
        Assert.That((string?)other["error"]!["code"], Is.EqualTo("idempotency_key_reused"), "another strength is another request");
        Assert.That((await MessagesAsync("openai-key")).Count, Is.EqualTo(1));

        async Task<JsonObject> KeyedAsync(string strength)
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, "v1/images/edits")
            {
                Content = Content(
                    Form(("prompt", "x"), ("user", "key"), ("response_format", "b64_json"), ("strength", strength)), Photo, null),
                Headers = { { "Idempotency-Key", "again" } },
            };
            using var response = await _app.Http.SendAsync(request);
            return await TestApp.ReadAsync(response);
        }
    }

    [TestCase("v1/images/edits", "", "no image", 400, "invalid_request_error")]
    [TestCase("v1/images/edits", "prompt=x&size=large", null, 400, "size")]
    [TestCase("v1/images/edits", "prompt=x&strength=2", null, 400, "strength")]
    [TestCase("v1/images/edits", "prompt=", null, 400, "prompt")]
    [TestCase("v1/images/variations", "n=many", null, 400, "n")]
    public async Task Form_IsRefused_AndLeavesNoUpload(string path, string query, string? image, int status, string part)
    {
        var before = Uploads();
        var fields = query.Split('&', StringSplitOptions.RemoveEmptyEntries).Select(one => one.Split('=')).Select(one => (one[0], one[1]));

        using var response = await SendAsync(
            path, [.. fields, ("user", "refused")], image is null ? null : Encoding.UTF8.GetBytes(image));

        var error = (await TestApp.ReadAsync(response))["error"]!;
        Assert.Multiple(() =>
        {
            Assert.That((int)response.StatusCode, Is.EqualTo(status).Or.EqualTo(415));
            Assert.That(error.ToJsonString(), Does.Contain(part));
            Assert.That(Uploads(), Is.EqualTo(before));
        });
    }

    [Test]
    public async Task Form_IsRefused_WhenItHasNoImage_OrTheMaskNothingTransparent()
    {
        using var none = await _app.Http.PostAsync(
            new Uri("v1/images/edits", UriKind.Relative), new MultipartFormDataContent { { new StringContent("x"), "prompt" } });
        using var opaque = await SendAsync("v1/images/edits", Form(("prompt", "x")), mask: Mask(SKColors.White));
        using var json = await _app.Http.PostAsJsonAsync("v1/images/edits", new { prompt = "x" });

        Assert.That((string?)(await TestApp.ReadAsync(none))["error"]!["param"], Is.EqualTo("image"));
        Assert.That((string?)(await TestApp.ReadAsync(opaque))["error"]!["param"], Is.EqualTo("mask"));
        Assert.That(json.StatusCode, Is.EqualTo(HttpStatusCode.UnsupportedMediaType));
        Assert.That((string?)(await TestApp.ReadAsync(json))["error"]!["message"], Does.Contain("multipart/form-data"));
    }

    /// <summary>Seen before: all but one were refused, since each had uploaded an image of its own.</summary>
    [Test]
    public async Task Form_JoinsTheFirstCall_WhenTheIdempotencyKeyIsTheSame()
    {
        var answers = await Task.WhenAll(Enumerable.Range(0, 4).Select(async _ =>
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, "v1/images/edits")
            {
                Content = Content(Form(("prompt", "true"), ("user", "joined")), Photo, null),
            };
            request.Headers.Add("Idempotency-Key", "same");
            using var response = await _app.Http.SendAsync(request);
            return (string?)(await TestApp.ReadAsync(response))["data"]?[0]?["b64_json"];
        }));

        Assert.That(answers, Is.All.Not.Null.And.All.EqualTo(answers[0]));
    }

    [Test]
    public async Task Form_LeavesNoUpload_WhenTheUserHasTooMany()
    {
        await using var app = await TestApp.StartAsync(
            new() { ["Queue:MaxPendingPerUser"] = "1", ["Forge:Simulator:SecondsPerImage"] = "600" });
        await app.WaitForAsync((long)(await app.SubmitAsync("first", username: "full"))["id"]!, "processing");
        await app.SubmitAsync("second", username: "full");

        using var response = await app.Http.PostAsync(
            new Uri("v1/images/variations", UriKind.Relative), Content(Form(("user", "full")), Photo, null));

        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.TooManyRequests));
        Assert.That(Uploads(app), Is.Empty);
    }

    [TestCase(false)]
    [TestCase(true)]
    public async Task ImageToImage_AnswersAsA1111(bool inverted)
    {
        using var response = await _app.Http.PostAsJsonAsync("sdapi/v1/img2img", new
        {
            prompt = "a red boat",
            init_images = new[] { "data:image/png;base64," + Convert.ToBase64String(Photo) },
            mask = Convert.ToBase64String(inverted ? Mask(SKColors.Black, SKColors.White) : Mask(SKColors.White, SKColors.Black)),
            inpainting_mask_invert = inverted ? 1 : 0,
            denoising_strength = 0.8,
            steps = 4,
            seed = 7,
        });

        var answer = await TestApp.ReadAsync(response);
        using var edited = Decode(answer["images"]![0]);
        using var photo = SKBitmap.Decode(Photo);
        AssertOnlyTheLeftHalfDiffers(photo, edited);
        Assert.That((long)JsonNode.Parse((string)answer["info"]!)!["seed"]!, Is.EqualTo(7));
        Assert.That(answer["parameters"]!["init_images"], Is.Null);
        Assert.That((decimal)answer["parameters"]!["denoising_strength"]!, Is.EqualTo(0.8m));
    }

    [TestCase("img2img", """{"prompt":"x"}""", 404, "Init image not found")]
    [TestCase("img2img", """{"prompt":"x","init_images":["no base64!"]}""", 400, "init_images")]
    [TestCase("img2img", """{"prompt":"x","init_images":["aGVsbG8="]}""", 415, "PNG")]
    [TestCase("img2img", """{"prompt":"x","init_images":["PHOTO"],"denoising_strength":2}""", 422, "denoising_strength")]
    [TestCase("img2img", """{"prompt":"","init_images":["PHOTO"]}""", 422, "prompt")]
    [TestCase("extra-single-image", "{}", 422, "image")]
    [TestCase("extra-single-image", """{"image":"PHOTO","upscaling_resize":3}""", 422, "upscaling_resize")]
    [TestCase("extra-single-image", """{"image":"aGVsbG8="}""", 415, "PNG")]
    public async Task A1111_RefusesInItsForm_AndLeavesNoUpload(string call, string body, int status, string part)
    {
        var before = Uploads();
        using var content = new StringContent(
            body.Replace("PHOTO", Convert.ToBase64String(Photo), StringComparison.Ordinal), Encoding.UTF8, "application/json");

        using var response = await _app.Http.PostAsync(new Uri($"sdapi/v1/{call}", UriKind.Relative), content);

        Assert.That((int)response.StatusCode, Is.EqualTo(status));
        Assert.That((await TestApp.ReadAsync(response))["detail"]!.ToJsonString(), Does.Contain(part));
        Assert.That(Uploads(), Is.EqualTo(before));
    }

    [Test]
    public async Task Upscale_AnswersAsA1111()
    {
        using var response = await _app.Http.PostAsJsonAsync(
            "sdapi/v1/extra-single-image", new { image = Convert.ToBase64String(Photo), upscaling_resize = 4, upscaler_1 = "Lanczos" });

        var answer = await TestApp.ReadAsync(response);
        using var large = Decode(answer["image"]);
        Assert.That((large.Width, large.Height), Is.EqualTo((512, 384)));
        Assert.That((string?)answer["html_info"], Does.StartWith("<p>"));
    }

    private static List<(string Name, string Value)> Form(params (string Name, string Value)[] fields) => [.. fields];

    private static MultipartFormDataContent Content(IEnumerable<(string Name, string Value)> fields, byte[] image, byte[]? mask)
    {
        var form = new MultipartFormDataContent();
        foreach (var (name, value) in fields)
            form.Add(new StringContent(value), name);
        Add("image", image);
        if (mask is not null)
            Add("mask", mask);
        return form;

        void Add(string name, byte[] bytes)
        {
            var part = new ByteArrayContent(bytes);
            part.Headers.ContentType = new MediaTypeHeaderValue("image/png");
            form.Add(part, name, $"{name}.png");
        }
    }

    private async Task<HttpResponseMessage> SendAsync(
        string path, IEnumerable<(string Name, string Value)> fields, byte[]? image = null, byte[]? mask = null)
    {
        using var content = Content(fields, image ?? Photo, mask);
        return await _app.Http.PostAsync(new Uri(path, UriKind.Relative), content);
    }

    private async Task<JsonNode> PostAsync(string path, List<(string Name, string Value)> fields, byte[]? mask = null)
    {
        using var response = await SendAsync(path, fields, mask: mask);
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK), await response.Content.ReadAsStringAsync());
        return await TestApp.ReadAsync(response);
    }

    private async Task<JsonArray> MessagesAsync(string conversation) =>
        JsonNode.Parse(await _app.Http.GetStringAsync($"api/conversations/{conversation}/messages"))!["messages"]!.AsArray();

    private string[] Uploads() => Uploads(_app);

    private static string[] Uploads(TestApp app) => Directory.Exists(app.ImagesFolder)
        ? [.. Directory.EnumerateFiles(app.ImagesFolder, "*upload*", SearchOption.AllDirectories).Order(StringComparer.Ordinal)]
        : [];

    /// <summary>The left half in one colour, the right half in another (opaque black).</summary>
    private static byte[] Mask(SKColor left, SKColor? right = null)
    {
        using var mask = new SKBitmap(128, 96, SKColorType.Rgba8888, SKAlphaType.Unpremul);
        mask.Erase(right ?? SKColors.White);
        mask.Erase(left, new SKRectI(0, 0, 64, 96));
        using var png = mask.Encode(SKEncodedImageFormat.Png, 100);
        return png.ToArray();
    }

    private static SKBitmap Decode(JsonNode? base64) => SKBitmap.Decode(Convert.FromBase64String((string)base64!));

    private static void AssertOnlyTheLeftHalfDiffers(SKBitmap before, SKBitmap after)
    {
        var changed = Enumerable.Range(0, 128 * 96)
            .Where(i => before.GetPixel(i % 128, i / 128) != after.GetPixel(i % 128, i / 128)).ToList();
        Assert.That(changed, Has.Count.GreaterThan(64 * 96 / 2));
        Assert.That(changed.All(i => i % 128 < 64), Is.True);
    }
}
