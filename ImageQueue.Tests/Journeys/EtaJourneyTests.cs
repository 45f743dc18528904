using System.Text.Json.Nodes;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Journeys;

/// <summary>Estimates as a chat app gets them.</summary>
[Category(Categories.App)]
internal sealed class EtaJourneyTests
{
    private static readonly Dictionary<string, string?> Settings = new() { ["Forge:Simulator:SecondsPerImage"] = "0.5" };

    [Test]
    public async Task Eta_IsSaidOnceAImageWasGenerated_AndStillKnownAfterARestart()
    {
        using var folder = new TemporaryFolder();
        await using (var app = await TestApp.StartAsync(Settings, folder))
        {
            var first = await app.SubmitAsync("first");
            Assert.That(first["queue"]?["eta_seconds"], Is.Null);
            Assert.That((await QueueAsync(app))["seconds_per_image"], Is.Null);
            await app.WaitForAsync((long)first["id"]!, MessageStatus.Complete);
            await Task.Delay(1100); // What was learnt is looked up once a second.

            using var events = await SseReader.OpenAsync(app.Http, "api/conversations/demo/events");
            for (var i = 0; i < 4; i++)
                await app.SubmitAsync($"image {i}");
            var before = (double)(await QueueAsync(app))["seconds_per_image"]!;
            var last = await app.SubmitAsync("last");

            var eta = (double)last["queue"]!["eta_seconds"]!;
            // What an image takes is learnt from each, while this asks.
            double[] image = [before, (double)(await QueueAsync(app))["seconds_per_image"]!];
            Assert.That(image, Is.All.InRange(0.3, 20), "seconds per image");
            var position = (int)last["queue"]!["position"]!; // Less where the submits took long.
            Assert.That(position, Is.InRange(1, 5));
            // What it is based on may be seconds old, and that time counts as waited; EtaTests hold the formula.
            Assert.That(eta, Is.InRange(0.1, (image.Max() * (position + 2)) + 0.5), "those ahead, one of them begun, and its own");

            var generating = (await events.ReadUntilAsync(e => (string?)e["status"] == MessageStatus.Processing))[^1];
            Assert.That((double?)generating["eta_seconds"], Is.InRange(0, image.Max() + 0.1));
            await app.WaitForAsync((long)last["id"]!, MessageStatus.Complete);
        }

        await using var again = await TestApp.StartAsync(Settings, folder);
        Assert.That((double?)(await QueueAsync(again))["seconds_per_image"], Is.GreaterThan(0));
    }

    private static async Task<JsonObject> QueueAsync(TestApp app) =>
        await TestApp.ReadAsync(await app.Http.GetAsync(new Uri("api/queue", UriKind.Relative)));
}
