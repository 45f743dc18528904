using Hangfire;
using ImageQueue.Core.Queue;
using NUnit.Framework;

namespace ImageQueue.Tests.Queue;

/// <summary>When the queue is read, who waits for that, and what is known without.</summary>
internal sealed class QueueOrderTests
{
    [Test]
    public async Task GetAsync_ReadsOnce_WhenManyAskAtTheStart()
    {
        var (host, reader) = Shared();
        reader.Block();
        var asked = Enumerable.Range(0, 20).Select(_ => host.Order.GetAsync(CancellationToken.None).AsTask()).ToList();
        Assert.That(asked.Any(task => task.IsCompleted), Is.False, "nothing is known yet");

        reader.Release();
        var snapshots = await Task.WhenAll(asked);

        Assert.That(snapshots.Select(snapshot => snapshot.Count), Is.All.Zero);
        Assert.That(reader.Reads, Is.EqualTo(1));
    }

    [Test]
    public async Task GetAsync_DoesNotRead_WhileTheSnapshotIsYoung()
    {
        var (host, reader) = Shared();
        var first = await host.Order.GetAsync(CancellationToken.None);
        host.Time.Advance(TimeSpan.FromSeconds(0.9));

        Assert.That(await host.Order.GetAsync(CancellationToken.None), Is.SameAs(first));
        Assert.That(reader.Reads, Is.EqualTo(1));
    }

    [Test]
    public async Task GetAsync_ServesWhatItHas_WhileTheNextReadRuns()
    {
        var (host, reader) = Shared();
        var mine = host.Jobs.Enqueue(1);
        await host.Order.GetAsync(CancellationToken.None);
        var others = host.EnqueueSilently(2); // As another machine does.
        host.Time.Advance(TimeSpan.FromSeconds(1.1));
        reader.Block();

        var meanwhile = host.Order.GetAsync(CancellationToken.None).AsTask();
        Assert.That(meanwhile.IsCompletedSuccessfully, Is.True);
        Assert.That((await meanwhile).InOrder, Is.EqualTo(new[] { mine }));
        Assert.That(host.Jobs.Enqueue(3), Is.EqualTo(host.Snapshot().At(2)), "what this process does is known at once");

        reader.Release();
        await host.Order.ReadNowAsync();
        Assert.That(host.Snapshot().PositionOf(others), Is.EqualTo(2));
        Assert.That(host.Snapshot().Count, Is.EqualTo(3));
    }

    [Test]
    public async Task GetAsync_WaitsForTheNextRead_WhenNobodyHasAskedForLong()
    {
        var (host, _) = Shared();
        await host.Order.GetAsync(CancellationToken.None);
        var others = host.EnqueueSilently(2);
        host.Time.Advance(TimeSpan.FromMinutes(1));

        Assert.That((await host.Order.GetAsync(CancellationToken.None)).PositionOf(others), Is.EqualTo(1));
    }

    [Test]
    public async Task GetAsync_Throws_WhenNothingIsKnownAndTheReadFails_AndTriesAgain()
    {
        var (host, reader) = Shared();
        reader.Failure = new InvalidOperationException("away");
        Assert.That(async () => await host.Order.GetAsync(CancellationToken.None), Throws.InvalidOperationException);

        reader.Failure = null;
        Assert.That((await host.Order.GetAsync(CancellationToken.None)).Count, Is.Zero);
    }

    [Test]
    public async Task GetAsync_KnowsEveryChangeOfThisProcess_WithoutReading_WhenTheQueueIsPrivate()
    {
        var storage = QueueHost.InMemory();
        var reader = new CountingReader(storage, isPrivate: true);
        var host = new QueueHost(storage, QueueHost.Clock(), reader);
        await host.Order.GetAsync(CancellationToken.None);

        var jobs = Enumerable.Range(1, 5).Select(id => host.Jobs.Enqueue(id)).ToList();
        host.Jobs.Delete(jobs[2]);
        host.Begin(jobs[0]);

        var snapshot = host.Snapshot();
        Assert.That(snapshot.InOrder, Is.EqualTo(new[] { jobs[0], jobs[1], jobs[3], jobs[4] }), "begun and not claimed is still first");
        host.Held.Hold(jobs[0]).Dispose();
        host.Order.Changed();
        Assert.That(host.Snapshot().PositionOf(jobs[1]), Is.EqualTo(1));
        Assert.That(reader.Reads, Is.EqualTo(1));
    }

    [Test]
    public async Task GetAsync_FindsAJobThatNobodyToldOf_WithinTheNextVerification()
    {
        var host = new QueueHost(QueueHost.InMemory(), QueueHost.Clock());
        await host.Order.GetAsync(CancellationToken.None);
        var job = host.EnqueueSilently(1);

        host.Time.Advance(TimeSpan.FromSeconds(11));
        await host.Order.GetAsync(CancellationToken.None);
        await host.Order.ReadNowAsync();

        Assert.That(host.Snapshot().PositionOf(job), Is.EqualTo(1));
    }

    [Test]
    public async Task GetAsync_NoLongerCountsATakenJob_WhenItsWorkerFailedToBeginIt()
    {
        var host = new QueueHost(QueueHost.InMemory(), QueueHost.Clock());
        await host.Order.GetAsync(CancellationToken.None);
        var (first, second) = (host.Jobs.Enqueue(1), host.Jobs.Enqueue(2));
        host.Held.Take(second); // Its state was announced, but never committed.
        Assert.That(host.Snapshot().InOrder, Is.EqualTo(new[] { second, first }));

        host.Time.Advance(TimeSpan.FromMinutes(1));
        await host.Order.ReadNowAsync();

        Assert.That(host.Snapshot().InOrder, Is.EqualTo(new[] { first, second }));
    }

    [Test]
    public async Task Enqueue_GivesEachJobTheNextPosition_WhenManyEnqueueAtOnce()
    {
        var host = new QueueHost(QueueHost.InMemory(), QueueHost.Clock());
        await host.Order.GetAsync(CancellationToken.None);

        await Task.WhenAll(Enumerable.Range(1, 8).Select(thread => Task.Run(() =>
        {
            for (var i = 0; i < 100; i++)
            {
                var job = host.Jobs.Enqueue((thread * 1000) + i);
                Assert.That(host.Snapshot().PositionOf(job), Is.Positive, "the submitter sees the own position");
            }
        })));

        var hangfires = host.Storage.GetMonitoringApi().EnqueuedJobs(ImageJobs.QueueName, 0, 1000).Select(job => job.Key);
        Assert.That(host.Snapshot().InOrder, Is.EqualTo(hangfires));
        Assert.That(host.Snapshot().Count, Is.EqualTo(800));
    }

    [Test]
    public async Task NextChange_Completes_WhenAJobChangesItsState()
    {
        var host = new QueueHost(QueueHost.InMemory(), QueueHost.Clock());
        await host.Order.GetAsync(CancellationToken.None);
        var job = host.Jobs.Enqueue(1);
        var change = host.Order.NextChange;
        Assert.That(change.IsCompleted, Is.False);

        host.Jobs.Delete(job);

        Assert.That(change.IsCompleted, Is.True);
    }

    private static (QueueHost Host, CountingReader Reader) Shared()
    {
        var storage = QueueHost.InMemory();
        var reader = new CountingReader(storage, isPrivate: false);
        return (new QueueHost(storage, QueueHost.Clock(), reader), reader);
    }

    /// <summary>Counts reads, and fails if two run at once.</summary>
    private sealed class CountingReader(JobStorage storage, bool isPrivate) : IQueueReader
    {
        private readonly PagingQueueReader _pages = new(storage);
        private TaskCompletionSource _mayRead = Released();
        private int _reading;

        public int Reads { get; private set; }

        public Exception? Failure { get; set; }

        public bool IsPrivate => isPrivate;

        public void Block() => _mayRead = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);

        public void Release() => _mayRead.SetResult();

        public async Task<IReadOnlyList<string>> ReadAsync(CancellationToken cancellationToken)
        {
            Assert.That(Interlocked.Increment(ref _reading), Is.EqualTo(1), "two reads at once");
            Reads++;
            await _mayRead.Task;
            if (Failure is not null)
            {
                Interlocked.Decrement(ref _reading);
                throw Failure;
            }

            var order = await _pages.ReadAsync(cancellationToken);
            Interlocked.Decrement(ref _reading);
            return order;
        }

        private static TaskCompletionSource Released()
        {
            var released = new TaskCompletionSource();
            released.SetResult();
            return released;
        }
    }
}
