using System.Net;
using System.Net.Http.Json;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Simulator;
using Microsoft.Extensions.Time.Testing;
using NUnit.Framework;
using SkiaSharp;

using static ImageQueue.Tests.Simulator.SimulatorServer;

namespace ImageQueue.Tests.Simulator;

/// <summary>What a variation, an edit and an upscaling of the simulator look like, to the pixel.</summary>
[Category(Categories.App)]
public sealed class SimulatorImageToImageTests
{
    private const int Side = 128;

    private static readonly byte[] Photo = SceneRenderer.Draw("a photo", 99, Side, Side);

    [Test]
    public async Task ImageToImage_KeepsTheComposition_TheMoreTheLowerTheStrength()
    {
        await using var server = await StartAsync();
        var fresh = await PixelsAsync(server.GenerateAsync("bir deniz", width: Side, height: Side, seed: 7));

        var distances = new List<double>();
        foreach (var strength in new[] { 0, 0.2, 0.55, 0.8, 1 })
            distances.Add(Distance(Pixels(Photo), await PixelsAsync(VaryAsync(server, strength))));

        Assert.Multiple(async () =>
        {
            Assert.That(distances[0], Is.Zero, "strength 0 is the image itself");
            Assert.That(distances, Is.Ordered);
            Assert.That(distances[1], Is.GreaterThan(1), "visibly");
            Assert.That(await PixelsAsync(VaryAsync(server, 1)), Is.EqualTo(fresh), "strength 1 is a new scene");
        });
    }

    [Test]
    public async Task ImageToImage_GivesTheSameImage_WhenSeedAndSourceAreTheSame()
    {
        await using var server = await StartAsync();

        var first = await PixelsAsync(VaryAsync(server, 0.5));
        var again = await PixelsAsync(VaryAsync(server, 0.5));
        var other = await PixelsAsync(VaryAsync(server, 0.5, seed: 8));

        Assert.That(again, Is.EqualTo(first));
        Assert.That(Distance(first, other), Is.GreaterThan(1));
    }

    [TestCase(0)]
    [TestCase(4)]
    public async Task ImageToImage_ChangesNoPixelOutsideTheMask(int blur)
    {
        await using var server = await StartAsync();
        var area = new SKRectI(16, 32, 80, 112);

        var edited = await PixelsAsync(VaryAsync(server, 0.75, mask: Mask(area), blur: blur));

        var before = Pixels(Photo);
        var changed = Enumerable.Range(0, Side * Side).Where(i => edited[i] != before[i]).ToList();
        Assert.That(changed.All(i => area.Contains(i % Side, i / Side)), Is.True);
        Assert.That(changed, Has.Count.GreaterThan(area.Width * area.Height / 2));
    }

    [Test]
    public async Task ImageToImage_StartsTheMaskedPartAnew_WhenItsContentIsNotTheFill()
    {
        await using var server = await StartAsync();
        var whole = Mask(new SKRectI(0, 0, Side, Side));
        var fresh = await PixelsAsync(server.GenerateAsync("bir deniz", width: Side, height: Side, seed: 7));

        var original = await PixelsAsync(VaryAsync(server, 0.4, mask: whole, blur: 0));
        var noise = await PixelsAsync(VaryAsync(server, 0.4, mask: whole, blur: 0, fill: 2));

        Assert.That(Distance(noise, fresh), Is.LessThan(Distance(original, fresh) / 2));
    }

    [TestCase(64, 192)]
    [TestCase(256, 256)]
    public async Task ImageToImage_GivesTheAskedSize_WhateverTheSourceHas(int width, int height)
    {
        await using var server = await StartAsync();

        var answer = await GeneratedAsync(VaryAsync(server, 0.5, width: width, height: height));

        using var image = Decode(answer.GetProperty("images")[0]);
        Assert.That((image.Width, image.Height), Is.EqualTo((width, height)));
        Assert.That(Info(answer).GetProperty("denoising_strength").GetDouble(), Is.EqualTo(0.5));
        Assert.That(answer.GetProperty("parameters").GetProperty("denoising_strength").GetDouble(), Is.EqualTo(0.5));
    }

    [Test]
    public async Task ImageToImage_ShowsProgressAndPreviews_AndCanBeInterrupted()
    {
        var time = new FakeTimeProvider();
        await using var server = await StartAsync(time: time, millisecondsPerImage: 100_000);
        var asked = VaryAsync(server, 0.5, task: "vary", steps: 48);
        await Until.TrueAsync(
            async () =>
            {
                time.Advance(TimeSpan.FromSeconds(1));
                var own = await server.TaskProgressAsync("vary", preview: true);
                return own.GetProperty("live_preview").ValueKind == JsonValueKind.String;
            },
            "a preview");
        var state = (await server.GetAsync("sdapi/v1/progress?skip_current_image=true")).GetProperty("state");

        await server.InterruptAsync();
        await Until.TrueAsync(
            () =>
            {
                time.Advance(TimeSpan.FromSeconds(10));
                return Task.FromResult(asked.IsCompleted);
            },
            "answered");

        using var image = Decode((await GeneratedAsync(asked)).GetProperty("images")[0]);
        Assert.Multiple(() =>
        {
            Assert.That(state.GetProperty("job").GetString(), Is.EqualTo("scripts_img2img"));
            Assert.That(state.GetProperty("sampling_steps").GetInt32(), Is.EqualTo(24), "half of the steps at half of the strength");
            Assert.That(image.Width, Is.EqualTo(Side));
            Assert.That(server.Stats.Interrupted, Is.EqualTo(1));
        });
    }

    [TestCase("""{"prompt":"a","width":64,"height":64}""", 404, "Init image not found")]
    [TestCase("""{"init_images":[],"width":64,"height":64}""", 500, "Invalid encoded image")]
    [TestCase("""{"init_images":["no base64!"],"width":64,"height":64}""", 500, "Invalid encoded image")]
    [TestCase("""{"init_images":["aGVsbG8="],"width":64,"height":64}""", 500, "Invalid encoded image")]
    [TestCase("""{"init_images":["PHOTO"],"mask":"aGVsbG8=","width":64,"height":64}""", 500, "Invalid encoded image")]
    [TestCase("""{"init_images":"PHOTO","width":64,"height":64}""", 422, "list_type")]
    [TestCase("""{"init_images":[7],"width":64,"height":64}""", 422, "list_type")]
    [TestCase("""{"init_images":["PHOTO"],"denoising_strength":"much"}""", 422, "float_type")]
    [TestCase("""{"init_images":["PHOTO"],"denoising_strength":null,"width":64,"height":64}""", 500, "TypeError")]
    public async Task ImageToImage_RefusesAsForgeDoes(string body, int status, string part)
    {
        await using var server = await StartAsync();

        var (given, answer) = await server.SendAsync(
            HttpMethod.Post, "sdapi/v1/img2img", body.Replace("PHOTO", Convert.ToBase64String(Photo), StringComparison.Ordinal));

        Assert.That((int)given, Is.EqualTo(status));
        Assert.That(answer.ToString(), Does.Contain(part));
    }

    [Test]
    public async Task ImageToImage_Refuses_WhenTheImageIsHuge()
    {
        await using var server = await StartAsync();
        using var bomb = new SKBitmap(new SKImageInfo(8192, 4096, SKColorType.Gray8));
        using var png = bomb.Encode(SKEncodedImageFormat.Png, 100);

        using var response = await VaryAsync(server, 0.5, image: png.ToArray());

        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.InternalServerError));
        Assert.That(await response.Content.ReadAsStringAsync(), Does.Contain("Invalid encoded image"));
    }

    [Test]
    public async Task ImageToImage_Refuses_WhenTheBodyIsTooLarge()
    {
        await using var server = await StartAsync();

        var (status, answer) = await server.SendAsync(
            HttpMethod.Post, "sdapi/v1/img2img", $$"""{"init_images":["{{new string('a', 64 * 1024 * 1024)}}"]}""");

        Assert.That(status, Is.EqualTo(HttpStatusCode.RequestEntityTooLarge));
        Assert.That(answer.GetProperty("detail").GetString(), Does.Contain("64 MiB"));
    }

    [TestCase(SimulatorFaults.ServerError, 500, "mat1")]
    [TestCase(SimulatorFaults.OutOfMemory, 500, "CUDA out of memory")]
    [TestCase(SimulatorFaults.Unavailable, 503, "<html>")]
    public async Task Faults_HitImageToImageAndUpscaling(string fault, int status, string part)
    {
        await using var server = await StartAsync();
        server.Break(fault);

        using var varied = await VaryAsync(server, 0.5);
        using var upscaled = await UpscaleAsync(server, "R-ESRGAN 4x+", 2);

        foreach (var response in new[] { varied, upscaled })
        {
            Assert.That((int)response.StatusCode, Is.EqualTo(status));
            Assert.That(await response.Content.ReadAsStringAsync(), Does.Contain(part));
        }
    }

    [TestCase("R-ESRGAN 4x+", 4)]
    [TestCase("Lanczos", 2)]
    [TestCase("Nearest", 2)]
    public async Task Upscale_ResamplesTheImage(string upscaler, int factor)
    {
        await using var server = await StartAsync();

        using var response = await UpscaleAsync(server, upscaler, factor);

        var answer = await response.Content.ReadFromJsonAsync<JsonElement>();
        using var large = Decode(answer.GetProperty("image"));
        using var small = new SKBitmap(new SKImageInfo(Side, Side));
        large.ScalePixels(small, new SKSamplingOptions(SKFilterMode.Linear, SKMipmapMode.Linear));
        var repeats = large.Pixels.Chunk(2).All(pair => pair[0] == pair[1]);
        Assert.Multiple(() =>
        {
            Assert.That((large.Width, large.Height), Is.EqualTo((Side * factor, Side * factor)));
            Assert.That(Distance(small.Pixels, Pixels(Photo)), Is.LessThan(4), "the same image");
            Assert.That(repeats, Is.EqualTo(upscaler == "Nearest"), "between two pixels lie new ones");
            Assert.That(answer.GetProperty("html_info").GetString(), Does.Contain(upscaler));
            Assert.That(server.Stats.ModelLoads, Is.Zero);
        });
    }

    [Test]
    public async Task Upscale_Fails_WhenTheUpscalerIsUnknownOrTheImageTooLarge()
    {
        await using var server = await StartAsync();

        using var unknown = await UpscaleAsync(server, "no such", 2);
        using var tooLarge = await UpscaleAsync(server, "Lanczos", 64);

        Assert.That(unknown.StatusCode, Is.EqualTo(HttpStatusCode.InternalServerError));
        Assert.That(await unknown.Content.ReadAsStringAsync(), Does.Contain("could not find upscaler named no such"));
        Assert.That(await tooLarge.Content.ReadAsStringAsync(), Does.Contain("OutOfMemoryError"));
    }

    [Test]
    public async Task Upscale_WaitsForTheLock_LikeAnyOther()
    {
        await using var server = await StartAsync(millisecondsPerImage: 60_000);
        var first = server.GenerateAsync(task: "a");
        await Until.TrueAsync(() => Task.FromResult(server.Stats.Started.Count == 1), "the first runs");

        var second = UpscaleAsync(server, "Lanczos", 2);
        await Until.TrueAsync(() => Task.FromResult(server.Stats.InFlight == 2), "both are there");
        var waiting = server.Stats.Started.Count;
        server.MillisecondsPerImage = 0;
        await server.InterruptAsync();

        using var answered = await first;
        using var upscaled = await second;
        Assert.That(waiting, Is.EqualTo(1));
        Assert.That(upscaled.StatusCode, Is.EqualTo(HttpStatusCode.OK));
    }

    private static Task<HttpResponseMessage> VaryAsync(
        SimulatorServer server,
        double strength,
        long seed = 7,
        byte[]? mask = null,
        int blur = 4,
        int fill = 1,
        int width = Side,
        int height = Side,
        int steps = 4,
        string? task = null,
        byte[]? image = null) => server.Client.PostAsJsonAsync("sdapi/v1/img2img", new
        {
            prompt = "bir deniz",
            init_images = new[] { Convert.ToBase64String(image ?? Photo) },
            denoising_strength = strength,
            mask = mask is null ? null : Convert.ToBase64String(mask),
            mask_blur = blur,
            inpainting_fill = fill,
            inpaint_full_res = false,
            resize_mode = 0,
            width,
            height,
            seed,
            steps,
            sampler_name = "Euler",
            force_task_id = task,
        });

    private static Task<HttpResponseMessage> UpscaleAsync(SimulatorServer server, string upscaler, int factor) =>
        server.Client.PostAsJsonAsync(
            "sdapi/v1/extra-single-image",
            new { image = Convert.ToBase64String(Photo), upscaler_1 = upscaler, upscaling_resize = factor });

    /// <summary>Black, with a white rectangle.</summary>
    private static byte[] Mask(SKRectI area)
    {
        using var mask = new SKBitmap(Side, Side);
        using var canvas = new SKCanvas(mask);
        using var brush = new SKPaint { Color = SKColors.White };
        canvas.Clear(SKColors.Black);
        canvas.DrawRect(area, brush);
        using var png = mask.Encode(SKEncodedImageFormat.Png, 100);
        return png.ToArray();
    }

    private static async Task<SKColor[]> PixelsAsync(Task<HttpResponseMessage> asked)
    {
        using var image = Decode((await GeneratedAsync(asked)).GetProperty("images")[0]);
        return image.Pixels;
    }

    private static SKColor[] Pixels(byte[] png)
    {
        using var image = SKBitmap.Decode(png);
        return image.Pixels;
    }

    /// <summary>The mean difference of a channel, 0 to 255.</summary>
    private static double Distance(SKColor[] one, SKColor[] other) => one.Zip(other).Average(pair =>
        (Math.Abs(pair.First.Red - pair.Second.Red) + Math.Abs(pair.First.Green - pair.Second.Green)
            + Math.Abs(pair.First.Blue - pair.Second.Blue)) / 3d);
}
