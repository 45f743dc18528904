using Hangfire;
using Hangfire.States;
using Hangfire.Storage;
using ImageQueue.Core.Queue;
using NUnit.Framework;

namespace ImageQueue.Tests.Queue;

/// <summary>What <see cref="QueueOrder"/> promises on every job storage: each position as a naive model has it, after each step.</summary>
public abstract class QueueOrderContract
{
    private const int Steps = 700;

    private readonly Dictionary<string, string> _states = new(StringComparer.Ordinal);
    private readonly List<string> _queue = [];
    private readonly List<IFetchedJob> _taken = [];
    private readonly List<(IFetchedJob Job, IDisposable? Hold)> _held = [];
    private readonly List<IFetchedJob> _running = [];
    private QueueHost _host = null!; // Set before each test.
    private IStorageConnection? _connection;
    private Random _random = null!;
    private readonly Queue<string> _log = new();

    /// <summary>An empty queue.</summary>
    private protected abstract Task<QueueHost> CreateHostAsync();

    /// <summary>Whether a job that a worker gives back goes to the tail, or keeps its place.</summary>
    private protected virtual bool GivesBackToTail => true;

    /// <summary>Whether a running job's second entry in the queue is passed over, or counts until it is dequeued.</summary>
    private protected virtual bool PassesOverSecondEntries => true;

    /// <summary>Starts with an empty queue.</summary>
    [SetUp]
    public async Task CreateAsync()
    {
        _states.Clear();
        _queue.Clear();
        _taken.Clear();
        _held.Clear();
        _running.Clear();
        _host = await CreateHostAsync();
        _connection = _host.Storage.GetConnection();
    }

    /// <summary>Ends the connection.</summary>
    [TearDown]
    public void Close() => _connection?.Dispose();

    /// <summary>Random steps, compared after each.</summary>
    [TestCase(20261101)]
    [TestCase(7)]
    [TestCase(424242)]
    public async Task Positions_AreTheModels_AfterEachOfManyRandomSteps(int seed)
    {
        TestContext.Out.WriteLine($"seed {seed}");
        _random = new Random(seed);
        Compare("empty");
        for (var step = 1; step <= Steps; step++)
        {
            var (what, isSilent) = Act(step);
            _log.Enqueue($"{step} {what} | taken {string.Join(' ', _taken.Select(t => Short(t.JobId)))} held {string.Join(' ', _held.Select(t => Short(t.Job.JobId)))}");
            if (isSilent)
                await CompareSoonAsync($"step {step}: {what}");
            else
                Compare($"step {step}: {what}");
        }
    }

    /// <returns>What was done, and whether only Hangfire knows what came of it.</returns>
    private (string What, bool IsSilent) Act(int step)
    {
        switch (_random.Next(100))
        {
            case < 35:
                var job = _host.Jobs.Enqueue(step);
                _states[job] = EnqueuedState.StateName;
                _queue.Add(job);
                return ($"submit {job}", false);
            case < 50 when _states.Count > 0:
                var cancelled = Any(_states.Keys);
                Cancel(cancelled);
                return ($"cancel {cancelled}", false);
            case < 55 when _states.Count > 0 && Any(_states.Keys) is { } requeued && MayRequeue(requeued):
                _host.Requeue(requeued);
                _held.RemoveAll(held => held.Job.JobId == requeued);
                _states[requeued] = EnqueuedState.StateName;
                _queue.Add(requeued);
                return ($"requeue {requeued}", true);
            case < 68 when _queue.Count > 0 && _taken.Count < 3:
                return ($"take {Take()}", false);
            case < 78 when _taken.Count > 0:
                return ($"begin {Begin(_random.Next(_taken.Count))}", false);
            case < 85 when _held.Count > 0:
                var index = _random.Next(_held.Count);
                var (held, hold) = _held[index];
                if (hold is null)
                {
                    _held[index] = (held, _host.Held.Hold(held.JobId));
                    _host.Order.Changed();
                    return ($"hold {held.JobId}", false);
                }

                _held.RemoveAt(index);
                hold.Dispose();
                _host.Order.Changed();
                _running.Add(held);
                return ($"claim {held.JobId}", false);
            case < 95 when _running.Count > 0:
                var done = _running[0];
                _running.RemoveAt(0);
                if (_states[done.JobId] == ProcessingState.StateName)
                {
                    _host.Succeed(done.JobId);
                    _states[done.JobId] = SucceededState.StateName;
                }

                done.RemoveFromQueue();
                done.Dispose();
                return ($"complete {done.JobId}", false);
            case < 97 when _taken.Count > 0:
                var back = _taken[^1];
                _taken.RemoveAt(_taken.Count - 1);
                back.Requeue();
                back.Dispose();
                if (GivesBackToTail)
                    _queue.Add(back.JobId);
                else
                    _queue.Insert(0, back.JobId);
                return ($"give back {back.JobId}", true);
            default:
                _host.Time.Advance(TimeSpan.FromSeconds(_random.Next(3)));
                return ("wait", false);
        }
    }

    private bool MayRequeue(string job) =>
        _taken.All(taken => taken.JobId != job) && (PassesOverSecondEntries || !_queue.Contains(job));

    private void Cancel(string job)
    {
        _host.Jobs.Delete(job);
        _states[job] = DeletedState.StateName;
        // A job that is deleted stops counting at once; its worker finds out later.
        foreach (var held in _held.FindAll(held => held.Job.JobId == job))
        {
            _held.Remove(held);
            held.Hold?.Dispose();
            _running.Add(held.Job);
        }
    }

    private string Take()
    {
        using var timeout = new CancellationTokenSource(TimeSpan.FromSeconds(10));
        var taken = _connection!.FetchNextJob([ImageJobs.QueueName], timeout.Token);
        Assert.That(taken.JobId, Is.EqualTo(_queue[0]), "Hangfire serves first come first");
        _queue.RemoveAt(0);
        if (_states[taken.JobId] == EnqueuedState.StateName && _taken.All(other => other.JobId != taken.JobId))
        {
            _taken.Add(taken);
            // Nobody can tell a job that was given back from one that was taken and has a second entry.
            return _queue.Contains(taken.JobId) ? Begin(_taken.Count - 1) : taken.JobId;
        }

        taken.RemoveFromQueue(); // As a worker does with a job in a state that does not run.
        taken.Dispose();
        return $"ghost {taken.JobId}";
    }

    private string Begin(int index)
    {
        var taken = _taken[index];
        _taken.RemoveAt(index);
        if (_states[taken.JobId] != EnqueuedState.StateName)
        {
            taken.RemoveFromQueue();
            taken.Dispose();
            return $"nothing, {taken.JobId} was cancelled";
        }

        _host.Begin(taken.JobId);
        _states[taken.JobId] = ProcessingState.StateName;
        _held.Add((taken, null));
        return taken.JobId;
    }

    private void Compare(string after)
    {
        var expected = Expected();
        var snapshot = _host.Snapshot();
        Assert.That(snapshot.InOrder, Is.EqualTo(expected), after + "\n" + string.Join("\n", _log.TakeLast(12)));
        Assert.That(snapshot.Count, Is.EqualTo(expected.Count), after);
        Assert.That(Enumerable.Range(1, expected.Count).Select(snapshot.At), Is.EqualTo(expected), after);
        foreach (var job in _states.Keys)
        {
            var position = expected.IndexOf(job) + 1;
            Assert.That(snapshot.PositionOf(job), Is.EqualTo(position == 0 ? (int?)null : position), $"{after}; position of {job}");
        }
    }

    /// <summary>What the filters cannot tell is found by the next read, without anybody asking for one.</summary>
    private async Task CompareSoonAsync(string after)
    {
        _host.Time.Advance(TimeSpan.FromSeconds(11));
        for (var tries = 0; tries < 200 && !_host.Snapshot().InOrder.SequenceEqual(Expected()); tries++)
        {
            await Task.Delay(5);
            _host.Time.Advance(TimeSpan.FromSeconds(5));
        }

        Compare(after);
    }

    /// <summary>Held, then taken but not begun, then the queue: each job once, by the first of its entries, if it will run.</summary>
    private List<string> Expected() =>
    [
        .. _held.Select(held => held.Job.JobId)
            .Concat(_taken.Select(taken => taken.JobId).Concat(_queue).Where(job => _states[job] == EnqueuedState.StateName))
            .Distinct(StringComparer.Ordinal),
    ];

    private static string Short(string job) => job[..Math.Min(4, job.Length)];

    private string Any(Dictionary<string, string>.KeyCollection jobs) => jobs.ElementAt(_random.Next(jobs.Count));
}

/// <summary>The queue of the embedded default: in this process, and nobody else's.</summary>
internal sealed class InMemoryQueueOrderTests : QueueOrderContract
{
    private protected override Task<QueueHost> CreateHostAsync() => Task.FromResult(new QueueHost(QueueHost.InMemory(), QueueHost.Clock()));
}

/// <summary>A queue that other machines change too: hints are believed, and each second it is read.</summary>
internal sealed class SharedQueueOrderTests : QueueOrderContract
{
    private protected override Task<QueueHost> CreateHostAsync()
    {
        var storage = QueueHost.InMemory();
        return Task.FromResult(new QueueHost(storage, QueueHost.Clock(), new SharedReader(storage)));
    }

    private sealed class SharedReader(JobStorage storage) : IQueueReader
    {
        private readonly PagingQueueReader _pages = new(storage);

        public bool IsPrivate => false;

        public Task<IReadOnlyList<string>> ReadAsync(CancellationToken cancellationToken) => _pages.ReadAsync(cancellationToken);
    }
}
