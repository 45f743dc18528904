using ImageQueue.Core.Webhooks;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.Time.Testing;
using Moq;
using NUnit.Framework;

namespace ImageQueue.Tests.Webhooks;

/// <summary>Webhooks and a transaction of another program that stays open, as SQL Server reports it.</summary>
[TestFixture]
[Category(Categories.Fast)]
internal sealed class WebhookChangesTests
{
    private readonly FakeTimeProvider _time = new();
    private readonly List<ChangedRow> _rows = [];
    private long? _heldBackAt;
    private LogRecorder _log = null!; // Both set before each test.
    private WebhookChanges _changes = null!;
    private OpenTransactionReport _report = null!;

    [SetUp]
    public void SetUp()
    {
        (_heldBackAt, _log) = (null, new LogRecorder());
        _rows.Clear();
        using var logs = LoggerFactory.Create(logging => logging.AddProvider(_log));
        _report = new OpenTransactionReport(logs.CreateLogger<OpenTransactionReport>());
        var store = new Mock<IFeedStore>(MockBehavior.Strict);
        store.Setup(feed => feed.ListChangesAsync(It.IsAny<long>(), It.IsAny<int>(), It.IsAny<CancellationToken>())).ReturnsAsync(
            (long revision, int _, CancellationToken _) => new ChangedRows(
                [.. _rows.Where(row => row.Revision > revision && row.Revision < (_heldBackAt ?? long.MaxValue))], _heldBackAt));
        store.Setup(feed => feed.ListAheadAsync(It.IsAny<long>(), It.IsAny<int>(), It.IsAny<CancellationToken>())).ReturnsAsync(
            (long from, int _, CancellationToken _) => [.. _rows.Where(row => row.Revision >= from)]);
        store.Setup(feed => feed.ReadChangesAsync(It.IsAny<IReadOnlyCollection<long>>(), It.IsAny<CancellationToken>())).ReturnsAsync(
            (IReadOnlyCollection<long> ids, CancellationToken _) => [.. _rows.Where(row => ids.Contains(row.Id)).Select(Change)]);
        _changes = new WebhookChanges(store.Object, _report, _time);
    }

    [TearDown]
    public void TearDown() => _log.Dispose();

    /// <summary>Seen before: one long transaction anywhere in the database delayed all webhooks in silence.</summary>
    [Test]
    public async Task ReadAhead_GivesEachChangeOnce_WhenATransactionStaysOpen()
    {
        Write(1, 10);
        _heldBackAt = 11;
        Write(2, 12);

        Assert.That(await RoundAsync(0), Is.EqualTo(new[] { 10L }), "a short transaction is waited for");
        _time.Advance(OpenTransactionGap.Patience);
        Assert.That(await RoundAsync(10), Is.EqualTo(new[] { 12L }));
        Assert.That(await RoundAsync(10), Is.Empty);
        Write(3, 13);
        Assert.That(await RoundAsync(10), Is.EqualTo(new[] { 13L }));

        _heldBackAt = null;
        Write(4, 11);
        Assert.That(await RoundAsync(10), Is.EqualTo(new[] { 11L, 12L, 13L }), "the order, whole");
    }

    /// <summary>The feed and the webhooks meet the same transaction.</summary>
    [Test]
    public async Task Report_LogsOnce_WhenTwoReadersMeetTheSameTransaction()
    {
        _heldBackAt = 11;
        Write(2, 12);
        await RoundAsync(0);
        _time.Advance(OpenTransactionGap.Patience);

        _report.Note("another reader", 11);
        await RoundAsync(0);
        Assert.That(_log.Of(LogLevel.Warning), Has.Exactly(1).Contains("has been open for more than 2 s (revision 11)"));

        _heldBackAt = null;
        await RoundAsync(0);
        Assert.That(_log.Of(LogLevel.Information), Has.None.Contains("in order again"), "the other reader still meets it");
        _report.Note("another reader", null);
        Assert.That(_log.Of(LogLevel.Information), Has.Exactly(1).Contains("in order again"));
    }

    private void Write(long id, long revision)
    {
        _rows.RemoveAll(row => row.Id == id);
        _rows.Add(new ChangedRow(id, "c", revision));
        _rows.Sort((a, b) => a.Revision.CompareTo(b.Revision));
    }

    private async Task<IReadOnlyList<long>> RoundAsync(long position)
    {
        var (changes, _, _) = await _changes.ReadAsync(position, CancellationToken.None);
        var ahead = await _changes.ReadAheadAsync(CancellationToken.None);
        foreach (var change in ahead)
            _changes.Dispatched(change);
        return [.. changes.Concat(ahead).Select(change => change.Message.Revision)];
    }

    private static MessageChange Change(ChangedRow row) => new(new Message
    {
        Username = "ayşe",
        Id = row.Id,
        ConversationId = row.ConversationId,
        Role = MessageRole.Bot,
        Content = "x",
        ExtraMetadata = "{}",
        CreatedAt = default,
        UpdatedAt = default,
        Attempt = 0,
        Revision = row.Revision,
    });
}
