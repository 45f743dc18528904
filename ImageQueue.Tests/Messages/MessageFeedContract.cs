using ImageQueue.Core.Hosting;
using ImageQueue.Tests.Storage;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Messages;

/// <summary>
/// What <see cref="MessageFeed"/> promises, whichever database keeps the rows. The feed's clock stands still, so that nothing comes
/// by the poll unless a test says so.
/// </summary>
public abstract class MessageFeedContract(bool isOnSqlServer) : StoreContract(isOnSqlServer)
{
    private const string Conversation = "sohbet-1";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private OpenStore _mine = null!;
    private OpenStore _others = null!;
    private FaultyStore _observed = null!;
    private WaitedClock _time = null!;
    private LogRecorder _log = null!;
    private MessageFeed _feed = null!;

    /// <summary>Two processes on one database; the feed is the first one's.</summary>
    [SetUp]
    public async Task StartAsync()
    {
        await Database.EmptyAsync();
        var signal = new AsyncSignal();
        _mine = Database.Open(TimeProvider.System, signal);
        _others = Database.Open(TimeProvider.System, new AsyncSignal());
        _time = new WaitedClock();
        _log = new LogRecorder();
        _observed = FaultyStore.Around(_mine.Store);
        var store = _observed.Store;
        using var logs = LoggerFactory.Create(logging => logging.AddProvider(_log));
        _feed = new MessageFeed(store, signal, DatabaseReadiness.Completed(), _time, logs.CreateLogger<MessageFeed>(),
            new OpenTransactionReport(logs.CreateLogger<OpenTransactionReport>()));
        await _feed.StartAsync(CancellationToken.None);
    }

    /// <summary>Ends both.</summary>
    [TearDown]
    public async Task StopAsync()
    {
        await _feed.StopAsync(CancellationToken.None);
        _feed.Dispose();
        await _mine.DisposeAsync();
        await _others.DisposeAsync();
        _log.Dispose();
    }

    /// <summary>Without waiting for the poll: the clock stands still.</summary>
    [Test]
    public async Task Watch_GivesEachChangeAtOnce_WhenThisProcessWrites()
    {
        var message = await AddAsync();
        using var watcher = await WatchAsync();

        for (var i = 0; i < 20; i++)
        {
            message = await WriteAsync(message);
            Assert.That(await TakeAsync(watcher), Is.EqualTo(new[] { (message.Id, message.Revision) }));
        }
    }

    /// <summary>The poll finds writes without a signal.</summary>
    [Test]
    public async Task Watch_GivesAChangeWithinOnePoll_WhenAnotherProcessWrites()
    {
        var message = await AddAsync();
        using var watcher = await WatchAsync();
        Assert.That(await watcher.NextAsync(TimeSpan.Zero, CancellationToken.None), Is.Empty);
        await _time.WaitedForAsync(MessageFeed.PollInterval, times: 1); // The reader has read, and is polling.
        var written = await _others.Store.UpdateMessageAsync(message.Id, "x", null, CancellationToken.None);
        var before = _observed.ReadsForAll;

        var next = watcher.NextAsync(Patience, CancellationToken.None);
        Assert.That((next.IsCompleted, _observed.ReadsForAll), Is.EqualTo((false, before)), "the clock stands still");
        _time.Advance(MessageFeed.PollInterval);

        Assert.That((await next).Select(change => change.Message.Revision), Is.EqualTo(new[] { written.Revision }));
        Assert.That(MessageFeed.PollInterval, Is.LessThanOrEqualTo(TimeSpan.FromMilliseconds(100)), "a median of 50 ms");
    }

    /// <summary>One conversation's watcher hears of no other.</summary>
    [Test]
    public async Task Watch_GivesOneConversation_WhenManyAreWritten()
    {
        var (mine, other) = (await AddAsync(), await AddAsync("c2"));
        using var watcher = await WatchAsync();

        await WriteAsync(other);
        var written = await WriteAsync(mine);

        Assert.That(await TakeAsync(watcher), Is.EqualTo(new[] { (written.Id, written.Revision) }));
    }

    /// <summary>From now on means from now on.</summary>
    [Test]
    public async Task Watch_GivesNothingOld_WhenNoRevisionIsGiven()
    {
        await AddAsync();
        using var watcher = await WatchAsync();

        Assert.That(await watcher.NextAsync(TimeSpan.Zero, CancellationToken.None), Is.Empty);
    }

    /// <summary>The newest state of each, once, in the order in which they were written.</summary>
    [Test]
    public async Task Watch_ReplaysEachMessageOnce_WhenAwayForAThousandChanges()
    {
        var newest = await AddManyAsync(20);
        var seen = newest.Max(message => message.Revision);
        await WriteManyAsync(newest, 1000);

        using var watcher = await _feed.WatchAsync(Conversation, seen, CancellationToken.None);

        var given = await TakeAsync(watcher);
        Assert.That(given, Is.EqualTo(InOrder(newest)));
        Assert.That(await watcher.NextAsync(TimeSpan.Zero, CancellationToken.None), Is.Empty);
        Assert.That(watcher.Seen, Is.EqualTo(given[^1].Revision));
    }

    /// <summary>The same for a slow connected watcher: it delays no other and misses no end.</summary>
    [Test]
    public async Task Watch_CoalescesToTheNewestState_WhenTheWatcherIsSlow()
    {
        var newest = await AddManyAsync(20);
        using var slow = await WatchAsync();
        using var quick = await WatchAsync();
        Assert.That(await slow.NextAsync(TimeSpan.Zero, CancellationToken.None), Is.Empty);
        Assert.That(await quick.NextAsync(TimeSpan.Zero, CancellationToken.None), Is.Empty);

        await WriteManyAsync(newest, 1000);
        await TakeUntilAsync(quick, newest.Max(message => message.Revision));

        Assert.That(await TakeAsync(slow), Is.EqualTo(InOrder(newest)));
    }

    /// <summary>What is kept for a watcher has an end; what the watcher gets has none.</summary>
    [Test]
    public async Task Watch_ReadsForItself_WhenItIsFurtherBehindThanIsKept()
    {
        var newest = await AddManyAsync(MessageFeed.PageSize + 120);
        using var slow = await WatchAsync();
        using var quick = await WatchAsync();
        Assert.That(await slow.NextAsync(TimeSpan.Zero, CancellationToken.None), Is.Empty);
        Assert.That(await quick.NextAsync(TimeSpan.Zero, CancellationToken.None), Is.Empty);

        await WriteManyAsync(newest, newest.Count);
        await TakeUntilAsync(quick, newest.Max(message => message.Revision));
        var given = await TakeUntilAsync(slow, newest.Max(message => message.Revision));

        Assert.That(given, Is.EqualTo(InOrder(newest)));
        var last = await WriteAsync(newest[3]);
        Assert.That(await TakeAsync(slow), Is.EqualTo(new[] { (last.Id, last.Revision) }));
    }

    /// <summary>A crowd that comes back leaves room for everything else.</summary>
    [Test]
    public async Task Watch_ReadsForFewAtATime_WhenManyAreBehind()
    {
        var message = await AddAsync();
        var (reading, goOn) = (0, new TaskCompletionSource());
        _observed.BeforeReading = conversation =>
        {
            if (conversation is null)
                return Task.CompletedTask;
            Interlocked.Increment(ref reading);
            return goOn.Task;
        };
        var watchers = new List<FeedSubscription>();
        for (var i = 0; i < 20; i++)
            watchers.Add(await _feed.WatchAsync(Conversation, 0, CancellationToken.None));

        var given = watchers.ConvertAll(TakeAsync); // Each reads at once, or waits.

        Assert.That(reading, Is.EqualTo(MessageFeed.MaxCatchUps));
        goOn.SetResult();
        foreach (var changes in await Task.WhenAll(given))
            Assert.That(changes, Is.EqualTo(new[] { (message.Id, message.Revision) }));
        watchers.ForEach(watcher => watcher.Dispose());
    }

    /// <summary>An idle process does not query its database.</summary>
    [Test]
    public async Task Feed_QueriesNothing_WithoutWatchers()
    {
        var message = await AddAsync();
        await PassAsync(polls: 5);
        Assert.That(_observed.Calls, Is.Zero);

        using (var watcher = await WatchAsync())
        {
            await WriteAsync(message);
            await TakeAsync(watcher);
        }

        while (!_feed.IsIdle)
            await PassAsync(polls: 1);
        var before = _observed.Calls;
        await WriteAsync(message);
        await PassAsync(polls: 5);
        Assert.That(_observed.Calls, Is.EqualTo(before));
    }

    /// <summary>Most looks are no reading; but what a look may miss is read in the end.</summary>
    [Test]
    public async Task Feed_OnlyLooks_WhileNothingIsWritten()
    {
        using var watcher = await WatchAsync();
        await _time.WaitedForAsync(MessageFeed.PollInterval, times: 1);
        var before = _observed.ReadsForAll;

        for (var looks = 1; looks <= MessageFeed.LooksBeforeReading; looks++)
        {
            Assert.That(_observed.ReadsForAll, Is.EqualTo(before));
            _time.Advance(MessageFeed.PollInterval);
            await _time.WaitedForAsync(MessageFeed.PollInterval, times: looks + 1);
        }

        Assert.That(_observed.ReadsForAll, Is.EqualTo(before + 1));
    }

    /// <summary>A hundred watchers cost as many reads as one.</summary>
    [Test]
    public async Task Feed_ReadsOnce_ForAllWatchers()
    {
        var (one, two) = (await AddAsync(), await AddAsync("c2"));
        var watchers = new List<FeedSubscription>();
        for (var i = 0; i < 100; i++)
        {
            watchers.Add(await _feed.WatchAsync(i % 2 == 0 ? Conversation : "c2", null, CancellationToken.None));
            Assert.That(await watchers[^1].NextAsync(TimeSpan.Zero, CancellationToken.None), Is.Empty);
        }

        var before = _observed.ReadsForAll;
        for (var i = 0; i < 5; i++)
        {
            (one, two) = (await WriteAsync(one), await WriteAsync(two));
            foreach (var watcher in watchers)
                await TakeAsync(watcher);
        }

        Assert.That(_observed.ReadsForAll - before, Is.InRange(5, 11));
        foreach (var watcher in watchers)
            watcher.Dispose();
        Assert.That(_feed.WatcherCount, Is.Zero);
    }

    /// <summary>Unwatched rows are listed, but not read.</summary>
    [Test]
    public async Task Feed_ReadsNoMessage_WithoutWatchers()
    {
        var (mine, other) = (await AddAsync(), await AddAsync("c2"));
        using var watcher = await WatchAsync();
        Assert.That(await watcher.NextAsync(TimeSpan.Zero, CancellationToken.None), Is.Empty);

        for (var i = 0; i < 5; i++)
            other = await WriteAsync(other);
        mine = await WriteAsync(mine);

        Assert.That(await TakeAsync(watcher), Is.EqualTo(new[] { (mine.Id, mine.Revision) }));
        Assert.That(_observed.ReadMessages.Distinct(), Is.EqualTo(new[] { mine.Id }));
    }

    /// <summary>One that watches all gets what each conversation's watcher gets.</summary>
    [Test]
    public async Task Watch_GivesEveryConversation_WhenNoneIsNamed()
    {
        var (one, two) = (await AddAsync(), await AddAsync("c2"));
        using var all = await _feed.WatchAsync(null, one.Revision, CancellationToken.None);
        using var single = await WatchAsync();
        Assert.That(await TakeAsync(all), Is.EqualTo(new[] { (two.Id, two.Revision) }));
        Assert.That(await single.NextAsync(TimeSpan.Zero, CancellationToken.None), Is.Empty);

        (one, two) = (await WriteAsync(one), await WriteAsync(two));

        Assert.That(await TakeUntilAsync(all, two.Revision), Is.EqualTo(new[] { (one.Id, one.Revision), (two.Id, two.Revision) }));
        Assert.That(await TakeAsync(single), Is.EqualTo(new[] { (one.Id, one.Revision) }));
    }

    /// <summary>A change is made once, and its serialised form with it.</summary>
    [Test]
    public async Task Feed_GivesAllWatchersTheSameObject()
    {
        var message = await AddAsync();
        using var one = await WatchAsync();
        using var two = await WatchAsync();
        Assert.That(await one.NextAsync(TimeSpan.Zero, CancellationToken.None), Is.Empty);
        Assert.That(await two.NextAsync(TimeSpan.Zero, CancellationToken.None), Is.Empty);

        await WriteAsync(message);

        var (first, second) = (
            (await one.NextAsync(Patience, CancellationToken.None))[0], (await two.NextAsync(Patience, CancellationToken.None))[0]);
        Assert.That(first, Is.SameAs(second));
    }

    /// <summary>The promise of Watch, however late the reader wakes up.</summary>
    [Test]
    public async Task Watch_MissesNothing_WhenTheReaderBeginsLate()
    {
        var message = await AddAsync();
        var late = new TaskCompletionSource();
        _observed.BeforeReading = conversationId => conversationId is null ? late.Task : Task.CompletedTask;
        using var watcher = await WatchAsync();
        Assert.That(await watcher.NextAsync(TimeSpan.Zero, CancellationToken.None), Is.Empty);

        message = await WriteAsync(message);
        late.SetResult();

        Assert.That(await TakeAsync(watcher), Is.EqualTo(new[] { (message.Id, message.Revision) }));
    }

    /// <summary>Coming and going at the same moment as writes.</summary>
    [Test]
    public async Task Watch_MissesNothing_WhenWatchersComeAndGo()
    {
        var message = await AddAsync();
        for (var i = 0; i < 100; i++)
        {
            using var watcher = await WatchAsync();
            var writing = Task.Run(() => WriteAsync(message));
            Assert.That(await TakeAsync(watcher), Has.Count.EqualTo(1));
            message = await writing;
        }
    }

    /// <summary>A watcher sees the newest state of every message, in rising revisions, however many write at once and wherever.</summary>
    [Test]
    public async Task Watch_MissesNothing_WhileManyWriteInBothProcesses()
    {
        const int writers = 6;
        const int messages = 20;
        using var watcher = await WatchAsync();
        var writing = Task.WhenAll(Enumerable.Range(0, writers).Select(i => Task.Run(async () =>
        {
            var store = (i % 2 == 0 ? _mine : _others).Store;
            for (var n = 0; n < messages; n++)
            {
                var message = await store.AddAsync(
                    new NewMessage(Conversation, "ayşe", MessageRole.User, "Merhaba", null), CancellationToken.None);
                await store.UpdateMessageAsync(message.Id, "last", null, CancellationToken.None);
            }
        })));

        var newest = new Dictionary<long, Message>();
        while (newest.Values.Count(message => message.Content == "last") < writers * messages)
        {
            var next = watcher.NextAsync(Patience, CancellationToken.None);
            while (!next.IsCompleted)
                await PassAsync(polls: 1);
            var changes = await next;
            Assert.That(changes, Is.Not.Empty, $"only {newest.Count} messages were seen");
            Assert.That(changes.Select(change => change.Message.Revision), Is.Ordered.Ascending);
            foreach (var change in changes)
                newest[change.Message.Id] = change.Message;
        }

        await writing;
        Assert.That(newest, Has.Count.EqualTo(writers * messages));
    }

    /// <summary>A database that was replaced counts anew.</summary>
    [Test]
    public async Task Watch_GoesOn_WhenTheRevisionIsYetToCome()
    {
        var message = await AddAsync();
        using var watcher = await _feed.WatchAsync(Conversation, long.MaxValue, CancellationToken.None);
        Assert.That(watcher.Seen, Is.EqualTo(message.Revision));

        message = await WriteAsync(message);

        Assert.That(await TakeAsync(watcher), Is.EqualTo(new[] { (message.Id, message.Revision) }));
    }

    /// <summary>Watchers outlive an outage, and the log says so once.</summary>
    [Test]
    public async Task Watch_GoesOn_WhenTheDatabaseWasAway()
    {
        var message = await AddAsync();
        var seen = message.Revision;
        using var old = await WatchAsync();
        _observed.BeforeReading = _ => Task.FromException(new StoreUnavailableException("The database is away.", new IOException()));
        message = await WriteAsync(message);
        using var young = await _feed.WatchAsync(Conversation, seen, CancellationToken.None);
        var (first, second) = (TakeAsync(old), TakeAsync(young));
        await PassAsync(polls: 5);
        Assert.That((first.IsCompleted, second.IsCompleted), Is.EqualTo((false, false)));

        _observed.BeforeReading = _ => Task.CompletedTask;
        while (!first.IsCompleted || !second.IsCompleted)
            await PassAsync(polls: 1);

        Assert.That(
            (await first, await second), Is.EqualTo((new[] { (message.Id, message.Revision) }, new[] { (message.Id, message.Revision) })));
        Assert.That(_log.Of(LogLevel.Warning), Has.Exactly(1).Items);
    }

    private Task<FeedSubscription> WatchAsync() => _feed.WatchAsync(Conversation, null, CancellationToken.None);

    private Task<Message> AddAsync(string conversation = Conversation) =>
        _mine.Store.AddAsync(new NewMessage(conversation, "ayşe", MessageRole.Bot, "", null), CancellationToken.None);

    private async Task<List<Message>> AddManyAsync(int count) =>
        [.. await Task.WhenAll(Enumerable.Range(0, count).Select(_ => AddAsync()))];

    private Task<Message> WriteAsync(Message message) => _mine.Store.UpdateMessageAsync(message.Id, "x", null, CancellationToken.None);

    /// <summary>Writes to the messages in turn; the list then holds their newest states.</summary>
    private async Task WriteManyAsync(List<Message> messages, int count)
    {
        for (var i = 0; i < count; i++)
            messages[i % messages.Count] = await WriteAsync(messages[i % messages.Count]);
    }

    private static async Task<IReadOnlyList<(long Id, long Revision)>> TakeAsync(FeedSubscription watcher) =>
        [.. (await watcher.NextAsync(Patience, CancellationToken.None).WaitAsync(Patience)).Select(
            change => (change.Message.Id, change.Message.Revision))];

    private static async Task<List<(long Id, long Revision)>> TakeUntilAsync(FeedSubscription watcher, long revision)
    {
        var all = new List<(long Id, long Revision)>();
        while (watcher.Seen < revision)
            all.AddRange(await TakeAsync(watcher));
        return all;
    }

    private static IEnumerable<(long Id, long Revision)> InOrder(List<Message> messages) =>
        messages.OrderBy(message => message.Revision).Select(message => (message.Id, message.Revision));

    private async Task PassAsync(int polls)
    {
        for (var i = 0; i < polls; i++)
        {
            _time.Advance(MessageFeed.PollInterval);
            await Task.Delay(10);
        }
    }
}

/// <summary>The feed's contract on SQLite.</summary>
[TestFixture]
[Category(Categories.Store)]
public sealed class SqliteMessageFeedTests() : MessageFeedContract(isOnSqlServer: false);

/// <summary>The feed's contract on SQL Server, where one is given.</summary>
[SqlServerFixture]
[Category(Categories.Store)]
public sealed class SqlServerMessageFeedTests() : MessageFeedContract(isOnSqlServer: true);
