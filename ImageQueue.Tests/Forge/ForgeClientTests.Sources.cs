using ImageQueue.Core.Forge;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Forge;

/// <summary>Image to image and upscaling, on the wire.</summary>
public sealed partial class ForgeClientTests
{
    private static readonly string Id = new('a', 32);

    /// <summary>Lengths around a base64 group and around the chunks in which files are read.</summary>
    [TestCase(1)]
    [TestCase(2)]
    [TestCase(3)]
    [TestCase((3 * 16 * 1024) - 1)]
    [TestCase(3 * 16 * 1024)]
    [TestCase((3 * 16 * 1024) + 1)]
    [TestCase(1_000_003)]
    public async Task GenerateAsync_SendsTheSource_WithItsLength(int length)
    {
        using var folder = new TemporaryFolder();
        var (path, bytes) = Write(folder, "source.png", length);
        AnswerImage();

        await _client.GenerateAsync(
            _backend, "task-1", Request with { Source = new(new ImageSource { UploadId = Id, Strength = 0.55m }, path) }, default);

        var sent = _requests.Single();
        using var body = JsonDocument.Parse(sent.Body);
        Assert.Multiple(() =>
        {
            Assert.That(sent.Path, Is.EqualTo("/sdapi/v1/img2img"));
            Assert.That(sent.Headers.ContentLength, Is.EqualTo(Encoding.UTF8.GetByteCount(sent.Body)), "a length, not chunks");
            Assert.That(body.RootElement.GetProperty("init_images")[0].GetBytesFromBase64(), Is.EqualTo(bytes));
            Assert.That(body.RootElement.GetProperty("denoising_strength").GetDecimal(), Is.EqualTo(0.55m));
            Assert.That(body.RootElement.GetProperty("resize_mode").GetInt32(), Is.Zero);
            Assert.That(body.RootElement.GetProperty("force_task_id").GetString(), Is.EqualTo("task-1"));
            Assert.That(body.RootElement.GetProperty("width").GetInt32(), Is.EqualTo(1024));
            Assert.That(body.RootElement.TryGetProperty("mask", out _), Is.False);
            Assert.That(body.RootElement.TryGetProperty("inpainting_fill", out _), Is.False);
        });
    }

    [Test]
    public async Task GenerateAsync_SendsTheMask()
    {
        using var folder = new TemporaryFolder();
        var (path, _) = Write(folder, "source.png", 100);
        var (maskPath, mask) = Write(folder, "mask.png", 50);
        AnswerImage();

        await _client.GenerateAsync(
            _backend,
            "task-1",
            Request with { Source = new(new ImageSource { UploadId = Id, Strength = 0.75m, MaskUploadId = Id }, path, maskPath) },
            default);

        using var body = JsonDocument.Parse(_requests.Single().Body);
        Assert.Multiple(() =>
        {
            Assert.That(body.RootElement.GetProperty("mask").GetBytesFromBase64(), Is.EqualTo(mask));
            Assert.That(body.RootElement.GetProperty("mask_blur").GetInt32(), Is.EqualTo(4));
            Assert.That(body.RootElement.GetProperty("inpainting_fill").GetInt32(), Is.EqualTo(1));
            Assert.That(body.RootElement.GetProperty("inpaint_full_res").GetBoolean(), Is.False);
        });
    }

    [TestCase("""[{"name":"None"},{"name":"Lanczos"},{"name":"R-ESRGAN 4x+"}]""", "R-ESRGAN 4x+")]
    [TestCase("""[{"name":"None"},{"name":"Lanczos"}]""", "Lanczos")]
    [TestCase("[]", "R-ESRGAN 4x+")]
    public async Task GenerateAsync_Upscales_WithTheBestUpscalerThere(string upscalers, string expected)
    {
        using var folder = new TemporaryFolder();
        var (path, bytes) = Write(folder, "source.png", 100);
        await LearnAsync(("/sdapi/v1/upscalers", upscalers));
        Answer(200, $$"""{"html_info":"","image":"{{ImageBase64}}"}""");

        var image = await _client.GenerateAsync(_backend, "task-1", Upscale(path), default);

        var sent = _requests.First();
        using var body = JsonDocument.Parse(sent.Body);
        Assert.Multiple(() =>
        {
            Assert.That((image.Bytes.ToArray(), image.Upscaler), Is.EqualTo((Image, expected)));
            Assert.That(sent.Path, Is.EqualTo("/sdapi/v1/extra-single-image"));
            Assert.That(body.RootElement.EnumerateObject().Select(member => member.Name),
                Is.EqualTo(new[] { "upscaler_1", "upscaling_resize", "image" }));
            Assert.That(body.RootElement.GetProperty("upscaler_1").GetString(), Is.EqualTo(expected));
            Assert.That(body.RootElement.GetProperty("upscaling_resize").GetInt32(), Is.EqualTo(4));
            Assert.That(body.RootElement.GetProperty("image").GetBytesFromBase64(), Is.EqualTo(bytes));
        });
    }

    [TestCase("{}")]
    [TestCase("""{"image":""}""")]
    [TestCase("""{"image":"!"}""")]
    [TestCase("""{"image":7}""")]
    [TestCase("")]
    public async Task GenerateAsync_HasABadImage_WhenTheUpscaleHoldsNone(string answer)
    {
        using var folder = new TemporaryFolder();
        Answer(200, answer);

        var exception = await Outcome(_client.GenerateAsync(_backend, "t", Upscale(Write(folder, "source.png", 10).Path), default));

        Assert.That(exception?.Failure, Is.EqualTo(ForgeFailure.BadImage));
    }

    [Test]
    public async Task GenerateAsync_AsksNoBackend_WhenTheSourceIsGone()
    {
        using var folder = new TemporaryFolder();

        var exception = await Outcome(_client.GenerateAsync(_backend, "t", Upscale(Path.Combine(folder.Path, "gone.png")), default));

        Assert.That(exception?.Failure, Is.EqualTo(ForgeFailure.SourceGone));
        Assert.That(_requests, Is.Empty);
    }

    /// <summary>A backend of which nothing is known turns out to lack it: that is no reason to hold it for unhealthy.</summary>
    [Test]
    public async Task GenerateAsync_IsRejected_WhenAnUnknownBackendLacksIt()
    {
        using var folder = new TemporaryFolder();
        await LearnAsync();
        Answer(404, """{"detail":"Not Found"}""");

        var exception = await Outcome(_client.GenerateAsync(_backend, "t", Upscale(Write(folder, "source.png", 10).Path), default));

        Assert.That(exception?.Failure, Is.EqualTo(ForgeFailure.Rejected));
    }

    /// <summary>Forge takes no id for an upscale: the server's state says whether it goes on, and never how far it is.</summary>
    [Test]
    public async Task GetProgressAsync_AsksTheServer_OfAnUpscale()
    {
        using var folder = new TemporaryFolder();
        await LearnAsync(("/sdapi/v1/progress", "{}"), ("/internal/pending-tasks", "{}"));
        Answer(200, $$"""{"image":"{{ImageBase64}}"}""");
        await _client.GenerateAsync(_backend, "t", Upscale(Write(folder, "source.png", 10).Path), default);
        _requests.Clear();
        Answer(200, """{"progress":0.4,"state":{"job":"extras","job_count":1}}""");

        var progress = await _client.GetProgressAsync(_backend, "t", withPreview: true, default);

        Assert.That(progress, Is.EqualTo(new ForgeProgress(ForgeTaskState.Active) { Source = ForgeProgressSource.Server }));
        Assert.That(_requests.Single().Path, Does.StartWith("/sdapi/v1/progress"));
    }

    [TestCase("""{"paths":{"/sdapi/v1/img2img":{},"/sdapi/v1/extra-single-image":{}}}""", "{}", "[]", true, true)]
    [TestCase("""{"paths":{"/sdapi/v1/txt2img":{}}}""", """{"forge_preset":"x"}""", "[]", false, false)]
    [TestCase(null, """{"forge_preset":"x"}""", "[]", true, true)]
    [TestCase(null, """{"CLIP_stop_at_last_layers":1}""", "[]", true, true)]
    [TestCase(null, "{}", """[{"title":"m","hash":"8888888888"}]""", true, false)]
    [TestCase(null, "{}", "[]", null, null)]
    public async Task LearnAsync_KnowsWhatTheBackendCan(string? document, string options, string models, bool? imageToImage, bool? upscale)
    {
        AnswerByPath(
        [
            ("/sdapi/v1/samplers", 200, "[]"), ("/sdapi/v1/options", 200, options), ("/sdapi/v1/sd-models", 200, models),
            .. document is null ? [] : new[] { ("/openapi.json", 200, document) },
        ]);

        var capabilities = await _client.LearnAsync(_backend, default);

        Assert.That(
            (capabilities.Can(ForgeTask.ImageToImage), capabilities.Can(ForgeTask.Inpaint), capabilities.Can(ForgeTask.Upscale),
                capabilities.Can(ForgeTask.TextToImage)),
            Is.EqualTo((imageToImage, imageToImage, upscale, (bool?)true)));
    }

    private static GenerationRequest Upscale(string path) =>
        Request with { Source = new(new ImageSource { UploadId = Id, Upscale = 4 }, path) };

    private static (string Path, byte[] Bytes) Write(TemporaryFolder folder, string name, int length)
    {
        var bytes = new byte[length];
        new Random(length).NextBytes(bytes);
        var path = Path.Combine(folder.Path, name);
        File.WriteAllBytes(path, bytes);
        return (path, bytes);
    }
}
