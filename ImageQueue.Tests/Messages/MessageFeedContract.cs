using ImageQueue.Core.Messages;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using NUnit.Framework;

namespace ImageQueue.Tests.Messages;

/// <summary>What watchers of <see cref="MessageFeed"/> may rely on, whichever database keeps the rows and whoever writes them.</summary>
public abstract class MessageFeedContract
{
    private const string Conversation = "sohbet-1";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private IStoreDatabase _database = null!;
    private OpenStore _own = null!;
    private OpenStore _other = null!;
    private MessageFeed _feed = null!;

    /// <summary>An empty database of this fixture's own.</summary>
    private protected abstract Task<IStoreDatabase> CreateDatabaseAsync();

    /// <summary>Makes the database.</summary>
    [OneTimeSetUp]
    public async Task CreateAsync() => _database = await CreateDatabaseAsync();

    /// <summary>Drops the database.</summary>
    [OneTimeTearDown]
    public async Task DropAsync()
    {
        if (_database is not null)
            await _database.DisposeAsync();
    }

    /// <summary>A feed of this process, and a store whose writes it is not told of, as another machine's.</summary>
    [SetUp]
    public async Task StartAsync()
    {
        await _database.EmptyAsync();
        var signal = new MessageSignal();
        _own = _database.Open(TimeProvider.System, signal);
        _other = _database.Open(TimeProvider.System, new MessageSignal());
        _feed = new MessageFeed(_own.Store, signal, TimeProvider.System, NullLogger<MessageFeed>.Instance);
        await _feed.StartAsync(CancellationToken.None);
    }

    /// <summary>Ends them.</summary>
    [TearDown]
    public async Task StopAsync()
    {
        await _feed.StopAsync(CancellationToken.None);
        _feed.Dispose();
        await _own.DisposeAsync();
        await _other.DisposeAsync();
    }

    /// <summary>A change comes to the watcher, whichever process made it.</summary>
    [TestCase(true)]
    [TestCase(false)]
    public async Task Next_GivesTheChange_WhoeverWroteIt(bool own)
    {
        var message = await AddAsync(_own.Store);
        using var watcher = await _feed.WatchAsync(Conversation, null, CancellationToken.None);

        var written = await (own ? _own : _other).Store.UpdateMessageAsync(message.Id, "yeni", null, CancellationToken.None);

        var change = (await watcher.NextAsync(Patience, CancellationToken.None)).Single();
        Assert.That((change.Username, change.Message.Id, change.Message.Content, change.Message.Revision), Is.EqualTo(("ayşe", message.Id, "yeni", written.Revision)));
    }

    /// <summary>Who reconnects gets what was missed, once, and then what comes.</summary>
    [Test]
    public async Task Next_GivesWhatWasMissed_SinceARevision()
    {
        var seen = await AddAsync(_own.Store);
        var missed = await AddAsync(_other.Store);

        using var watcher = await _feed.WatchAsync(Conversation, seen.Revision, CancellationToken.None);

        Assert.That((await watcher.NextAsync(Patience, CancellationToken.None)).Select(change => change.Message.Id), Is.EqualTo(new[] { missed.Id }));
        Assert.That(await watcher.NextAsync(TimeSpan.FromMilliseconds(50), CancellationToken.None), Is.Empty);
        var later = await AddAsync(_own.Store);
        Assert.That((await watcher.NextAsync(Patience, CancellationToken.None)).Select(change => change.Message.Id), Is.EqualTo(new[] { later.Id }));
    }

    /// <summary>Nobody is told of other conversations.</summary>
    [Test]
    public async Task Next_GivesNothing_OfOtherConversations()
    {
        using var watcher = await _feed.WatchAsync(Conversation, null, CancellationToken.None);

        await AddAsync(_own.Store, "another");
        var own = await AddAsync(_own.Store);

        Assert.That((await watcher.NextAsync(Patience, CancellationToken.None)).Select(change => change.Message.Id), Is.EqualTo(new[] { own.Id }));
    }

    /// <summary>A watcher sees the newest state of every message, in rising revisions, however many write at once and wherever.</summary>
    [Test]
    public async Task Next_MissesNoMessage_WhileManyWrite()
    {
        const int writers = 6;
        const int messages = 20;
        using var watcher = await _feed.WatchAsync(Conversation, null, CancellationToken.None);
        var writing = Task.WhenAll(Enumerable.Range(0, writers).Select(i => Task.Run(async () =>
        {
            var store = (i % 2 == 0 ? _own : _other).Store;
            for (var n = 0; n < messages; n++)
            {
                var message = await AddAsync(store);
                await store.UpdateMessageAsync(message.Id, "last", null, CancellationToken.None);
            }
        })));

        var newest = new Dictionary<long, Message>();
        var revision = 0L;
        while (newest.Values.Count(message => message.Content == "last") < writers * messages)
        {
            var changes = await watcher.NextAsync(Patience, CancellationToken.None);
            Assert.That(changes, Is.Not.Empty, $"only {newest.Count} messages were seen");
            foreach (var change in changes)
            {
                Assert.That(change.Message.Revision, Is.GreaterThan(revision));
                revision = change.Message.Revision;
                newest[change.Message.Id] = change.Message;
            }
        }

        await writing;
        Assert.That(newest, Has.Count.EqualTo(writers * messages));
    }

    private static Task<Message> AddAsync(IMessageStore store, string conversation = Conversation) =>
        store.AddAsync(new NewMessage(conversation, "ayşe", MessageRole.User, "Merhaba", null), CancellationToken.None);
}

/// <summary>The feed's contract on SQLite.</summary>
[TestFixture]
public sealed class SqliteMessageFeedTests : MessageFeedContract
{
    private protected override async Task<IStoreDatabase> CreateDatabaseAsync()
    {
        var database = new SqliteStoreDatabase();
        await database.PrepareAsync();
        return database;
    }
}

/// <summary>The feed's contract on SQL Server, where one is given.</summary>
[TestFixture]
public sealed class SqlServerMessageFeedTests : MessageFeedContract
{
    private protected override async Task<IStoreDatabase> CreateDatabaseAsync() => await SqlServerStoreDatabase.CreateAsync();
}
