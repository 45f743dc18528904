using ImageQueue.Core.Hosting;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Messages;

/// <summary>
/// A transaction that stays open, of anybody: on SQL Server the order of changes is final only below it. Here the rows are
/// SQLite's, and the transaction is played by the store in between.
/// </summary>
[TestFixture]
[Category(Categories.Store)]
public sealed class OpenTransactionGapTests
{
    private const string Conversation = "sohbet-1";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private SqliteStoreDatabase _database = null!;
    private OpenStore _open = null!;
    private StoreWithTransaction _store = null!;
    private WaitedClock _time = null!;
    private LogRecorder _log = null!;
    private MessageFeed _feed = null!;
    private Message _first = null!;
    private Message _second = null!;

    /// <summary>Two messages, and a feed whose clock stands still.</summary>
    [SetUp]
    public async Task StartAsync()
    {
        _database = new SqliteStoreDatabase();
        await _database.PrepareAsync();
        var signal = new AsyncSignal();
        _open = _database.Open(TimeProvider.System, signal);
        _store = new StoreWithTransaction(_open.Store);
        _time = new WaitedClock();
        _log = new LogRecorder();
        using var logs = LoggerFactory.Create(logging => logging.AddProvider(_log));
        _feed = new MessageFeed(_store, signal, DatabaseReadiness.Completed(), _time, logs.CreateLogger<MessageFeed>(),
            new OpenTransactionReport(logs.CreateLogger<OpenTransactionReport>()));
        await _feed.StartAsync(CancellationToken.None);
        (_first, _second) = (await AddAsync(), await AddAsync());
    }

    /// <summary>Ends it.</summary>
    [TearDown]
    public async Task StopAsync()
    {
        await _feed.StopAsync(CancellationToken.None);
        _feed.Dispose();
        await _open.DisposeAsync();
        await _database.DisposeAsync();
        _log.Dispose();
    }

    /// <summary>Delivered out of order, with the revision before the gap; the rest when the transaction ends, nothing twice.</summary>
    [Test]
    public async Task Watch_DeliversOutOfOrder_WhenATransactionStaysOpen()
    {
        using var watcher = await WatchAsync();
        _first = await WriteInTransactionAsync(_first);
        _second = await WriteAsync(_second);

        var ahead = await NextAsync(watcher);

        Assert.That(
            ahead.Select(change => (change.Message.Id, change.Message.Revision, change.ResumeFrom)),
            Is.EqualTo(new[] { (_second.Id, _second.Revision, _first.Revision - 1) }));
        Assert.That(watcher.Seen, Is.EqualTo(_first.Revision - 1));
        _second = await WriteAsync(_second);
        Assert.That(
            (await NextAsync(watcher)).Select(change => change.Message.Revision), Is.EqualTo(new[] { _second.Revision }), "and again");
        Assert.That(_log.Of(LogLevel.Warning), Has.Exactly(1).Contains("has been open for more than 2 s"));

        _store.End();
        var rest = await NextAsync(watcher);
        var third = await AddAsync();

        Assert.That(
            rest.Select(change => (change.Message.Id, change.Message.Revision)), Is.EqualTo(new[] { (_first.Id, _first.Revision) }));
        Assert.That(
            (await NextAsync(watcher)).Select(change => change.Message.Id),
            Is.EqualTo(new[] { third.Id }),
            "a change delivered out of order comes once");
        Assert.That(watcher.Seen, Is.EqualTo(third.Revision));
        Assert.That(_log.Of(LogLevel.Warning), Has.Exactly(1).Items);
        Assert.That(_log.Of(LogLevel.Information), Has.Exactly(1).Contains("in order again"));
    }

    /// <summary>A short transaction ends within the patience: everything comes in order, soon.</summary>
    [Test]
    public async Task Watch_GivesAllInOrder_WhenTheTransactionEndsSoon()
    {
        using var watcher = await WatchAsync();
        await _time.WaitedForAsync(MessageFeed.PollInterval, times: 1);
        _first = await WriteInTransactionAsync(_first);
        _second = await WriteAsync(_second);
        await _time.WaitedForAsync(MessageFeed.HeldBackInterval, times: 1);

        _store.End();
        _time.Advance(MessageFeed.HeldBackInterval);

        Assert.That(
            (await watcher.NextAsync(Patience, CancellationToken.None)).Select(change => (change.Message.Id, change.ResumeFrom)),
            Is.EqualTo(new[] { (_first.Id, _first.Revision), (_second.Id, _second.Revision) }));
        Assert.That(_log.Of(LogLevel.Warning), Is.Empty);
    }

    /// <summary>A new watcher gets the changes delivered out of order before it.</summary>
    [Test]
    public async Task Watch_GivesEarlierOutOfOrderChanges_ToALaterWatcher()
    {
        using var early = await WatchAsync();
        _first = await WriteInTransactionAsync(_first);
        _second = await WriteAsync(_second);
        await NextAsync(early);

        using var late = await _feed.WatchAsync(Conversation, null, CancellationToken.None);

        Assert.That(
            (await NextAsync(late)).Select(change => (change.Message.Id, change.Message.Revision)),
            Is.EqualTo(new[] { (_second.Id, _second.Revision) }));
    }

    /// <summary>A client gives back the newest revision that it has seen, or what its event named: it misses nothing with either.</summary>
    [TestCase(true)]
    [TestCase(false)]
    public async Task Watch_GivesWhatTheTransactionBrought_WhenTheClientWasAwayMeanwhile(bool byRevision)
    {
        MessageChange seen;
        using (var before = await WatchAsync())
        {
            _first = await WriteInTransactionAsync(_first);
            _second = await WriteAsync(_second);
            seen = (await NextAsync(before))[0];
        }

        using var other = await _feed.WatchAsync("c2", null, CancellationToken.None); // So that the reader goes on.
        _store.End();
        await Until.TrueAsync(
            () => Passed(_log.Of(LogLevel.Information).Any(line => line.Contains("in order again", StringComparison.Ordinal))),
            "the order is read again");
        using var after = await _feed.WatchAsync(
            Conversation, byRevision ? seen.Message.Revision : seen.ResumeFrom, CancellationToken.None);

        Assert.That((await NextAsync(after)).Select(change => change.Message.Id), Does.Contain(_first.Id));
    }

    /// <summary>Unwatched rows are not read, out of order or in order.</summary>
    [Test]
    public async Task Watch_GivesNothingOfOthers_WhenTheyAreWrittenAhead()
    {
        var other = await AddAsync("c2");
        using var watcher = await WatchAsync();
        _first = await WriteInTransactionAsync(_first);
        await WriteAsync(other);
        _second = await WriteAsync(_second);

        Assert.That((await NextAsync(watcher)).Select(change => change.Message.Id), Is.EqualTo(new[] { _second.Id }));
        Assert.That(_store.ReadIds, Has.None.EqualTo(other.Id));
    }

    private async Task<FeedSubscription> WatchAsync()
    {
        var watcher = await _feed.WatchAsync(Conversation, null, CancellationToken.None);
        Assert.That(await watcher.NextAsync(TimeSpan.Zero, CancellationToken.None), Is.Empty);
        return watcher;
    }

    /// <summary>The next changes, however long the feed's clock must go for them.</summary>
    private async Task<IReadOnlyList<MessageChange>> NextAsync(FeedSubscription watcher)
    {
        var next = watcher.NextAsync(Patience, CancellationToken.None);
        await Until.TrueAsync(() => Passed(next.IsCompleted), "a change");
        return await next;
    }

    private bool Passed(bool isSo)
    {
        if (!isSo)
            _time.Advance(MessageFeed.PollInterval);
        return isSo;
    }

    private Task<Message> AddAsync(string conversation = Conversation) =>
        _open.Store.AddAsync(new NewMessage(conversation, "ayşe", MessageRole.Bot, "", null), CancellationToken.None);

    private Task<Message> WriteAsync(Message message) => _open.Store.UpdateMessageAsync(message.Id, "x", null, CancellationToken.None);

    /// <summary>A write that is visible after <see cref="StoreWithTransaction.End"/>.</summary>
    private async Task<Message> WriteInTransactionAsync(Message message)
    {
        _store.Begin(message.Id, await _open.Store.LatestRevisionAsync(CancellationToken.None) + 1);
        return await WriteAsync(message);
    }

    /// <summary>As SQL Server answers while a transaction that has written one row is open.</summary>
    private sealed class StoreWithTransaction(IFeedStore rows) : IFeedStore
    {
        private volatile Transaction? _transaction;

        public List<long> ReadIds { get; } = [];

        public void Begin(long id, long revision) => _transaction = new Transaction(id, revision);

        public void End() => _transaction = null;

        public async Task<ChangedRows> ListChangesAsync(long revision, int limit, CancellationToken cancellationToken)
        {
            var all = await rows.ListChangesAsync(revision, limit, cancellationToken);
            if (_transaction is not { } open)
                return all;
            var seen = all.Rows.Where(row => row.Id != open.Id || row.Revision < open.Revision).ToList();
            var safe = seen.Where(row => row.Revision < open.Revision).ToList();
            return new ChangedRows(safe, safe.Count < seen.Count ? open.Revision : null);
        }

        public async Task<IReadOnlyList<ChangedRow>> ListAheadAsync(long from, int limit, CancellationToken cancellationToken)
        {
            var all = await rows.ListChangesAsync(from - 1, limit, cancellationToken);
            var open = _transaction; // After the read: it may have started meanwhile.
            return [.. all.Rows.Where(row => row.Id != open?.Id || row.Revision < open.Revision).Reverse()];
        }

        public async Task<IReadOnlyList<MessageChange>> ChangesSinceAsync(
            long revision, string? conversationId, int limit, CancellationToken cancellationToken)
        {
            var all = await rows.ChangesSinceAsync(revision, conversationId, limit, cancellationToken);
            var end = _transaction?.Revision ?? long.MaxValue;
            return [.. all.Where(change => change.Message.Revision < end)];
        }

        public Task<IReadOnlyList<MessageChange>> ReadChangesAsync(IReadOnlyCollection<long> ids, CancellationToken cancellationToken)
        {
            ReadIds.AddRange(ids);
            return rows.ReadChangesAsync(ids, cancellationToken);
        }

        public async Task<long> LatestRevisionAsync(CancellationToken cancellationToken) =>
            Math.Min(await rows.LatestRevisionAsync(cancellationToken), _transaction is { } open ? open.Revision - 1 : long.MaxValue);

        public async Task<ChangeMark> ChangeMarkAsync(CancellationToken cancellationToken)
        {
            var latest = await rows.LatestRevisionAsync(cancellationToken);
            return new ChangeMark(latest, _transaction?.Revision ?? latest + 1);
        }

        private sealed record Transaction(long Id, long Revision);
    }
}
