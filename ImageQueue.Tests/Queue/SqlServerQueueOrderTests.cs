using Hangfire.States;
using ImageQueue.Core.Queue;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;
using NUnit.Framework;

namespace ImageQueue.Tests.Queue;

/// <summary>When the rows of a shared queue are read, which readers wait for it, and what is known without a read.</summary>
[FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
[Category(Categories.Fast)]
internal sealed class SqlServerQueueOrderTests
{
    private readonly FakeTimeProvider _time = QueueHost.Clock();
    private readonly FakeQueueRows _rows = new();

    [Test]
    public async Task GetAsync_ReadsOnce_WhenManyReadersStart()
    {
        var order = Order();
        var gate = new TaskCompletionSource();
        _rows.Gate = gate.Task;
        var asked = Enumerable.Range(0, 20).Select(_ => order.GetAsync(CancellationToken.None).AsTask()).ToList();
        Assert.That(asked.Any(task => task.IsCompleted), Is.False, "nothing is known yet");

        gate.SetResult();
        var snapshots = await Task.WhenAll(asked);

        Assert.That(snapshots.Select(snapshot => snapshot.IsKnown), Is.All.True);
        Assert.That(_rows.Reads, Is.EqualTo(1));
    }

    [Test]
    public async Task GetAsync_DoesNotRead_WhenTheLastReadIsRecent()
    {
        var order = Order();
        var first = await order.GetAsync(CancellationToken.None);
        _time.Advance(TimeSpan.FromSeconds(0.9));

        Assert.That(await order.GetAsync(CancellationToken.None), Is.SameAs(first));
        Assert.That(_rows.Reads, Is.EqualTo(1));
    }

    [Test]
    public async Task GetAsync_ServesTheLastSnapshot_WhenAReadIsUnderWay()
    {
        var order = Order();
        await order.GetAsync(CancellationToken.None);
        var mine = order.Enqueue(() => _rows.Add());
        await order.ReadNowAsync();
        var others = _rows.Add(); // As another machine does.
        _time.Advance(TimeSpan.FromSeconds(1.1));
        var gate = new TaskCompletionSource();
        _rows.Gate = gate.Task;

        var meanwhile = order.GetAsync(CancellationToken.None);
        Assert.That(meanwhile.IsCompletedSuccessfully, Is.True);
        Assert.That((await meanwhile).InOrder, Is.EqualTo(new[] { mine }));
        var next = order.Enqueue(() => _rows.Add());
        Assert.That(
            (await order.GetAsync(CancellationToken.None)).PositionOf(next), Is.EqualTo(2), "this process's changes are known at once");

        gate.SetResult();
        await order.ReadNowAsync();
        var snapshot = await order.GetAsync(CancellationToken.None);
        Assert.That(snapshot.InOrder, Is.EqualTo(new[] { mine, others, next }));
    }

    [Test]
    public async Task GetAsync_WaitsForTheNextRead_WhenThereWasNoReaderForLong()
    {
        var order = Order();
        await order.GetAsync(CancellationToken.None);
        var others = _rows.Add();
        _time.Advance(TimeSpan.FromMinutes(1));

        Assert.That((await order.GetAsync(CancellationToken.None)).PositionOf(others), Is.EqualTo(1));
    }

    [Test]
    public async Task GetAsync_IsUnknown_UntilTheRowsWereRead()
    {
        var order = Order();
        _rows.Failure = new InvalidOperationException("away");
        Assert.That((await order.GetAsync(CancellationToken.None)).IsKnown, Is.False);

        _rows.Failure = null;
        _time.Advance(TimeSpan.FromSeconds(2));
        Assert.That((await order.GetAsync(CancellationToken.None)).IsKnown, Is.True);
    }

    [Test]
    public async Task GetAsync_ServesTheLastKnownOrder_WhenTheRowsCannotBeRead()
    {
        var order = Order();
        var job = _rows.Add();
        await order.GetAsync(CancellationToken.None);
        _rows.Failure = new InvalidOperationException("away");
        _time.Advance(TimeSpan.FromMinutes(1));

        Assert.That((await order.GetAsync(CancellationToken.None)).PositionOf(job), Is.EqualTo(1));
    }

    [Test]
    public async Task GetAsync_DoesNotWait_WhenAReadHangs()
    {
        var order = Order();
        var job = _rows.Add();
        await order.GetAsync(CancellationToken.None);
        _rows.Gate = new TaskCompletionSource().Task;
        _time.Advance(TimeSpan.FromMinutes(1));

        var asked = order.GetAsync(CancellationToken.None).AsTask();
        _time.Advance(TimeSpan.FromSeconds(1.1));

        Assert.That((await asked).PositionOf(job), Is.EqualTo(1));
    }

    [Test]
    public async Task Reads_AreOfTheHeadTheTailAndOnePage_WhenTheQueueIsLong()
    {
        for (var i = 0; i < 1000; i++)
            _rows.Add();
        var order = Order(pageSize: 10);
        await order.ReadNowAsync();
        Assert.That(_rows.RowsRead, Is.EqualTo(1000), "the whole, once");
        var before = _rows.RowsRead;

        for (var i = 0; i < 5; i++)
            await order.ReadNowAsync();

        Assert.That(_rows.RowsRead - before, Is.LessThanOrEqualTo(5 * 20));
    }

    [Test]
    public async Task Reads_FindOtherProcessesChanges_InTheMiddleAndAtTheTail()
    {
        var jobs = Enumerable.Range(0, 100).Select(_ => _rows.Add()).ToList();
        var order = Order(pageSize: 10);
        await order.ReadNowAsync();
        var late = _rows.Reserve();
        var tail = Enumerable.Range(0, 35).Select(_ => _rows.Add()).ToList();
        await order.ReadNowAsync();
        Assert.That((await order.GetAsync(CancellationToken.None)).PositionOf(tail[^1]), Is.EqualTo(135), "all new rows are read at once");

        _rows.SetState(jobs[50], DeletedState.StateName);
        var committedLate = _rows.Add(late);
        for (var i = 0; i < 16; i++)
            await order.ReadNowAsync();

        var snapshot = await order.GetAsync(CancellationToken.None);
        Assert.That(snapshot.InOrder, Is.EqualTo(jobs.Where(job => job != jobs[50]).Append(committedLate).Concat(tail)));
    }

    [Test]
    public async Task TwoInstances_SeeTheSameOrder()
    {
        var (one, two) = (Order(), Order());
        await one.GetAsync(CancellationToken.None);
        await two.GetAsync(CancellationToken.None);
        for (var i = 0; i < 30; i++)
            (i % 3 == 0 ? one : two).Enqueue(() => _rows.Add());
        var taken = _rows.Fetch();
        one.Remove(taken.JobId);
        _rows.SetState("7", DeletedState.StateName);
        two.OnStateChanging("7", EnqueuedState.StateName, DeletedState.StateName);

        await one.ReadNowAsync();
        await two.ReadNowAsync();

        var expected = Enumerable.Range(2, 29).Where(i => i != 7).Select(i => i.ToString(CultureInfo.InvariantCulture));
        Assert.That((await one.GetAsync(CancellationToken.None)).InOrder, Is.EqualTo(expected));
        Assert.That((await two.GetAsync(CancellationToken.None)).InOrder, Is.EqualTo(expected));
    }

    /// <summary>
    /// The bound that two instances' positions can differ by: a snapshot has all that was committed when it says it was read, and with a
    /// reader each second it is at most a second and one read old.
    /// </summary>
    [Test]
    public async Task Snapshot_HasAllThatWasCommittedBeforeItsTime_AndIsAtMostASecondOld_WhenItIsReadOften()
    {
        var random = new Random(9);
        var (one, two) = (Order(), Order());
        var committed = new List<(string Job, DateTimeOffset At)>();
        await two.GetAsync(CancellationToken.None);
        for (var step = 0; step < 300; step++)
        {
            for (var i = random.Next(3); i > 0; i--)
                committed.Add((one.Enqueue(() => _rows.Add()), _time.GetUtcNow()));
            _time.Advance(TimeSpan.FromMilliseconds(random.Next(1, 400)));
            await two.GetAsync(CancellationToken.None); // Begins a read when the last one is a second old.
            await two.Reading;
            var snapshot = await two.GetAsync(CancellationToken.None);

            Assert.That(_time.GetUtcNow() - snapshot.TakenAt, Is.LessThanOrEqualTo(TimeSpan.FromSeconds(1)), $"step {step}");
            var before = committed.Where(job => job.At < snapshot.TakenAt).Select(job => job.Job).ToList();
            Assert.That(snapshot.InOrder.Take(before.Count), Is.EqualTo(before), $"step {step}");
        }
    }

    /// <summary>A new process finds thousands waiting in another order than its own.</summary>
    [Test]
    public async Task Rows_AreSpreadOverTheRounds_WhenFairShareBegins_AndJoinOneQueueAgain_WhenItEnds()
    {
        var jobs = Enumerable.Range(0, 1200).Select(i => _rows.Add(user: $"user {i % 40}")).ToList();

        var fair = new SqlServerQueueOrder(_rows, _time, NullLogger<SqlServerQueueOrder>.Instance, QueueOrder.FairShare);
        await fair.ReadNowAsync();
        await fair.ReadNowAsync();
        var order = (await fair.GetAsync(CancellationToken.None)).InOrder.ToList();
        Assert.That(order, Is.EquivalentTo(jobs), "nothing is lost");
        Assert.That(order.Take(40), Is.EqualTo(jobs.Take(40)), "each user's first");
        var next = fair.Enqueue("another user", queue => _rows.Add(queue: queue, user: "another user"));
        Assert.That((await fair.GetAsync(CancellationToken.None)).PositionOf(next), Is.EqualTo(41), "known on submit");

        var fifo = Order();
        await fifo.ReadNowAsync();
        await fifo.ReadNowAsync();
        Assert.That((await fifo.GetAsync(CancellationToken.None)).InOrder, Is.EqualTo(jobs.Take(40).Append(next).Concat(jobs.Skip(40))));
    }

    [Test]
    public async Task Claim_MovesAtMostTwentyRows_WhenAUserHasManyMore()
    {
        for (var i = 0; i < 100; i++)
            _rows.Add(user: "one");
        var fair = new SqlServerQueueOrder(_rows, _time, NullLogger<SqlServerQueueOrder>.Instance, QueueOrder.FairShare);
        await fair.ReadNowAsync();
        _rows.Moved.Clear();
        var taken = _rows.Fetch();
        _rows.SetState(taken.JobId, ProcessingState.StateName);

        fair.Remove(taken.JobId);
        await fair.Moves;

        Assert.That(_rows.Moved, Is.EqualTo(new[] { 19 }));
    }

    private SqlServerQueueOrder Order(int pageSize = 5000) =>
        new(_rows, _time, NullLogger<SqlServerQueueOrder>.Instance) { PageSize = pageSize };
}
