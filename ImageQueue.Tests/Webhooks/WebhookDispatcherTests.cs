using Hangfire;
using Hangfire.Common;
using Hangfire.InMemory;
using Hangfire.States;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Webhooks;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;
using Moq;
using NUnit.Framework;

namespace ImageQueue.Tests.Webhooks;

/// <summary>Which row changes become deliveries, with a store that says what the test wants.</summary>
[TestFixture]
[Category(Categories.Fast)]
internal sealed class WebhookDispatcherTests
{
    private readonly FakeTimeProvider _time = new();
    private readonly List<long> _sent = [];
    private readonly Mock<IFeedStore> _store = new();
    private readonly Mock<IOperatorStore> _operators = new();
    private InMemoryStorage _storage = null!; // Set before each test.
    private WebhookPosition _position = null!;
    private WebhookDispatcher _dispatcher = null!;
    private bool _isHangfireAway;

    [SetUp]
    public void Create()
    {
        _sent.Clear();
        _isHangfireAway = false;
        _storage = new InMemoryStorage();
        _operators.Setup(store => store.ListPausesAsync(It.IsAny<CancellationToken>())).ReturnsAsync([]);
        _store.Setup(store => store.LatestRevisionAsync(It.IsAny<CancellationToken>())).ReturnsAsync(10);
        _store.Setup(store => store.ReadChangesAsync(It.IsAny<IReadOnlyCollection<long>>(), It.IsAny<CancellationToken>()))
            .ReturnsAsync((IReadOnlyCollection<long> ids, CancellationToken _) => [.. ids.Select(id => ChangeOf(id))]);
        _store.Setup(store => store.ListAheadAsync(It.IsAny<long>(), It.IsAny<int>(), It.IsAny<CancellationToken>())).ReturnsAsync([]);
        var leases = new Mock<ILeaseStore>();
        leases.Setup(
            store =>
                store.AcquireLeasesAsync(
                    It.IsAny<string>(), It.IsAny<IReadOnlyCollection<string>>(), It.IsAny<TimeSpan>(), It.IsAny<CancellationToken>()))
            .ReturnsAsync([new Lease(WebhookDispatcher.LeaseName, null)]);
        leases.Setup(
            store =>
                store.NoteLeaseAsync(
                    It.IsAny<string>(), It.IsAny<string>(), It.IsAny<string?>(), It.IsAny<CancellationToken>())).ReturnsAsync(true);
        var client = new Mock<IBackgroundJobClientV2>();
        client.Setup(one => one.Create(It.IsAny<Job>(), It.IsAny<IState>()))
            .Callback((Job job, IState _) => _sent.Add(_isHangfireAway ? throw FaultyStore.Broken() : (long)job.Args[2]))
            .Returns("job");
        var receivers = ReceiversOf();
        _position = new WebhookPosition(_storage);
        var suspensions = new WebhookSuspensions(_operators.Object, NullLogger<WebhookSuspensions>.Instance);
        _dispatcher = new WebhookDispatcher(
            leases.Object,
            new WebhookChanges(_store.Object, new OpenTransactionReport(NullLogger<OpenTransactionReport>.Instance), _time),
            new WebhookDeliveries(receivers, _position, suspensions, client.Object),
            _position,
            new AsyncSignal(),
            DatabaseReadiness.Completed(),
            _time,
            NullLogger<WebhookDispatcher>.Instance);
    }

    [TearDown]
    public void Dispose()
    {
        _dispatcher.Dispose();
        _storage.Dispose();
    }

    [Test]
    public async Task Changes_AreDispatchedOnce_WhenTheOrderBringsThemAgain()
    {
        Changes(heldBackAt: 20);
        _store.Setup(store => store.ListAheadAsync(20, It.IsAny<int>(), It.IsAny<CancellationToken>())).ReturnsAsync([RowOf(21)]);
        await _dispatcher.DispatchAsync(CancellationToken.None);
        _time.Advance(OpenTransactionGap.Patience);
        await _dispatcher.DispatchAsync(CancellationToken.None);
        Assert.That(_sent, Is.EqualTo(new[] { 21L }));

        Changes(heldBackAt: null, 20, 21);
        await _dispatcher.DispatchAsync(CancellationToken.None);

        Assert.That(_sent, Is.EqualTo(new[] { 21L, 20L }));
    }

    [Test]
    public async Task Changes_AreNotDispatched_ToASuspendedReceiver()
    {
        var name = ReceiversOf().All.Single().Name;
        _operators.Setup(
            store =>
                store.ListPausesAsync(It.IsAny<CancellationToken>())).ReturnsAsync([new Pause($"webhook:{name}", "410 Gone", default)]);
        Changes(heldBackAt: null, 20);

        await _dispatcher.DispatchAsync(CancellationToken.None);

        Assert.That(_sent, Is.Empty);
    }

    /// <summary>A delivery that seems open for ever makes each restart deliver everything after it again.</summary>
    [Test]
    public async Task Deliveries_AreNotOpen_WhenTheirJobCouldNotBeCreated()
    {
        Changes(heldBackAt: null, 20);
        _isHangfireAway = true;
        Assert.That(() => _dispatcher.DispatchAsync(CancellationToken.None), Throws.InvalidOperationException);
        _isHangfireAway = false;
        await _dispatcher.DispatchAsync(CancellationToken.None);

        _position.Close(ReceiversOf().All.Single().Name, 20); // The delivery has ended.

        Assert.That(_position.ToNote(), Is.EqualTo("""{"Read":20,"Behind":null}"""));
    }

    private static WebhookReceivers ReceiversOf()
    {
        var options = new WebhooksOptions();
        options.Receivers.Add(new WebhookOptions { Url = new Uri("https://chat.example/hooks"), Secret = TestReceiver.Secret });
        return new WebhookReceivers(Options.Create(options));
    }

    /// <summary>Ids and revisions are the same numbers here.</summary>
    private void Changes(long? heldBackAt, params long[] revisions) => _store
        .Setup(store => store.ListChangesAsync(It.IsAny<long>(), It.IsAny<int>(), It.IsAny<CancellationToken>()))
        .ReturnsAsync(
            (long since, int _, CancellationToken _) =>
                new ChangedRows([.. revisions.Where(one => one > since).Select(RowOf)], heldBackAt));

    private static ChangedRow RowOf(long revision) => new(revision, "demo", revision);

    private static MessageChange ChangeOf(long id) => new(new Message
    {
        Username = "ayşe",
        Id = id,
        Revision = id,
        ConversationId = "demo",
        Role = "bot",
        Content = "",
        ExtraMetadata = "{\"status\":\"complete\"}",
        CreatedAt = DateTimeOffset.UnixEpoch,
        UpdatedAt = DateTimeOffset.UnixEpoch,
        QueuedAt = DateTimeOffset.UnixEpoch,
        Attempt = 1,
    });
}
