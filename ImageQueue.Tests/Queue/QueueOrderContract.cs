using Hangfire.States;
using Hangfire.Storage;
using ImageQueue.Core.Queue;
using Microsoft.Extensions.Logging.Abstractions;
using NUnit.Framework;

namespace ImageQueue.Tests.Queue;

/// <summary>What <see cref="IQueueOrder"/> promises on every job storage: each position as a naive model has it, after each step.</summary>
[FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
[Parallelizable(ParallelScope.All)]
public abstract class QueueOrderContract
{
    private const int FifoSteps = 1000;
    private const int FairSteps = 2500;

    /// <summary>What can be done to a queue.</summary>
    private protected interface IQueue : IDisposable
    {
        IQueueOrder Order { get; }

        string Enqueue(long messageId, string user);

        /// <summary>The job is deleted, as an operator does it.</summary>
        void Cancel(string job);

        void Requeue(string job);

        /// <summary>Dequeues the first and sets it to processing.</summary>
        IFetchedJob Begin();

        void Complete(IFetchedJob job);

        /// <summary>Returns a job that was begun to its place.</summary>
        void GiveBack(IFetchedJob job);

        /// <summary>Whether entries of deleted jobs stay and count again when the job is requeued.</summary>
        bool KeepsEntries { get; }

        /// <summary>Until rows that move up have moved.</summary>
        Task MovedAsync();

        /// <summary>Until the changes that only a read shows are known.</summary>
        Task SettleAsync();

        /// <summary>The order as another process has it; null where there is none.</summary>
        Task<QueueSnapshot?> OtherAsync();

        /// <summary>The process dies, and another takes its place.</summary>
        /// <returns>False where the queue dies with it.</returns>
        Task<bool> TryRestartAsync();
    }

    private protected abstract Task<IQueue> CreateAsync(QueueOrder order);

    /// <summary>Random steps, compared after each.</summary>
    [TestCase(20261101, QueueOrder.Fifo)]
    [TestCase(7, QueueOrder.Fifo)]
    [TestCase(424242, QueueOrder.Fifo)]
    [TestCase(20261129, QueueOrder.FairShare)]
    [TestCase(11, QueueOrder.FairShare)]
    [TestCase(31337, QueueOrder.FairShare)]
    public async Task Positions_AreTheModels_AfterEachOfManyRandomSteps(int seed, QueueOrder order)
    {
        TestContext.Out.WriteLine($"seed {seed}");
        var random = new Random(seed);
        using var queue = await CreateAsync(order);
        await queue.Order.GetAsync(CancellationToken.None);
        await queue.SettleAsync();
        var model = new QueueOrderModel(order == QueueOrder.FairShare, queue.KeepsEntries);
        var running = new List<(QueueOrderModel.Entry Entry, IFetchedJob Job)>();
        var ended = new List<string>();
        for (var step = 1; step <= (order == QueueOrder.Fifo ? FifoSteps : FairSteps); step++)
        {
            var what = await ActAsync(step);
            await queue.MovedAsync();
            var expected = model.Waiting;
            var snapshot = await queue.Order.GetAsync(CancellationToken.None);
            // NUnit's own comparison takes a hundred times as long, and says more.
            if (!snapshot.InOrder.SequenceEqual(expected))
                Assert.That(snapshot.InOrder, Is.EqualTo(expected), $"step {step}: {what}");
            for (var i = 0; i < expected.Count; i++)
            {
                if (snapshot.PositionOf(expected[i]) is var position && position != i + 1)
                    Assert.Fail($"step {step}: {what}: {expected[i]} is at {position} and not at {i + 1}");
            }

            Assert.That(snapshot.Count, Is.EqualTo(expected.Count));
            foreach (var job in ended.Take(20))
                Assert.That(snapshot.PositionOf(job), Is.Null);
        }

        async Task<string> ActAsync(int step)
        {
            var waiting = model.Waiting;
            switch (random.Next(100))
            {
                case < 36:
                    // A few users have many requests, many have one.
                    var user = $"user {random.Next(3) * random.Next(8)}";
                    var job = queue.Enqueue(step, user);
                    model.Submit(job, user);
                    return $"submit {job} of {user}";
                case < 43 when waiting.Count > 0:
                    var cancelled = waiting[random.Next(waiting.Count)];
                    queue.Cancel(cancelled);
                    model.Cancel(cancelled);
                    ended.Add(cancelled);
                    return $"cancel {cancelled} in the dashboard";
                case < 50 when waiting.Count > 0:
                    var left = waiting[random.Next(waiting.Count)];
                    queue.Cancel(left);
                    queue.Order.Remove(left);
                    model.Cancel(left);
                    ended.Add(left);
                    return $"cancel {left} by the API";
                case < 56 when ended.Count > 0:
                    var requeued = ended[random.Next(ended.Count)];
                    ended.Remove(requeued);
                    queue.Requeue(requeued);
                    model.Requeue(requeued);
                    await queue.SettleAsync();
                    return $"requeue {requeued}";
                case < 76 when waiting.Count > 0 && running.Count < 4:
                    var begun = queue.Begin();
                    Assert.That(begun.JobId, Is.EqualTo(waiting[0]), $"step {step}: the first is dequeued first");
                    running.Add((model.Claim(begun.JobId), begun));
                    queue.Order.Remove(begun.JobId);
                    return $"claim {begun.JobId}";
                case < 87 when running.Count > 0:
                    var done = running[0].Job;
                    running.RemoveAt(0);
                    queue.Complete(done);
                    ended.Add(done.JobId);
                    return $"complete {done.JobId}";
                case < 92 when running.Count > 0:
                    var which = random.Next(running.Count);
                    var (entry, back) = running[which];
                    running.RemoveAt(which);
                    queue.GiveBack(back);
                    model.GiveBack(entry);
                    await queue.SettleAsync();
                    return $"give back {back.JobId}";
                case < 97 when waiting.Count > 0:
                    var moved = waiting[random.Next(waiting.Count)];
                    Assert.That(
                        await queue.Order.TryMoveToFrontAsync(moved, CancellationToken.None), Is.True, $"step {step}: move {moved}");
                    model.MoveToFront(moved);
                    await queue.MovedAsync();
                    await queue.SettleAsync();
                    return $"move {moved} to the front";
                case < 98 when await queue.TryRestartAsync():
                    model.Restart();
                    return "restart";
                default:
                    await queue.SettleAsync();
                    if (await queue.OtherAsync() is { } other)
                        Assert.That(other.InOrder, Is.EqualTo(model.Waiting), $"step {step}: another process");
                    return "look";
            }
        }
    }
}

/// <summary>The queue of the embedded default: in this process alone.</summary>
[Category(Categories.Fast)]
internal sealed class InMemoryQueueOrderContractTests : QueueOrderContract
{
    private protected override Task<IQueue> CreateAsync(QueueOrder order) => Task.FromResult<IQueue>(new Queue(order));

    private sealed class Queue(QueueOrder order) : IQueue
    {
        private readonly QueueHost _host = new(QueueHost.InMemory(), QueueHost.Clock(), order: order);

        public IQueueOrder Order => _host.Order;

        public string Enqueue(long messageId, string user) => _host.Jobs.Enqueue(messageId, user);

        public void Cancel(string job) => _host.Jobs.Delete(job);

        public void Requeue(string job) => _host.Requeue(job);

        public IFetchedJob Begin()
        {
            var job = _host.Fetch();
            _host.Begin(job.JobId);
            return job;
        }

        public void Complete(IFetchedJob job)
        {
            _host.Succeed(job.JobId);
            job.RemoveFromQueue();
        }

        public void GiveBack(IFetchedJob job) => Assert.That(_host.Jobs.TryGiveBack(job.JobId, job, "the model says so"), Is.True);

        public bool KeepsEntries => false;

        public Task MovedAsync() => Task.CompletedTask;

        public Task SettleAsync() => Task.CompletedTask;

        public async Task<QueueSnapshot?> OtherAsync()
        {
            // Each waiting job has an entry in Hangfire's queue, for the dashboard. Hangfire reads each job to list it.
            var shown = _host.Storage.GetMonitoringApi().EnqueuedJobs(ImageJobs.QueueName, 0, 10_000).Select(job => job.Key);
            Assert.That((await Order.GetAsync(CancellationToken.None)).InOrder.Except(shown), Is.Empty);
            return null;
        }

        public Task<bool> TryRestartAsync() => Task.FromResult(false);

        public void Dispose() => _host.Dispose();
    }
}

/// <summary>A queue that other processes change too: hints are believed, and each second its rows are read.</summary>
[TestFixture(5000)]
[TestFixture(7)]
[Category(Categories.Store)]
internal sealed class SharedQueueOrderContractTests(int pageSize) : QueueOrderContract
{
    private protected override async Task<IQueue> CreateAsync(QueueOrder order)
    {
        var queue = new Queue(order, pageSize);
        await queue.TryRestartAsync();
        return queue;
    }

    private sealed class Queue(QueueOrder kind, int pageSize) : IQueue
    {
        private readonly FakeQueueRows _rows = new();
        private SqlServerQueueOrder? _order;
        private SqlServerQueueOrder? _other;

        public IQueueOrder Order => Current;

        private SqlServerQueueOrder Current => _order!; // TryRestartAsync makes both.

        public string Enqueue(long messageId, string user) => Current.Enqueue(user, queue => _rows.Add(queue: queue, user: user));

        public void Cancel(string job)
        {
            _rows.SetState(job, DeletedState.StateName);
            Current.OnStateChanging(job, EnqueuedState.StateName, DeletedState.StateName);
        }

        public void Requeue(string job)
        {
            _rows.Requeue(job);
            Current.OnStateChanging(job, DeletedState.StateName, EnqueuedState.StateName);
        }

        public IFetchedJob Begin()
        {
            var job = _rows.Fetch();
            _rows.SetState(job.JobId, ProcessingState.StateName);
            return job;
        }

        public void Complete(IFetchedJob job)
        {
            _rows.SetState(job.JobId, SucceededState.StateName);
            Current.OnStateChanging(job.JobId, ProcessingState.StateName, SucceededState.StateName);
            job.RemoveFromQueue();
        }

        public void GiveBack(IFetchedJob job)
        {
            _rows.SetState(job.JobId, EnqueuedState.StateName);
            Assert.That(Current.TryGiveBack(job.JobId, job), Is.True);
        }

        public bool KeepsEntries => true;

        public Task MovedAsync() => Current.Moves;

        public Task SettleAsync() => SettleAsync(Current);

        public async Task<QueueSnapshot?> OtherAsync()
        {
            await SettleAsync(_other!);
            return await _other!.GetAsync(CancellationToken.None);
        }

        public async Task<bool> TryRestartAsync()
        {
            _order = NewOrder();
            await SettleAsync(_order);
            if (_other is null)
                await SettleAsync(_other = NewOrder());
            return true;
        }

        public void Dispose()
        {
            // Nothing is held.
        }

        private SqlServerQueueOrder NewOrder() =>
            new(_rows, QueueHost.Clock(), NullLogger<SqlServerQueueOrder>.Instance, kind) { PageSize = pageSize };

        private async Task SettleAsync(SqlServerQueueOrder order)
        {
            // As often as it takes for the page between head and tails to come round.
            for (var i = 0; i < 4 + (_rows.Count / pageSize); i++)
                await order.ReadNowAsync();
        }
    }
}
