using System.Text.Json.Nodes;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Storage.Sqlite;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;
using Moq;
using NUnit.Framework;

namespace ImageQueue.Tests.Queue;

/// <summary>Stored positions: exact where people look, near enough beyond, by one writer, and never in a claim's way.</summary>
[Category(Categories.Store)]
internal sealed class PositionWriterTests
{
    private readonly FakeTimeProvider _time = QueueHost.Clock();
    private readonly List<string> _order = [];
    private readonly List<long> _ids = [];
    private TemporaryFolder _folder = null!; // All set before each test.
    private SqliteMessageStore _store = null!;
    private PositionWriter _writer = null!;

    [SetUp]
    public async Task SetUp()
    {
        _order.Clear();
        _ids.Clear();
        _folder = new TemporaryFolder();
        _store = new SqliteMessageStore($"Data Source={_folder.Path}/m.db", _time, new AsyncSignal());
        await _store.PrepareAsync(CancellationToken.None);
        _writer = Writer();
    }

    [TearDown]
    public async Task TearDown()
    {
        _writer.Dispose();
        await _store.DisposeAsync();
        _folder.Dispose();
    }

    /// <summary>Any integer can be in the metadata: a DBA's, or another version's.</summary>
    [Test]
    public void IsOff_IsTrue_WhenAStoredPositionIsFarOff() => Assert.That(PositionWriter.IsOff(300_000_000, 60), Is.True);

    [Test]
    public async Task Positions_AreExactForFiftyAndWithinTenPercentBeyond_WhileTheQueueMoves()
    {
        const int seed = 5;
        TestContext.Out.WriteLine($"seed {seed}");
        var random = new Random(seed);
        await SubmitAsync(400);
        var most = 0;
        for (var round = 0; round < 25; round++)
        {
            for (var gone = random.Next(6); gone > 0; gone--)
                await CancelAsync(random.Next(4) == 0 ? random.Next(_order.Count) : 0);
            await SubmitAsync(random.Next(5));
            if (round % 8 == 0)
            {
                // An operator puts some back: they go to the tail.
                var moved = _order.Skip(5).Take(4).ToList();
                _order.RemoveAll(moved.Contains);
                _order.AddRange(moved);
            }

            int written;
            do
            {
                _time.Advance(TimeSpan.FromSeconds(1));
                written = await _writer.WriteAsync(CancellationToken.None);
                most = Math.Max(most, written);
            }
            while (written > 0);
            await AssertStoredAsync($"round {round}");
        }

        Assert.That(most, Is.LessThanOrEqualTo(PositionWriter.MaxRows));
    }

    [Test]
    public async Task APass_WritesAtMostTwoHundredRows_TheFirstFiftyFirst_EvenTheFirstOfAll()
    {
        await SubmitAsync(500, position: 9999);

        Assert.That(await _writer.WriteAsync(CancellationToken.None), Is.EqualTo(PositionWriter.MaxRows));

        var first = await StoredAsync(PositionWriter.ExactUpTo);
        Assert.That(first, Is.EqualTo(Enumerable.Range(1, PositionWriter.ExactUpTo)));
    }

    /// <summary>Seen before: stored 1, live 301, for ever.</summary>
    [Test]
    public async Task APosition_IsPutRight_WhenTheRowChangedUnderTheWriter()
    {
        await SubmitAsync(301);
        await SettleAsync();
        var (job, id) = (_order[0], _ids[0]);
        _order.RemoveAt(0);
        await SettleAsync();

        // Claimed, then put back by an operator: to the tail, while its row guesses that it is first.
        var claimed = (await _store.ClaimAsync(id, job, null, null, CancellationToken.None)).Message!;
        await _store.RequeueAsync(id, claimed.Attempt, AttemptCharge.None, CancellationToken.None);
        _order.Add(job);
        await SettleAsync();

        Assert.That((await _store.FindAsync(id, CancellationToken.None))!.QueuePosition, Is.EqualTo(301).Within(10).Percent);
    }

    [Test]
    public async Task Rows_AreWritten_OnlyWhereTheyAreStillQueuedAndHaveMoved()
    {
        await SubmitAsync(4);
        _order.RemoveAt(0);

        // The claim comes after the snapshot was taken: its 0 must stand.
        await _store.ClaimAsync(_ids[2], Job(3), null, null, CancellationToken.None);

        Assert.That(await _writer.WriteAsync(CancellationToken.None), Is.EqualTo(2));
        var stored = await Task.WhenAll(_ids.Select(id => _store.FindAsync(id, CancellationToken.None)));
        Assert.That(stored.Select(message => message!.QueuePosition), Is.EqualTo(new[] { 1, 1, 0, 3 }));
        Assert.That(await _writer.WriteAsync(CancellationToken.None), Is.Zero, "nothing has moved");
    }

    /// <summary>Seen before: two machines that wrote 10 8 10 8 for ever, each a write and a push.</summary>
    [Test]
    public async Task OneWriter_Writes_AndAnotherTakesOverWhenItIsGone()
    {
        using var other = Writer();
        await SubmitAsync(3, position: 7);
        Assert.That(await _writer.WriteAsync(CancellationToken.None), Is.EqualTo(3));

        _order.RemoveAt(0);
        Assert.That(await other.WriteAsync(CancellationToken.None), Is.Zero, "it is not the writer");
        _time.Advance(TimeSpan.FromSeconds(16)); // The first one is dead: it renews nothing.
        Assert.That(await other.WriteAsync(CancellationToken.None), Is.EqualTo(2));
        _order.RemoveAt(0);
        _time.Advance(TimeSpan.FromSeconds(6));
        Assert.That(await _writer.WriteAsync(CancellationToken.None), Is.Zero);

        await other.StopAsync(CancellationToken.None);
        _time.Advance(TimeSpan.FromSeconds(6));
        Assert.That(await _writer.WriteAsync(CancellationToken.None), Is.EqualTo(1), "given back at a stop");
    }

    [Test]
    public async Task APass_ReadsNothing_WhenAllIsStoredAndNothingMoves()
    {
        var observed = FaultyStore.Around(_store);
        var store = observed.Store;
        var snapshot = SnapshotOf([]);
        var order = new Mock<IQueueOrder>();
        order.Setup(o => o.GetAsync(It.IsAny<CancellationToken>())).ReturnsAsync(() => snapshot);
        using var writer = new PositionWriter(
            order.Object,
            store,
            store,
            DatabaseReadiness.Completed(),
            Options.Create(new QueueOptions()),
            _time,
            NullLogger<PositionWriter>.Instance);
        await SubmitAsync(3);
        snapshot = SnapshotOf(_order);
        for (var pass = 0; pass < 3; pass++)
            await writer.WriteAsync(CancellationToken.None);
        var calls = observed.Calls;

        Assert.That(await writer.WriteAsync(CancellationToken.None), Is.Zero);

        Assert.That(observed.Calls, Is.EqualTo(calls));
    }

    [Test]
    public void Moved_IsTheFirstFiftyAndABandsEndEach_WhenOneHasLeftTheHeadOfALongQueue()
    {
        var line = new QueueIndex();
        for (var i = 1; i <= 100_000; i++)
            line.Add(JobKey.Of(i), i);
        var before = new QueueSnapshot(line.Now, default);
        line.Remove(JobKey.Of(1));

        var moved = PositionWriter.Moved(before, new QueueSnapshot(line.Now, default), QueueOrder.Fifo).ToList();

        Assert.That(moved, Has.Count.InRange(PositionWriter.ExactUpTo, PositionWriter.ExactUpTo + 100));
        Assert.That(moved.Distinct().Count(), Is.EqualTo(moved.Count));
    }

    private static QueueSnapshot SnapshotOf(IEnumerable<string> inOrder)
    {
        var index = new QueueIndex();
        foreach (var (place, job) in inOrder.Index())
            index.Add(JobKey.Parse(job), place + 1);
        return new QueueSnapshot(index.Now, default);
    }

    private PositionWriter Writer()
    {
        var order = new Mock<IQueueOrder>();
        order.Setup(o => o.GetAsync(It.IsAny<CancellationToken>())).ReturnsAsync(() => SnapshotOf(_order));
        return new PositionWriter(
            order.Object,
            _store,
            _store,
            DatabaseReadiness.Completed(),
            Options.Create(new QueueOptions()),
            _time,
            NullLogger<PositionWriter>.Instance);
    }

    private async Task SubmitAsync(int count, int? position = null)
    {
        for (var i = 0; i < count; i++)
        {
            var job = Job(_ids.Count + 1);
            var message = new NewImageMessage(
                "c", "ayşe", job, "gül", new JsonObject(), position ?? _order.Count + 1, IdempotencyKey: null);
            _ids.Add((await _store.SubmitAsync(message, UserLimits.None, CancellationToken.None)).Message.Id);
            await _store.AttachJobAsync(_ids[^1], job, null, CancellationToken.None);
            _order.Add(job);
        }
    }

    private async Task CancelAsync(int index)
    {
        await _store.CancelAsync(_ids[int.Parse(_order[index], CultureInfo.InvariantCulture) - 1], "x", CancellationToken.None);
        _order.RemoveAt(index);
    }

    /// <summary>As many passes as it takes.</summary>
    private async Task SettleAsync()
    {
        for (var pass = 0; pass < 10; pass++)
        {
            _time.Advance(TimeSpan.FromSeconds(1));
            await _writer.WriteAsync(CancellationToken.None);
        }
    }

    private async Task<List<int>> StoredAsync(int count)
    {
        var rows = await _store.FindWaitingAsync([.. _order.Take(count)], CancellationToken.None);
        return [.. _order.Take(count).Select(job => rows.Single(row => row.HangfireJobId == job).QueuePosition)];
    }

    private async Task AssertStoredAsync(string after)
    {
        var stored = await StoredAsync(_order.Count);
        for (var position = 1; position <= stored.Count; position++)
        {
            Assert.That(
                stored[position - 1],
                position <= PositionWriter.ExactUpTo ? Is.EqualTo(position) : Is.EqualTo(position).Within(10).Percent,
                $"{after}: {position} of {stored.Count}");
        }
    }

    private static string Job(int number) => number.ToString(CultureInfo.InvariantCulture);
}
