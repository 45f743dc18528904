using Hangfire;
using Hangfire.States;
using Hangfire.Storage;
using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Queue;
using ImageQueue.Tests.Support;
using Moq;
using NUnit.Framework;

namespace ImageQueue.Tests.Queue;

/// <summary>Capacity before dequeue: what a worker may dequeue, and where the job and the backend that it does not use go.</summary>
[Category(Categories.Store)]
internal sealed class CapacityGatedFetchTests
{
    private static readonly string[] Queues = [ImageJobs.QueueName];

    private readonly Dictionary<string, bool> _healthy = new(StringComparer.Ordinal);
    private CancellationTokenSource _stopping = null!; // All set before each test.
    private Bench _bench = null!;
    private IStorageConnection _connection = null!;

    [SetUp]
    public async Task SetUp()
    {
        _bench = await Bench.CreateAsync(settings: new()
        {
            ["Forge:Backends:0:Url"] = "http://one.example",
            ["Forge:Backends:0:Name"] = "one",
            ["Forge:Backends:1:Url"] = "http://two.example",
            ["Forge:Backends:1:Name"] = "two",
        });
        _stopping = new CancellationTokenSource();
        _healthy["one"] = _healthy["two"] = true;
        _bench.Forge.Setup(forge => forge.WhyUnhealthyAsync(It.IsAny<ForgeBackend>(), It.IsAny<CancellationToken>()))
            .ReturnsAsync((ForgeBackend backend, CancellationToken _) => _healthy[backend.Name] ? null : "it does not answer");
        _connection = _bench.Get<JobStorage>().GetConnection();
    }

    [TearDown]
    public async Task TearDown()
    {
        await _stopping.CancelAsync();
        _connection.Dispose();
        _stopping.Dispose();
        await _bench.DisposeAsync();
    }

    [Test]
    public async Task Fetch_DequeuesNothing_WhenTheQueueIsPaused()
    {
        var row = await _bench.QueueAsync();
        await _bench.Get<Pauses>().PauseQueueAsync("the operator", CancellationToken.None);
        await _bench.ProbedAsync();
        var fetching = FetchAsync();

        Assert.That(fetching.IsCompleted, Is.False);
        Assert.That(_bench.Enqueued(), Is.EqualTo(new[] { row.Id }), "it keeps its place");

        await _bench.Get<Pauses>().ResumeQueueAsync(CancellationToken.None);
        Assert.That((await fetching).Job.JobId, Is.EqualTo(row.HangfireJobId));
    }

    [Test]
    public async Task Fetch_IsCancelled_WhenAnotherProcessPausesTheQueue()
    {
        await _bench.ProbedAsync();
        var fetching = FetchAsync();
        await Until.TrueAsync(() => _bench.Get<CapacityGatedFetch>().Watchers == 1, "a worker asks");
        await _bench.Store.PauseAsync("queue", "another operator", CancellationToken.None);
        await _bench.Get<Pauses>().LookAsync(CancellationToken.None);
        await Until.TrueAsync(() => _bench.Get<CapacityGatedFetch>().Watchers == 0, "it asks no more");

        var row = await _bench.QueueAsync();

        Assert.That((fetching.IsCompleted, _bench.Get<Pauses>().OfQueue?.By), Is.EqualTo((false, "another operator")));
        Assert.That(_bench.Enqueued(), Is.EqualTo(new[] { row.Id }));

        await _bench.Get<Pauses>().ResumeQueueAsync(CancellationToken.None);
        Assert.That((await fetching).Job.JobId, Is.EqualTo(row.HangfireJobId));
    }

    [Test]
    public async Task PausedBackend_IsNotUsed_UntilItIsResumed()
    {
        await _bench.ProbedAsync();
        Assert.That(await _bench.Get<Pauses>().PauseBackendAsync("ONE", "the operator", CancellationToken.None), Is.True);
        Assert.That(await _bench.Get<Pauses>().PauseBackendAsync("three", "the operator", CancellationToken.None), Is.False);

        var pool = _bench.Get<BackendPool>();
        Assert.That(pool.Status.Select(status => (status.Name, status.Paused)), Is.EqualTo(new[] { ("one", true), ("two", false) }));
        Assert.That(pool.Available, Is.EqualTo(1));
        Assert.That(_bench.Get<Pauses>().Of("one")?.By, Is.EqualTo("the operator"));

        Assert.That(await _bench.Get<Pauses>().ResumeBackendAsync("one", CancellationToken.None), Is.True);
        await Until.TrueAsync(() => pool.Available == 2, "both are available");
    }

    [Test]
    public async Task Fetch_DequeuesNothing_WhenNoBackendIsHealthy()
    {
        _healthy["one"] = _healthy["two"] = false;
        var row = await _bench.QueueAsync();
        var fetching = FetchAsync();
        await ProbedAsync();

        Assert.That(fetching.IsCompleted, Is.False);
        Assert.That(_bench.Enqueued(), Is.EqualTo(new[] { row.Id }), "visible in Hangfire's queue");

        _healthy["two"] = true;
        Assert.That((await fetching).Job.JobId, Is.EqualTo(row.HangfireJobId));
    }

    [Test]
    public async Task Fetch_DequeuesNoMoreJobs_ThanBackendsAreFree()
    {
        var rows = new[] { await _bench.QueueAsync(), await _bench.QueueAsync(), await _bench.QueueAsync() };
        await UpAsync(2);
        var (first, second) = (await FetchWithBackendAsync(), await FetchWithBackendAsync());
        var third = FetchAsync();

        Assert.That(third.IsCompleted, Is.False);
        Assert.That(_bench.Enqueued(), Is.EqualTo(new[] { rows[2].Id }));

        second.Dispose();
        Assert.That((await third).Job.JobId, Is.EqualTo(rows[2].HangfireJobId));
        first.Dispose();
    }

    [Test]
    public async Task Fetch_LosesNoJob_WhenTheLastBackendGoesDown()
    {
        await UpAsync(2);
        var fetching = FetchAsync();
        _healthy["one"] = _healthy["two"] = false;
        foreach (var _ in new[] { 1, 2 })
        {
            using var lease = _bench.Get<BackendPool>().TryTake(new BackendRequirements());
            lease!.ReportUnavailable("the cable");
        }

        var row = await _bench.QueueAsync();
        Assert.That(_bench.Enqueued(), Is.EqualTo(new[] { row.Id }));
        Assert.That(fetching.IsCompleted, Is.False);

        _healthy["one"] = true;
        Assert.That((await fetching).Job.JobId, Is.EqualTo(row.HangfireJobId));
    }

    [Test]
    public async Task Acquire_ReturnsNullAndTheJobKeepsItsPlace_WhenTheLastBackendWentDownAfterTheFetch()
    {
        var rows = new[] { await _bench.QueueAsync(), await _bench.QueueAsync() };
        await UpAsync(2);
        var fetched = await FetchAsync();
        _healthy["one"] = _healthy["two"] = false;
        foreach (var _ in new[] { 1, 2 })
        {
            using var lease = _bench.Get<BackendPool>().TryTake(new BackendRequirements());
            lease!.ReportUnavailable("the cable");
        }

        Assert.That(await fetched.AcquireAsync(new BackendRequirements(), CancellationToken.None), Is.Null);
        Assert.That(fetched.TryGiveBack("no backend is healthy"), Is.True);
        fetched.Dispose();

        Assert.That(
            (await _bench.Get<IQueueOrder>().GetAsync(CancellationToken.None)).InOrder, Is.EqualTo(rows.Select(row => row.HangfireJobId)));
        Assert.That(_bench.StateOf(rows[0]), Is.EqualTo(EnqueuedState.StateName));
        _healthy["one"] = true;
        Assert.That((await FetchAsync()).Job.JobId, Is.EqualTo(rows[0].HangfireJobId), "it is first again");
    }

    [Test]
    public async Task Fetch_DequeuesTheNextJob_WhenTheOneBeforeHasClaimedItsRow()
    {
        var rows = new[] { await _bench.QueueAsync(), await _bench.QueueAsync() };
        await UpAsync(2);
        var first = await FetchAsync();
        var fetching = FetchAsync();
        using var lease = await first.AcquireAsync(new BackendRequirements(), CancellationToken.None);

        Assert.That(fetching.IsCompleted, Is.False);
        Assert.That(_bench.Enqueued(), Is.EqualTo(new[] { rows[1].Id }), "it keeps its place");

        first.LeaveGate();
        Assert.That((await fetching).Job.JobId, Is.EqualTo(rows[1].HangfireJobId));
    }

    [Test]
    public async Task Fetch_DequeuesTheNextJob_WhenTheWorkerDropsTheOneBefore()
    {
        var rows = new[] { await _bench.QueueAsync(), await _bench.QueueAsync() };
        await UpAsync(2);
        var first = await FetchAsync();

        first.Dispose();
        first.Dispose();

        using var second = await FetchAsync();
        Assert.That(second.Job.JobId, Is.EqualTo(rows[1].HangfireJobId));
    }

    [Test]
    public async Task Fetch_DoesNotWait_ForAJobThatWaitsForItsOwnBackend()
    {
        await _bench.QueueAsync();
        await _bench.QueueAsync();
        await UpAsync(2);
        using var busy = _bench.Get<BackendPool>().TryTake(new BackendRequirements(Backends: ["one"]));
        var first = await FetchAsync();
        var waiting = first.AcquireAsync(new BackendRequirements(Backends: ["one"]), CancellationToken.None);

        using var second = await FetchWithBackendAsync();
        Assert.That((second.Backend.Name, waiting.IsCompleted), Is.EqualTo(("two", false)));

        busy!.Dispose();
        using var own = await waiting.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.That(own!.Backend.Name, Is.EqualTo("one"));
    }

    [Test]
    public async Task Acquire_ServesTheEarlierJobFirst_WhenItsBackendFailed()
    {
        await _bench.QueueAsync();
        await _bench.QueueAsync();
        await UpAsync(2);
        var first = await FetchAsync();
        var lost = await first.AcquireAsync(new BackendRequirements(), CancellationToken.None);
        first.LeaveGate();
        using var other = await FetchWithBackendAsync();
        _healthy[lost!.Backend.Name] = false;
        lost.ReportUnavailable("the cable");
        lost.Dispose();
        var again = first.AcquireAsync(new BackendRequirements(Except: [lost.Backend.Name]), CancellationToken.None);
        await _bench.QueueAsync();
        var third = FetchAsync();

        other.Dispose();

        using var lease = await again.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.That(lease!.Backend.Name, Is.EqualTo(other.Backend.Name));
        Assert.That(third.IsCompleted, Is.False, "there is no backend for it");
    }

    /// <summary>A task leaked with each fetch as long as a cancellation was only disposed of.</summary>
    [Test]
    public async Task Fetch_LeavesNoTaskBehind_AfterManyJobs()
    {
        await UpAsync(2);
        await _bench.QueueAsync();
        for (var i = 0; i < 1000; i++)
        {
            using var fetched = await FetchAsync();
            using var lease = await fetched.AcquireAsync(new BackendRequirements(), CancellationToken.None);
            _bench.Get<IQueueOrder>().Remove(fetched.Job.JobId);
            Assert.That(fetched.TryGiveBack("once more"), Is.True);
        }

        await Until.TrueAsync(() => _bench.Get<CapacityGatedFetch>().Watchers == 0, "nothing watches a slot");
    }

    [Test]
    public async Task Fetch_Ends_WhenTheWorkerStops()
    {
        _healthy["one"] = _healthy["two"] = false;
        var fetching = FetchAsync();

        await _stopping.CancelAsync();

        Assert.CatchAsync<OperationCanceledException>(() => fetching);
    }

    /// <summary>Dequeues a job that takes a backend and claims its row.</summary>
    private async Task<BackendReservation> FetchWithBackendAsync()
    {
        using var fetched = await FetchAsync();
        return (await fetched.AcquireAsync(new BackendRequirements(), CancellationToken.None))!; // One is free.
    }

    private Task<CapacityGatedFetch.FetchedRequest> FetchAsync() =>
        Task.Run(() => _bench.Get<CapacityGatedFetch>().Fetch(_connection, Queues, _stopping.Token));

    private Task UpAsync(int count)
    {
        _bench.Get<BackendPool>().StartMonitoring();
        return Until.TrueAsync(() => _bench.Get<BackendPool>().Available == count, $"{count} backends are healthy");
    }

    /// <summary>Every backend was probed and is unhealthy.</summary>
    private Task ProbedAsync()
    {
        _bench.Get<BackendPool>().StartMonitoring();
        return Until.TrueAsync(
            () => _bench.Get<BackendPool>().Status.All(backend => backend.Healthy == false), "all backends are known to be unhealthy");
    }
}
