using ImageQueue.Core.Queue;
using ImageQueue.Tests.Benchmarks.Support;
using ImageQueue.Tests.Queue;
using NUnit.Framework;

namespace ImageQueue.Tests.Benchmarks;

/// <summary>
/// What fair share gives and costs, beside first in, first out, on the embedded queue.
/// Run: <c>dotnet test -c Release --filter FullyQualifiedName~FairShareBenchmark</c>.
/// </summary>
[TestFixtureSource(typeof(BenchmarkStorage), nameof(BenchmarkStorage.Embedded))]
[Explicit("A benchmark: prints an index and microseconds.")]
[Category(Categories.Benchmark)]
[NonParallelizable]
internal sealed class FairShareBenchmark(string storageName)
{
    private const int Waiting = 100_000;
    private const int Users = 10_000;

    /// <summary>Fifty users want from one to fifty images, submitted in bursts; four backends generate one each per tick.</summary>
    [Test]
    public void TimeInQueue_ByJainsIndex()
    {
        var (fifo, fair) = (JainsIndex(QueueOrder.Fifo), JainsIndex(QueueOrder.FairShare));
        BenchmarkTable.Add(
            $"mean time in queue by images wanted, 50 users of 1 to 50 images, {storageName}: Jain's index, fair share",
            "",
            fair,
            new Baseline("FIFO", [fifo]));
    }

    [Test]
    public async Task Costs_BesideFifo()
    {
        using var one = Host(QueueOrder.Fifo);
        using var other = Host(QueueOrder.FairShare);
        var random = new Random(1);
        var costs = await Rounds.ByTurnsAsync(
            Rounds.Count, () => Task.FromResult(Measure(one, random)), () => Task.FromResult(Measure(other, random)));
        var bar = new Bar("1.5 times", (_, ratio) => ratio <= 1.5);
        Add("submit", cost => cost.Submit, bar);
        Add("dequeue and claim", cost => cost.Dequeue, bar);
        Add("a snapshot's position", cost => cost.Read, Bar.AtMost(5, "us"));

        void Add(string what, Func<Cost, double> of, Bar expected) => BenchmarkTable.Add(
            $"{what}, 100,000 waiting of 10,000 users, {storageName}, fair share",
            "us",
            [.. costs[1].Select(of)],
            new Baseline("FIFO", [.. costs[0].Select(of)]),
            expected);
    }

    private static QueueHost Host(QueueOrder order)
    {
        var host = new QueueHost(QueueHost.InMemory(), QueueHost.Clock(), order: order);
        host.Jobs.EnqueueAll([.. Enumerable.Range(0, Waiting).Select(i => ((long)i, (string?)$"user {i / (Waiting / Users)}"))]);
        return host;
    }

    /// <summary>Submits as many as are dequeued, so that as many wait in each round.</summary>
    private static Cost Measure(QueueHost host, Random random)
    {
        const int rounds = 2000;
        var submit = Rounds.Milliseconds(() =>
        {
            for (var i = 0; i < rounds; i++)
                host.Jobs.Enqueue(Waiting + i, $"user {random.Next(Users)}");
        });
        var dequeue = Rounds.Milliseconds(() =>
        {
            for (var i = 0; i < rounds; i++)
            {
                var job = host.Fetch();
                host.Begin(job.JobId);
                host.Order.Remove(job.JobId);
                host.Succeed(job.JobId);
                job.RemoveFromQueue();
            }
        });
        var jobs = host.Snapshot().InOrder.ToList();
        var read = Rounds.Milliseconds(() =>
        {
            for (var i = 0; i < rounds; i++)
                Assert.That(host.Snapshot().PositionOf(jobs[random.Next(jobs.Count)]), Is.Positive);
        });
        return new Cost(submit * 1000 / rounds, dequeue * 1000 / rounds, read * 1000 / rounds);
    }

    private static double JainsIndex(QueueOrder order)
    {
        using var host = new QueueHost(QueueHost.InMemory(), QueueHost.Clock(), order: order);
        var random = new Random(5);
        var owners = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (var user in Enumerable.Range(1, 50).OrderBy(_ => random.Next()))
        {
            for (var i = 0; i < user; i++)
                owners[host.Jobs.Enqueue((user * 100) + i, $"user {user}")] = user;
        }

        var waits = new Dictionary<int, List<double>>();
        for (var tick = 0; owners.Count > 0; tick++)
        {
            for (var backend = 0; backend < 4 && owners.Count > 0; backend++)
            {
                var job = host.Fetch();
                host.Begin(job.JobId);
                host.Order.Remove(job.JobId);
                owners.Remove(job.JobId, out var user);
                (waits.TryGetValue(user, out var list) ? list : waits[user] = []).Add(tick + 1);
            }
        }

        // What a user waits for each image wanted: the same for all is 1.
        var shares = waits.Values.Select(wait => wait.Average() / wait.Count).ToList();
        return Math.Pow(shares.Sum(), 2) / (shares.Count * shares.Sum(share => share * share));
    }

    /// <summary>Microseconds of one.</summary>
    private sealed record Cost(double Submit, double Dequeue, double Read);
}
