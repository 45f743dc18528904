using Hangfire.States;
using Hangfire.Storage;
using ImageQueue.Core.Queue;
using Microsoft.Extensions.Logging.Abstractions;
using NUnit.Framework;

namespace ImageQueue.Tests.Queue;

/// <summary>What <see cref="IQueueOrder"/> promises on every job storage: each position as a naive model has it, after each step.</summary>
public abstract class QueueOrderContract
{
    private const int Steps = 900;

    /// <summary>What can be done to a queue.</summary>
    private protected interface IQueue : IDisposable
    {
        IQueueOrder Order { get; }

        string Enqueue(long messageId);

        void Cancel(string job);

        void Requeue(string job);

        /// <summary>Takes the first and calls it processing.</summary>
        IFetchedJob Begin();

        void Complete(IFetchedJob job);

        /// <summary>Puts a job that was begun back to where it was.</summary>
        void GiveBack(IFetchedJob job);

        /// <summary>Whether a job that is moved to the front leaves its entry where it was, to be passed over.</summary>
        bool LeavesEntryWhenMoved => GivesBackWithMarker;

        /// <summary>Whether a job that was given back gets another entry at the tail, for others to see.</summary>
        bool GivesBackWithMarker { get; }

        /// <summary>Until what others see, and what only a look can tell, is known.</summary>
        Task SettleAsync();
    }

    private protected abstract Task<IQueue> CreateAsync();

    /// <summary>Random steps, compared after each.</summary>
    [TestCase(20261101)]
    [TestCase(7)]
    [TestCase(424242)]
    public async Task Positions_AreTheModels_AfterEachOfManyRandomSteps(int seed)
    {
        TestContext.Out.WriteLine($"seed {seed}");
        var random = new Random(seed);
        using var queue = await CreateAsync();
        await queue.Order.GetAsync(CancellationToken.None);
        await queue.SettleAsync();
        // Hangfire's entries by place, some of them of jobs that do not wait; a job waits at the first of its own.
        var entries = new SortedList<long, string>();
        var waits = new HashSet<string>(StringComparer.Ordinal);
        var running = new List<(long Place, IFetchedJob Job)>();
        var ended = new List<string>();
        var returned = new HashSet<long>();
        var places = 0L;
        var front = 0L;
        for (var step = 1; step <= Steps; step++)
        {
            var what = await ActAsync(step);
            var expected = Waiting();
            var snapshot = await queue.Order.GetAsync(CancellationToken.None);
            Assert.That(snapshot.InOrder, Is.EqualTo(expected), $"step {step}: {what}");
            Assert.That(expected.Select(job => snapshot.PositionOf(job)), Is.EqualTo(Enumerable.Range(1, expected.Count)), $"step {step}: {what}");
            Assert.That(snapshot.Count, Is.EqualTo(expected.Count));
            foreach (var job in ended.Take(20))
                Assert.That(snapshot.PositionOf(job), Is.Null);
        }

        List<string> Waiting() => [.. entries.Values.Where(waits.Contains).Distinct(StringComparer.Ordinal)];

        async Task<string> ActAsync(int step)
        {
            var waiting = Waiting();
            switch (random.Next(100))
            {
                case < 38:
                    var job = queue.Enqueue(step);
                    entries.Add(++places, job);
                    waits.Add(job);
                    return $"submit {job}";
                case < 50 when waiting.Count > 0:
                    var cancelled = waiting[random.Next(waiting.Count)];
                    queue.Cancel(cancelled);
                    waits.Remove(cancelled);
                    ended.Add(cancelled);
                    return $"cancel {cancelled}";
                case < 56 when ended.Count > 0:
                    var requeued = ended[random.Next(ended.Count)];
                    ended.Remove(requeued);
                    queue.Requeue(requeued);
                    entries.Add(++places, requeued);
                    waits.Add(requeued);
                    await queue.SettleAsync();
                    return $"requeue {requeued}";
                case < 76 when waiting.Count > 0 && running.Count < 4:
                    var begun = queue.Begin();
                    Assert.That(begun.JobId, Is.EqualTo(waiting[0]), $"step {step}: the first is taken first");
                    // Those before it were of jobs that do not wait: they are gone now.
                    while (entries.Values[0] != begun.JobId)
                        entries.RemoveAt(0);
                    running.Add((entries.Keys[0], begun));
                    entries.RemoveAt(0);
                    waits.Remove(begun.JobId);
                    queue.Order.Remove(begun.JobId);
                    return $"claim {begun.JobId}";
                case < 88 when running.Count > 0:
                    var done = running[0].Job;
                    running.RemoveAt(0);
                    queue.Complete(done);
                    ended.Add(done.JobId);
                    return $"complete {done.JobId}";
                case < 93 when running.Count > 0:
                    var which = random.Next(running.Count);
                    var (place, back) = running[which];
                    running.RemoveAt(which);
                    queue.GiveBack(back);
                    if (queue.GivesBackWithMarker && !entries.ContainsValue(back.JobId))
                        entries.Add(++places, back.JobId);
                    entries.Add(place, back.JobId);
                    returned.Add(place);
                    waits.Add(back.JobId);
                    await queue.SettleAsync();
                    return $"give back {back.JobId}";
                case < 98 when waiting.Count > 0:
                    var moved = waiting[random.Next(waiting.Count)];
                    Assert.That(await queue.Order.TryMoveToFrontAsync(moved, CancellationToken.None), Is.True, $"step {step}: move {moved}");
                    var stood = entries.First(entry => entry.Value == moved).Key;
                    if (returned.Remove(stood) || !queue.LeavesEntryWhenMoved)
                        entries.Remove(stood);
                    entries.Add(--front, moved);
                    returned.Add(front);
                    await queue.SettleAsync();
                    return $"move {moved} to the front";
                default:
                    await queue.SettleAsync();
                    return "look";
            }
        }
    }
}

/// <summary>The queue of the embedded default: in this process, and nobody else's.</summary>
[Category(Categories.Fast)]
internal sealed class PrivateQueueOrderContractTests : QueueOrderContract
{
    private protected override Task<IQueue> CreateAsync() => Task.FromResult<IQueue>(new Queue());

    private sealed class Queue : IQueue
    {
        private readonly QueueHost _host = new(QueueHost.InMemory(), QueueHost.Clock());

        public IQueueOrder Order => _host.Order;

        public string Enqueue(long messageId) => _host.Jobs.Enqueue(messageId);

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

        public bool GivesBackWithMarker => true;

        public Task SettleAsync() => Task.CompletedTask; // It is told of everything.

        public void Dispose() => _host.Dispose();
    }
}

/// <summary>A queue that other machines change too: hints are believed, and each second its rows are looked at.</summary>
[TestFixture(5000)]
[TestFixture(7)]
[Category(Categories.Fast)]
internal sealed class SharedQueueOrderContractTests(int pageSize) : QueueOrderContract
{
    private protected override Task<IQueue> CreateAsync() => Task.FromResult<IQueue>(new Queue(pageSize));

    private sealed class Queue : IQueue
    {
        private readonly FakeQueueRows _rows = new();
        private readonly SqlServerQueueOrder _order;

        public Queue(int pageSize) => _order = new SqlServerQueueOrder(_rows, QueueHost.Clock(), NullLogger<SqlServerQueueOrder>.Instance) { PageSize = pageSize };

        public IQueueOrder Order => _order;

        public string Enqueue(long messageId) => _order.Enqueue(() => _rows.Add());

        public void Cancel(string job)
        {
            _rows.SetState(job, DeletedState.StateName);
            _order.OnStateChanging(job, EnqueuedState.StateName, DeletedState.StateName);
        }

        public void Requeue(string job)
        {
            _rows.Requeue(job);
            _order.OnStateChanging(job, DeletedState.StateName, EnqueuedState.StateName);
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
            _order.OnStateChanging(job.JobId, ProcessingState.StateName, SucceededState.StateName);
            job.RemoveFromQueue();
        }

        public void GiveBack(IFetchedJob job)
        {
            _rows.SetState(job.JobId, EnqueuedState.StateName);
            Assert.That(_order.TryGiveBack(job.JobId, job), Is.True);
        }

        public bool GivesBackWithMarker => false;

        public async Task SettleAsync()
        {
            // As often as it takes for the stretch that is read beside head and tail to come round.
            for (var i = 0; i < 60; i++)
                await _order.ReadNowAsync();
        }

        public void Dispose()
        {
            // Nothing is held.
        }
    }
}
