using System.Net;
using System.Text.Json.Nodes;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Journeys;

/// <summary>Erasing removes everything: message and conversation, finished, waiting and being generated.</summary>
[TestFixture]
[Category(Categories.Process)]
internal sealed class EraseJourneyTests
{
    private const string Secret = "zümrüdüanka";

    [Test]
    public async Task DeletedMessage_IsGone_AndWatchersAreTold()
    {
        await using var app = await TestApp.StartAsync();
        var message = await app.SubmitAsync($"bir {Secret}");
        var id = (long)message["id"]!;
        var done = await app.WaitForAsync(id, MessageStatus.Complete);
        await app.JobStateAsync(id, "Succeeded");
        using var events = await SseReader.OpenAsync(app.Http, $"api/conversations/demo/events?last_event_id={done["revision"]}");

        Assert.That(await DeleteAsync(app.Http, $"api/messages/{id}"), Is.EqualTo(HttpStatusCode.NoContent));

        var told = await events.ReadAsync();
        Assert.Multiple(() =>
        {
            Assert.That(
                ((string?)told["status"], (long)told["message_id"]!, (string?)told["job_id"]),
                Is.EqualTo((MessageStatus.Deleted, id, (string?)done["extra_metadata"]!["job_id"])));
            Assert.That(new[] { told["prompt"], told["image_url"], told["thumbnail_url"], told["error"] }, Is.All.Null);
            Assert.That((string?)told["username"], Is.Empty);
        });
        foreach (var (method, path) in new[]
        {
            (HttpMethod.Get, $"api/messages/{id}"), (HttpMethod.Delete, $"api/messages/{id}"), (
                HttpMethod.Post, $"api/messages/{id}/cancel"), (HttpMethod.Post, $"api/messages/{id}/retry"),
            (HttpMethod.Get, (string)done["extra_metadata"]!["image_url"]!), (
                HttpMethod.Get, (string)done["extra_metadata"]!["thumbnail_url"]!),
        })
        {
            using var response = await app.Http.SendAsync(new HttpRequestMessage(method, path));
            Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.NotFound), $"{method} {path}");
        }

        Assert.That(Directory.GetFiles(app.ImagesFolder), Is.Empty);
        Assert.That((await TestApp.ReadAsync(await app.Http.GetAsync("api/conversations/demo/messages")))["messages"]!.AsArray(), Is.Empty);
    }

    /// <summary>Its image is being generated, or waits: it is cancelled, and no worker brings anything of it back.</summary>
    [Test]
    public async Task DeletedWhileUnderWay_LeavesNothingBehind()
    {
        await using var app = await TestApp.StartAsync(new() { ["Forge:Simulator:SecondsPerImage"] = "60" });
        // A preview comes each ten steps: soon, of an image that takes long.
        var generated = (long)(await app.SubmitAsync($"{Secret} 1", more: new { width = 256, height = 256, steps = 100 }))["id"]!;
        var waiting = (long)(await app.SubmitAsync($"{Secret} 2"))["id"]!;
        await app.WaitForAsync(generated, MessageStatus.Processing);
        while ((await app.GetMessageAsync(generated))["extra_metadata"]!["preview_url"] is null)
            await Task.Delay(20);

        Assert.That(await DeleteAsync(app.Http, $"api/messages/{generated}"), Is.EqualTo(HttpStatusCode.NoContent));
        Assert.That(await DeleteAsync(app.Http, $"api/messages/{waiting}"), Is.EqualTo(HttpStatusCode.NoContent));

        while (Directory.GetFiles(app.ImagesFolder).Length > 0 || (int)(await QueueAsync(app))["processing"]! > 0)
            await Task.Delay(20);
        Assert.That((int)(await QueueAsync(app))["waiting"]!, Is.Zero);
    }

    /// <summary>The issue's own bar: database, images and log.</summary>
    [Test]
    public async Task DeletedConversation_IsInNoFile_AndNoLog()
    {
        using var folder = new TemporaryFolder();
        string output;
        await using (var app = await AppProcess.StartAsync(folder.Path, null, new() { ["Forge__Simulator__SecondsPerImage"] = "1" }))
        {
            var ids = new List<long>();
            for (var i = 0; i < 4; i++)
            {
                ids.Add(
                    (long)(await app.TrySubmitAsync(
                        string.Create(CultureInfo.InvariantCulture, $"{Secret} {i} {(i == 2 ? "[fault:oom]" : "")}"), "going"))!["id"]!);
            }

            var kept = (long)(await app.SubmitAsync("papatya"))["id"]!;
            foreach (var id in ids.Take(3))
                await app.WaitForAsync(id, MessageStatus.Complete, MessageStatus.Error);
            Assert.That(await DeleteAsync(app.Http, "api/conversations/going"), Is.EqualTo(HttpStatusCode.NoContent));
            Assert.That(await DeleteAsync(app.Http, "api/conversations/going"), Is.EqualTo(HttpStatusCode.NotFound));
            Assert.That((await app.Http.GetAsync("api/conversations/going/messages")).StatusCode, Is.EqualTo(HttpStatusCode.NotFound));
            foreach (var id in ids)
                Assert.That((await app.Http.GetAsync($"api/messages/{id}")).StatusCode, Is.EqualTo(HttpStatusCode.NotFound));

            await app.WaitForAsync(kept, MessageStatus.Complete);
            Assert.That(Content(folder), Does.Not.Contain(Secret), "while it runs");
            await app.StopAsync();
            output = app.Output;
        }

        Assert.That(Content(folder), Does.Contain("papatya").And.Not.Contain(Secret));
        Assert.That(output, Does.Not.Contain(Secret));
        Assert.That(Directory.GetFiles(Path.Combine(folder.Path, "images")), Has.Length.EqualTo(2), "the kept one's");
    }

    private static async Task<JsonObject> QueueAsync(TestApp app) => await TestApp.ReadAsync(await app.Http.GetAsync("api/queue"));

    private static async Task<HttpStatusCode> DeleteAsync(HttpClient http, string path)
    {
        using var response = await http.DeleteAsync(path);
        return response.StatusCode;
    }

    private static string Content(TemporaryFolder folder) => string.Concat(
        Directory.GetFiles(folder.Path, "*", SearchOption.AllDirectories)
            .Where(path => !path.EndsWith(".lock", StringComparison.Ordinal))
            .Select(path => Encoding.UTF8.GetString(ReadShared(path))));

    private static byte[] ReadShared(string path)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        using var bytes = new MemoryStream();
        file.CopyTo(bytes);
        return bytes.ToArray();
    }
}
