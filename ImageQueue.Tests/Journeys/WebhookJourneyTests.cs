using System.Net.Http.Json;
using ImageQueue.Core.Webhooks;
using ImageQueue.Tests.Support;
using ImageQueue.Tests.Webhooks;
using NUnit.Framework;

namespace ImageQueue.Tests.Journeys;

/// <summary>
/// A receiver with every kind of failure and an app that is killed meanwhile: no event is lost, and nothing of erased messages is sent.
/// </summary>
[TestFixture]
[Category(Categories.Process)]
internal sealed class WebhookJourneyTests
{
    private const string Secret = "zümrüdüanka";

    [Test]
    public async Task EveryEvent_IsDelivered_OverAReceiversTroubleAndTwoKills()
    {
        await using var receiver = await TestReceiver.StartAsync();
        using var folder = new TemporaryFolder();
        var settings = receiver.Settings(
            WebhookEvents.Complete, WebhookEvents.Error, WebhookEvents.Cancelled, WebhookEvents.Message, WebhookEvents.Deleted)
            .ToDictionary(setting => setting.Key.Replace(":", "__", StringComparison.Ordinal), setting => setting.Value!);
        settings["Webhooks__Timeout"] = "00:00:01";
        settings["Forge__Simulator__SecondsPerImage"] = "0";

        long done, deleted, failed, cancelled, words;
        receiver.Answer = TestReceiver.Status(500);
        await using (var app = await AppProcess.StartAsync(folder.Path, null, settings))
        {
            done = (long)(await app.SubmitAsync("bir kedi"))["id"]!;
            deleted = (long)(await app.SubmitAsync($"bir {Secret}"))["id"]!;
            await Until.TrueAsync(() => Came(receiver, done) && Came(receiver, deleted));
            receiver.Answer = receiver.HangAsync;
            failed = (long)(await app.SubmitAsync("[fault:oom]"))["id"]!;
            await Until.TrueAsync(() => Came(receiver, failed));
            await app.KillAsync();
        }

        receiver.Answer = TestReceiver.CloseAsync;
        var before = receiver.Deliveries.Count;
        int toldOfDeletion;
        await using (var app = await AppProcess.StartAsync(folder.Path, null, settings))
        {
            await Until.TrueAsync(() => receiver.Deliveries.Skip(before).Select(delivery => delivery.MessageId).Distinct().Count() == 3);
            var waiting = await app.TrySubmitAsync("[fault:stalled]");
            cancelled = (long)waiting!["id"]!;
            using var cancel = await app.Http.PostAsync(
                string.Create(CultureInfo.InvariantCulture, $"api/messages/{cancelled}/cancel"), null);
            using var added = await app.Http.PostAsJsonAsync(
                "api/conversations/demo/messages", new { username = "ayşe", role = "user", content = "merhaba" });
            words = (long)(await TestApp.ReadAsync(added))["id"]!;
            using var erased = await app.Http.DeleteAsync(string.Create(CultureInfo.InvariantCulture, $"api/messages/{deleted}"));
            Assert.That((int)erased.StatusCode, Is.EqualTo(204));
            toldOfDeletion = receiver.Deliveries.Count;
            await app.KillAsync();
        }

        receiver.Answer = TestReceiver.Status(204);
        await using (var app = await AppProcess.StartAsync(folder.Path, null, settings))
        {
            await receiver.TakenAsync(done, WebhookEvents.Complete);
            await receiver.TakenAsync(failed, WebhookEvents.Error);
            await receiver.TakenAsync(cancelled, WebhookEvents.Cancelled);
            await receiver.TakenAsync(words, WebhookEvents.Message);
            await receiver.TakenAsync(deleted, WebhookEvents.Deleted);
            await app.StopAsync();
            Assert.That(app.Output, Does.Not.Contain(Secret));
        }

        Assert.Multiple(() =>
        {
            Assert.That(receiver.Deliveries, Is.All.Matches<Delivery>(delivery => delivery.IsValid));
            Assert.That(
                receiver.Deliveries.Where(delivery => delivery.MessageId == done).Select(delivery => delivery.Id).Distinct().Count(),
                Is.EqualTo(1),
                "one event, one id, over all tries and processes");
            Assert.That(
                receiver.Deliveries.Skip(toldOfDeletion).Where(delivery => delivery.Text.Contains(Secret, StringComparison.Ordinal)),
                Is.Empty);
        });

        // What was taken is not sent again by the next process.
        var taken = receiver.Deliveries.Count;
        await using (var app = await AppProcess.StartAsync(folder.Path, null, settings))
        {
            using var added = await app.Http.PostAsJsonAsync(
                "api/conversations/demo/messages", new { username = "ayşe", role = "user", content = "son" });
            await receiver.TakenAsync((long)(await TestApp.ReadAsync(added))["id"]!, WebhookEvents.Message);
        }

        Assert.That(receiver.Deliveries.Count - taken, Is.EqualTo(1));
    }

    private static bool Came(TestReceiver receiver, long messageId) => receiver.Deliveries.Any(delivery => delivery.MessageId == messageId);
}
