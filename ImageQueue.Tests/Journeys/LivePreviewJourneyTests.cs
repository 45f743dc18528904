using System.Net;
using System.Text.Json.Nodes;
using ImageQueue.Tests.Support;
using NUnit.Framework;
using SkiaSharp;

namespace ImageQueue.Tests.Journeys;

/// <summary>What can be seen of an image while it is generated, from Forge to HTTP.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed class LivePreviewJourneyTests
{
    /// <summary>A preview comes each ten steps: soon, of an image that takes long.</summary>
    private static readonly object ManySteps = new { width = 256, height = 256, steps = 100 };

    [Test]
    public async Task Preview_IsServedWhileGenerating_AndGoneWhenComplete()
    {
        await using var app = await TestApp.StartAsync(new() { ["Forge:Simulator:SecondsPerImage"] = "4" });
        var id = (long)(await app.SubmitAsync("bir kedi", more: new { width = 1024, height = 768 }))["id"]!;
        using var events = await SseReader.OpenAsync(app.Http, "api/conversations/demo/events", "0");

        var first = (await events.ReadUntilAsync(progress => progress["preview_url"] is not null))[^1];
        var url = (string)first["preview_url"]!;
        Assert.That(url, Is.EqualTo($"/images/flux_{(string)first["job_id"]!}.preview.jpg"));
        Assert.That(
            (string?)(await app.GetMessageAsync(id))["extra_metadata"]!["preview_url"], Is.EqualTo(url), "a refresh shows it as well");

        using (var response = await app.Http.GetAsync(url))
        {
            using var image = SKBitmap.Decode(await response.Content.ReadAsByteArrayAsync());
            Assert.Multiple(() =>
            {
                Assert.That(response.Content.Headers.ContentType?.MediaType, Is.EqualTo("image/jpeg"));
                Assert.That(response.Headers.CacheControl?.NoStore, Is.True);
                Assert.That(Math.Max(image.Width, image.Height), Is.InRange(64, 512));
                Assert.That((double)image.Width / image.Height, Is.EqualTo(4.0 / 3).Within(0.05));
            });
        }

        var rest = await events.ReadUntilAsync(progress => (string)progress["status"]! == "complete");
        Assert.That(rest.SkipLast(1).Select(progress => (string?)progress["preview_url"]), Is.All.EqualTo(url));
        Assert.That(rest[^1]["preview_url"], Is.Null);
        await AssertGoneAsync(app, id, url);
        Assert.That(app.Log.Of(LogLevel.Warning), Is.Empty);
    }

    [Test]
    public async Task Preview_IsGone_WhenCancelled()
    {
        await using var app = await TestApp.StartAsync(new() { ["Forge:Simulator:SecondsPerImage"] = "60" });
        var id = (long)(await app.SubmitAsync("bir kedi", more: ManySteps))["id"]!;
        var url = await WaitForPreviewAsync(app, id);

        using var cancelled = await app.Http.PostAsync($"api/messages/{id}/cancel", null);

        Assert.That(((JsonObject)(await TestApp.ReadAsync(cancelled))["extra_metadata"]!).ContainsKey("preview_url"), Is.False);
        await AssertGoneAsync(app, id, url);
    }

    [Test]
    public async Task Preview_IsGone_WhenTheProcessStops()
    {
        using var folder = new TemporaryFolder();
        await using (var app = await TestApp.StartAsync(new() { ["Forge:Simulator:SecondsPerImage"] = "60" }, folder))
            await WaitForPreviewAsync(app, (long)(await app.SubmitAsync("bir kedi", more: ManySteps))["id"]!);

        Assert.That(Directory.GetFiles(Path.Combine(folder.Path, "images")), Is.Empty);
    }

    [Test]
    public async Task Preview_NeverComes_WhenSwitchedOff()
    {
        await using var app = await TestApp.StartAsync(
            new() { ["Forge:Simulator:SecondsPerImage"] = "1", ["Forge:LivePreview"] = "false" });
        await app.SubmitAsync("bir kedi");
        using var events = await SseReader.OpenAsync(app.Http, "api/conversations/demo/events", "0");

        var all = await events.ReadUntilAsync(progress => (string)progress["status"]! == "complete");

        Assert.That(all.Select(progress => progress["preview_url"]), Is.All.Null);
    }

    [Test]
    public async Task PreviewUrl_BelongsToImageQueue()
    {
        await using var app = await TestApp.StartAsync();
        var id = (long)(await app.SubmitAsync("bir kedi"))["id"]!;

        using var patched = await app.Http.PatchAsync(
            $"api/messages/{id}", new StringContent(
                """{"extra_metadata":{"preview_url":"x"}}""", Encoding.UTF8, "application/merge-patch+json"));

        Assert.That(patched.StatusCode, Is.EqualTo(HttpStatusCode.UnprocessableEntity));
    }

    private static async Task<string> WaitForPreviewAsync(TestApp app, long id)
    {
        var started = TimeProvider.System.GetTimestamp();
        while (true)
        {
            if ((string?)(await app.GetMessageAsync(id))["extra_metadata"]!["preview_url"] is { } url)
                return url;
            Assert.That(TimeProvider.System.GetElapsedTime(started), Is.LessThan(TimeSpan.FromSeconds(60)), app.Log.ToString());
            await Task.Delay(20);
        }
    }

    private static async Task AssertGoneAsync(TestApp app, long id, string url)
    {
        Assert.That(((JsonObject)(await app.GetMessageAsync(id))["extra_metadata"]!).ContainsKey("preview_url"), Is.False);
        var started = TimeProvider.System.GetTimestamp();
        while (Directory.GetFiles(app.ImagesFolder, "*.preview.*").Length > 0)
        {
            Assert.That(TimeProvider.System.GetElapsedTime(started), Is.LessThan(TimeSpan.FromSeconds(30)));
            await Task.Delay(20);
        }

        using var response = await app.Http.GetAsync(url);
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.NoContent));
    }
}
