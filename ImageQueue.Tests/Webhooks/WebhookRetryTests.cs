using Hangfire;
using Hangfire.Common;
using Hangfire.States;
using ImageQueue.Core.Webhooks;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Webhooks;

/// <summary>When a delivery that was not accepted comes again, and what counts as an attempt.</summary>
[TestFixture]
[Category(Categories.Store)]
internal sealed class WebhookRetryTests
{
    private Bench _bench = null!; // Set before each test.

    [SetUp]
    public async Task CreateAsync() => _bench = await Bench.CreateAsync(settings: new()
    {
        ["Webhooks:0:Url"] = "https://chat.example/hooks",
        ["Webhooks:0:Secret"] = TestReceiver.Secret,
    });

    [TearDown]
    public async Task DisposeAsync() => await _bench.DisposeAsync();

    /// <summary>Seen before: AutomaticRetry scheduled it first, so that ten "busy" answers lost the event.</summary>
    [Test]
    public void BusyDelivery_KeepsItsAttempts_AndComesWithinTwentySeconds()
    {
        var job = Enqueue();

        for (var i = 0; i < 12; i++)
        {
            Fail(job, new WebhookBusyException("chat.example", WebhookTraffic.BusyDelay));

            var (state, due, retries) = StateOf(job);
            Assert.That((state, retries), Is.EqualTo((ScheduledState.StateName, (string?)null)));
            Assert.That(due, Is.LessThan(TimeProvider.System.GetUtcNow().UtcDateTime.AddSeconds(20)));
        }
    }

    [Test]
    public void RefusedDelivery_ComesWhenRetryAfterSays_AndLosesAnAttempt()
    {
        var job = Enqueue();

        Fail(job, new WebhookException("503") { RetryAfter = TimeSpan.FromHours(3) });

        var (state, due, retries) = StateOf(job);
        Assert.That((state, retries), Is.EqualTo((ScheduledState.StateName, "1")));
        Assert.That(due, Is.EqualTo(TimeProvider.System.GetUtcNow().UtcDateTime.AddHours(3)).Within(TimeSpan.FromMinutes(1)));
    }

    [Test]
    public void RefusedDelivery_Fails_AfterTenRetriesOfEitherKind()
    {
        var job = Enqueue();

        for (var i = 0; i < DeliverWebhookJob.Retries; i++)
            Fail(job, new WebhookException("503") { RetryAfter = i % 2 == 0 ? TimeSpan.FromMinutes(1) : null });
        Assert.That(StateOf(job).State, Is.EqualTo(ScheduledState.StateName));
        Fail(job, new WebhookException("503") { RetryAfter = TimeSpan.FromMinutes(1) });

        Assert.That(StateOf(job).State, Is.EqualTo(FailedState.StateName));
    }

    [Test]
    public void Filters_AreInTheirOrder()
    {
        var filters = _bench.Get<IJobFilterProvider>().GetFilters(DeliveryOf(1)).ToList();

        Assert.That(filters.Select(filter => filter.Order), Is.Ordered);
        Assert.That(
            filters.FindIndex(filter => filter.Instance is WebhookJobFilter),
            Is.LessThan(filters.FindIndex(filter => filter.Instance is AutomaticRetryAttribute)));
    }

    /// <summary>Other events of the receiver wait as well.</summary>
    [Test]
    public async Task Receiver_IsBusy_UntilItsRetryAfterIsOver()
    {
        var time = new Microsoft.Extensions.Time.Testing.FakeTimeProvider();
        var traffic = new WebhookTraffic(time);
        using (var visit = await traffic.EnterAsync("a", CancellationToken.None))
            visit.Failed("429", TimeSpan.FromMinutes(10));

        Assert.That(
            async () => await traffic.EnterAsync("a", CancellationToken.None),
            Throws.TypeOf<WebhookBusyException>().With.Property(nameof(WebhookBusyException.Delay)).EqualTo(TimeSpan.FromMinutes(10)));
        time.Advance(TimeSpan.FromMinutes(10));
        using (var visit = await traffic.EnterAsync("a", CancellationToken.None))
            visit.Succeeded();
        using var other = await traffic.EnterAsync("a", CancellationToken.None);
    }

    [TestCase("7", 7)]
    [TestCase("864000", 86400)]
    [TestCase("0", null)]
    [TestCase("Fri, 31 Dec 1999 23:59:59 GMT", null)]
    [TestCase("soon", null)]
    public async Task RetryAfter_IsRead_UpToADay(string header, int? seconds)
    {
        await using var receiver = await TestReceiver.StartAsync();
        receiver.Answer = context =>
        {
            context.Response.Headers.RetryAfter = header;
            return Task.FromResult(context.Response.StatusCode = 429);
        };
        var options = new WebhooksOptions { AllowPrivate = true };
        options.Receivers.Add(new WebhookOptions { Url = receiver.Url, Secret = TestReceiver.Secret });
        using var sender = new WebhookSender(Options.Create(options), TimeProvider.System);

        var refused = Assert.ThrowsAsync<WebhookException>(() =>
            sender.SendAsync(new WebhookReceivers(Options.Create(options)).All.Single(), "id", "{}"u8.ToArray(), CancellationToken.None));

        Assert.That(refused?.RetryAfter?.TotalSeconds, Is.EqualTo((double?)seconds));
    }

    [TestCase("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    [TestCase("v1,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    public void Secret_IsTheSame_InEachOfItsSpellings(string secret) =>
        Assert.That(WebhookSignature.KeyOf(secret), Is.EqualTo(Convert.FromBase64String("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")));

    [TestCase("whsec_AAECAwQFBgcICQoLDA0ODw")]
    [TestCase("whsec_AAECAwQFBgcICQoLDA0ODw=")]
    [TestCase("whsec_AAECAwQFBgcICQoLDA0ODw==")]
    public void Secret_IsTaken_WithoutItsPadding(string secret) =>
        Assert.That(WebhookSignature.KeyOf(secret), Is.EqualTo(Enumerable.Range(0, 16).Select(number => (byte)number)));

    private static Job DeliveryOf(long messageId) => Job.FromExpression<DeliverWebhookJob>(
        job =>
            job.RunAsync("chat.example", WebhookEvents.Complete, messageId, 1, "id", CancellationToken.None), DeliverWebhookJob.QueueName);

    private string Enqueue() => _bench.Client.Create(DeliveryOf(1), new EnqueuedState(DeliverWebhookJob.QueueName));

    private void Fail(string job, Exception e) => _bench.Client.ChangeState(job, new FailedState(e), null);

    private (string State, DateTime? Due, string? Retries) StateOf(string job)
    {
        var storage = _bench.Get<JobStorage>();
        using var connection = storage.GetConnection();
        var state = connection.GetStateData(job);
        return (
            state.Name,
            state.Data.TryGetValue("EnqueueAt", out var due) ? JobHelper.DeserializeDateTime(due) : null,
            connection.GetJobParameter(job, WebhookJobFilter.RetryCount));
    }
}
