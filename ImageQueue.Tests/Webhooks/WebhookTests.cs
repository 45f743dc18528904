using System.Net.Http.Json;
using System.Text.Json.Nodes;
using Hangfire;
using Hangfire.States;
using ImageQueue.Core.Webhooks;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;

namespace ImageQueue.Tests.Webhooks;

/// <summary>What the running app delivers to receivers.</summary>
[TestFixture]
[Category(Categories.App)]
internal sealed class WebhookTests
{
    private TestReceiver _receiver = null!; // Set before each test.

    [SetUp]
    public async Task StartAsync() => _receiver = await TestReceiver.StartAsync();

    [TearDown]
    public async Task StopAsync() => await _receiver.DisposeAsync();

    [Test]
    public async Task Events_AreDelivered_Signed_OncePerEnd()
    {
        await using var app = await TestApp.StartAsync(_receiver.Settings([.. WebhookEvents.All]));
        var done = (long)(await app.SubmitAsync("bir kedi"))["id"]!;
        var complete = await _receiver.TakenAsync(done, WebhookEvents.Complete);
        var failed = (long)(await app.SubmitAsync("[fault:oom]"))["id"]!;
        await _receiver.TakenAsync(failed, WebhookEvents.Error);
        var message = await _receiver.TakenAsync(await AddAsync(app, "merhaba"), WebhookEvents.Message);

        // The chat app's own key is no second end.
        var path = string.Create(CultureInfo.InvariantCulture, $"api/messages/{done}");
        using var patched = await app.Http.PatchAsync(path, JsonContent.Create(new { extra_metadata = new { mine = 1 } }));
        Assert.That((int)patched.StatusCode, Is.EqualTo(200));
        await _receiver.TakenAsync(await AddAsync(app, "sonra"), WebhookEvents.Message);
        using var erased = await app.Http.DeleteAsync(path);
        var deleted = await _receiver.TakenAsync(done, WebhookEvents.Deleted);

        Assert.Multiple(() =>
        {
            Assert.That(_receiver.Deliveries, Is.All.Matches<Delivery>(delivery => delivery.IsValid));
            Assert.That(_receiver.Deliveries.Count(delivery => delivery.Type == WebhookEvents.Complete), Is.EqualTo(1));
            Assert.That(
                ((string?)complete.Data["prompt"], (int)complete.Data["progress"]!, (string?)complete.Data["username"]),
                Is.EqualTo(("bir kedi", 100, "ayşe")));
            Assert.That(complete.Data["thumbnail_url"], Is.Not.Null);
            Assert.That(
                DateTimeOffset.Parse((string)complete.Body["timestamp"]!, CultureInfo.InvariantCulture),
                Is.EqualTo(TimeProvider.System.GetUtcNow()).Within(TimeSpan.FromMinutes(1)));
            Assert.That((string?)message.Data["content"], Is.EqualTo("merhaba"));
            Assert.That(
                ((string?)deleted.Data["status"], deleted.Data["prompt"], deleted.Data["image_url"]),
                Is.EqualTo((MessageStatus.Deleted, (JsonNode?)null, (JsonNode?)null)));
            Assert.That(deleted.Text, Does.Not.Contain("kedi").And.Not.Contain("ayşe"));
        });
    }

    /// <summary>The ends alone, unless a receiver asks for more.</summary>
    [Test]
    public async Task Receiver_GetsFinishedRequestsOnly_WhenItNamesNoEvents()
    {
        await using var app = await TestApp.StartAsync(_receiver.Settings());
        await AddAsync(app, "merhaba");

        await _receiver.TakenAsync((long)(await app.SubmitAsync("bir kedi"))["id"]!, WebhookEvents.Complete);

        Assert.That(_receiver.Deliveries.Select(delivery => delivery.Type), Is.EqualTo(new[] { WebhookEvents.Complete }));
    }

    /// <summary>Again after a pause, under the same id; the job says what was answered, and an operator has it sent once more.</summary>
    [Test]
    public async Task RefusedDelivery_IsRetriedUnderTheSameId_AndCanBeRequeuedByHand()
    {
        _receiver.Answer = TestReceiver.Status(503);
        await using var app = await TestApp.StartAsync(_receiver.Settings());
        var id = (long)(await app.SubmitAsync("bir kedi"))["id"]!;
        var monitoring = app.Services.GetRequiredService<JobStorage>().GetMonitoringApi();
        await Until.TrueAsync(() => monitoring.ScheduledCount() == 1);
        var job = monitoring.ScheduledJobs(0, 1).Single().Key;
        Assert.That(
            monitoring.JobDetails(job).History.SelectMany(state => state.Data.Values.Append(state.Reason)),
            Has.Some.Contains("503 ServiceUnavailable"));
        Assert.That(string.Join(' ', monitoring.JobDetails(job).Job.Args), Does.Not.Contain("kedi"));

        _receiver.Answer = TestReceiver.Status(204);
        var taken = await _receiver.TakenAsync(id, WebhookEvents.Complete);
        Assert.That(_receiver.Deliveries.Select(delivery => delivery.Id).Distinct(), Is.EqualTo(new[] { taken.Id }));
        await Until.TrueAsync(() => monitoring.JobDetails(job).History[0].StateName == SucceededState.StateName);
        Assert.That(monitoring.JobDetails(job).History[0].Data["Result"], Does.Contain("204 NoContent"));

        Assert.That(
            await app.Http.GetStringAsync("hangfire/jobs/succeeded"),
            Does.Match($@"image\.complete of message {id} to 127\.0\.0\.1-[0-9a-f]{{8}}"));

        var before = _receiver.Deliveries.Count;
        app.Services.GetRequiredService<IBackgroundJobClientV2>().ChangeState(job, new EnqueuedState(DeliverWebhookJob.QueueName), null);
        await Until.TrueAsync(() => _receiver.Deliveries.Count == before + 1);
        Assert.That(_receiver.Deliveries.Last().Id, Is.EqualTo(taken.Id));
    }

    /// <summary>410 is the receiver's word for "never again", until an operator knows better.</summary>
    [Test]
    public async Task GoneReceiver_IsSuspended_UntilAnOperatorResumesIt()
    {
        _receiver.Answer = TestReceiver.Status(410);
        await using var app = await TestApp.StartAsync(_receiver.Settings());
        await app.SubmitAsync("bir kedi");
        var suspensions = app.Services.GetRequiredService<WebhookSuspensions>();
        await Until.TrueAsync(async () => (await suspensions.ListAsync(CancellationToken.None)).Count == 1);
        var name = (await suspensions.ListAsync(CancellationToken.None)).Keys.Single();
        await Until.TrueAsync(
            async () => (await app.Http.GetStringAsync("health/ready"))
                .Contains($"Webhook receiver {name} answered 410 Gone and is suspended", StringComparison.Ordinal),
            "readiness names the receiver");

        var missed = (long)(await app.SubmitAsync("bir köpek"))["id"]!;
        await app.WaitForAsync(missed, MessageStatus.Complete);
        var latest = await app.Services.GetRequiredService<IFeedStore>().LatestRevisionAsync(CancellationToken.None);
        await Until.TrueAsync(() => app.Services.GetRequiredService<WebhookPosition>().Read >= latest, "the dispatcher has read the event");
        _receiver.Answer = TestReceiver.Status(204);
        Assert.That(await suspensions.ResumeAsync(name, CancellationToken.None), Is.True);
        var next = (long)(await app.SubmitAsync("bir kuş"))["id"]!;
        await _receiver.TakenAsync(next, WebhookEvents.Complete);

        Assert.That(_receiver.Taken.Select(delivery => delivery.MessageId), Does.Not.Contain(missed));
        Assert.That(_receiver.Deliveries, Has.Count.EqualTo(2));
    }

    /// <summary>Each failed attempt is one log line: an operator sees when it began.</summary>
    [Test]
    public async Task FailedAttempt_IsOneLogLine()
    {
        _receiver.Answer = TestReceiver.Status(500);
        await using var app = await TestApp.StartAsync(_receiver.Settings());
        var id = (long)(await app.SubmitAsync("bir kedi"))["id"]!;

        await Until.TrueAsync(
            () => app.Log.Of(LogLevel.Warning).Any(line => line.Contains("did not accept image.complete", StringComparison.Ordinal)));

        Assert.That(
            app.Log.Of(LogLevel.Warning).Count(
                line => line.Contains($"did not accept image.complete of message {id}: 500 InternalServerError", StringComparison.Ordinal)),
            Is.EqualTo(_receiver.Deliveries.Count));
    }

    /// <summary>A receiver that takes everything and answers nothing.</summary>
    [Test]
    public async Task HangingReceiver_DelaysNoOther()
    {
        await using var hanging = await TestReceiver.StartAsync();
        hanging.Answer = hanging.HangAsync;
        var settings = _receiver.Settings(WebhookEvents.Message);
        settings["Webhooks:1:Url"] = hanging.Url.AbsoluteUri;
        settings["Webhooks:1:Secret"] = "a-text-of-sixteen-bytes";
        settings["Webhooks:1:Events:0"] = WebhookEvents.Message;
        await using var app = await TestApp.StartAsync(settings);

        var started = TimeProvider.System.GetTimestamp();
        for (var i = 0; i < 20; i++)
            await AddAsync(app, "merhaba");
        await Until.TrueAsync(() => _receiver.Taken.Select(delivery => delivery.MessageId).Distinct().Count() == 20);

        Assert.That(
            TimeProvider.System.GetElapsedTime(started), Is.LessThan(TimeSpan.FromSeconds(14)), "the other one hangs for fifteen seconds");
        Assert.That(hanging.Deliveries, Has.Count.InRange(1, WebhookTraffic.AtOnce));
    }

    /// <summary>Looked up where the connection is made: what a name meant at the start counts for nothing.</summary>
    [TestCase("localhost")]
    [TestCase("127.0.0.1")]
    [TestCase("[::1]")]
    [TestCase("[::ffff:127.0.0.1]")]
    public void PrivateAddress_IsNotConnectedTo_ByAnyName(string host)
    {
        var (sender, receiver) = Sender(new UriBuilder(_receiver.Url) { Host = host }.Uri, allowPrivate: false);
        using (sender)
        {
            Assert.That(
                async () => await sender.SendAsync(receiver, "id", "{}"u8.ToArray(), default),
                Throws.TypeOf<WebhookException>().With.Message.Contains("private address"));
        }

        Assert.That(_receiver.Deliveries, Is.Empty);
    }

    [Test]
    public void Redirect_IsNotFollowed()
    {
        _receiver.Answer = context =>
        {
            context.Response.Headers.Location = "/elsewhere";
            return Task.FromResult(context.Response.StatusCode = 307);
        };
        var (sender, receiver) = Sender(_receiver.Url, allowPrivate: true);
        using (sender)
        {
            Assert.That(
                async () => await sender.SendAsync(receiver, "id", "{}"u8.ToArray(), default),
                Throws.TypeOf<WebhookException>().With.Message.StartsWith("307"));
        }

        Assert.That(_receiver.Deliveries, Has.Count.EqualTo(1));
    }

    private static (WebhookSender Sender, WebhookReceiver Receiver) Sender(Uri url, bool allowPrivate)
    {
        var options = new WebhooksOptions { AllowPrivate = allowPrivate };
        options.Receivers.Add(new WebhookOptions { Url = url, Secret = TestReceiver.Secret });
        return (
            new WebhookSender(Options.Create(options), TimeProvider.System), new WebhookReceivers(Options.Create(options)).All.Single());
    }

    private static async Task<long> AddAsync(TestApp app, string words)
    {
        using var response = await app.Http.PostAsJsonAsync(
            "api/conversations/demo/messages", new { username = "ayşe", role = "user", content = words });
        return (long)(await TestApp.ReadAsync(response))["id"]!;
    }
}
