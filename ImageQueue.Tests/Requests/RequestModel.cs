using Hangfire;
using Hangfire.Server;
using Hangfire.States;
using Hangfire.Storage;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Recovery;
using ImageQueue.Core.Requests;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.Time.Testing;
using NUnit.Framework;

namespace ImageQueue.Tests.Requests;

/// <summary>
/// Everything that can happen to requests, in random order, step by step with a simulated clock: submits, workers that fetch,
/// claim, generate, stop, fall silent and live after all, processes that die, sweeps, users and operators. No request is lost, none is
/// generated twice at the same time, none is cancelled without a command, and each is taken in the order that positions show.
/// </summary>
[FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
[Parallelizable(ParallelScope.All)]
public abstract class RequestModel
{
    private const string Nothing = "nothing waits";

    private static readonly string[] Queues = [ImageJobs.QueueName];

    private readonly List<Instance> _instances = [];
    private readonly Dictionary<long, Request> _requests = [];
    private readonly Queue<string> _log = new();
    private Random _random = null!; // All set by the test.
    private FakeTimeProvider _time = null!;
    private int _processes;

    /// <summary>How many processes work on the database at once.</summary>
    private protected abstract int Processes { get; }

    private protected abstract Task<Bench> OpenAsync(FakeTimeProvider time);

    /// <summary>Makes it so much later for the database.</summary>
    private protected abstract Task AgeAsync(IEnumerable<long> unfinished, TimeSpan by);

    private protected async Task RunAsync(int seed, int steps)
    {
        TestContext.Out.WriteLine($"seed {seed}");
        _random = new Random(seed);
        _time = new FakeTimeProvider(new DateTimeOffset(2026, 11, 1, 12, 0, 0, TimeSpan.Zero));
        for (var i = 0; i < Processes; i++)
            _instances.Add(await StartAsync());
        try
        {
            for (var step = 1; step <= steps; step++)
            {
                var what = await StepAsync(Any(_instances));
                _log.Enqueue($"{step} {what}");
                if (_log.Count > 60)
                    _log.Dequeue();
            }

            await FinishAsync();
        }
        catch (Exception e) when (e is not SuccessException)
        {
            TestContext.Out.WriteLine(string.Join('\n', _log));
            throw;
        }
        finally
        {
            foreach (var instance in _instances)
                await instance.DisposeAsync();
        }
    }

    private async Task<string> StepAsync(Instance at)
    {
        switch (_random.Next(100))
        {
            case < 20:
                return await SubmitAsync(at);
            case < 36:
                return await FetchAsync(at);
            case < 52 when at.Workers.Find(worker => worker.Claimed is null) is { } worker:
                return await ClaimAsync(at, worker);
            case < 60 when Generating(at) is { } worker:
                return $"progress {await BeatAsync(at, worker)}";
            case < 72 when Generating(at) is { } worker:
                return await EndAsync(at, worker, complete: _random.Next(8) > 0);
            case < 75 when at.Workers.Count > 0:
                return await StopAsync(at, Any(at.Workers));
            case < 76 when _random.Next(2) == 0:
                return await CrashAsync(at);
            case < 78 when Generating(at) is { } worker:
                worker.IsSilent = true;
                worker.Registration?.Dispose(); // Its process believes it dead as well.
                return $"silence {worker.MessageId}";
            case < 80 when at.Workers.Find(worker => worker.IsSilent) is { } worker:
                worker.IsSilent = false;
                return $"wakes {await BeatAsync(at, worker)}";
            case < 87:
                return await AdvanceAsync(TimeSpan.FromSeconds(_random.Next(1, 9)));
            case < 90:
                return $"sweep {await at.Bench.Get<Sweep>().SweepAsync(CancellationToken.None)}";
            case < 93 when _requests.Count > 0:
                return await CancelAsync(at, Any(_requests.Keys.TakeLast(40).ToList()));
            case < 95 when _requests.Count > 0:
                return await RetryAsync(at, Any(_requests.Keys.TakeLast(40).ToList()));
            case < 97 when _requests.Count > 0:
                return await OperateAsync(at, Any(_requests.Keys.TakeLast(40).ToList()));
            default:
                await at.Bench.Get<DashboardReconciler>().ReconcileAsync(CancellationToken.None);
                return "follow";
        }
    }

    private async Task<string> SubmitAsync(Instance at)
    {
        var request = new ImageRequest { ConversationId = "c", Username = "ayşe", Prompt = "bir gül", Width = 64, Height = 64 };
        var submitted = await at.Bench.Get<SubmitImageRequest>().SubmitAsync(request, CancellationToken.None);
        _requests[submitted.Message.Id] = new Request();
        return $"submit {submitted.Message.Id}";
    }

    private async Task<string> FetchAsync(Instance at)
    {
        if (at.Workers.Count >= 3)
            return "no worker is free";
        if (at.Order is SqlServerQueueOrder shared)
            await shared.ReadNowAsync();
        var snapshot = await at.Order.GetAsync(CancellationToken.None);
        var taken = _instances.SelectMany(instance => instance.Workers)
            .Where(worker => worker.Claimed is null)
            .Select(worker => worker.Job.JobId)
            .ToHashSet();
        if (snapshot.InOrder.FirstOrDefault(job => !taken.Contains(job)) is not { } first)
            return Nothing;
        while (true)
        {
            using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(20));
            var job = at.Order.Fetch(at.Connection, Queues, patience.Token);
            if (at.Bench.Jobs.Find(job.JobId)?.Name is not ("Enqueued" or "Scheduled" or "Processing"))
            {
                job.RemoveFromQueue(); // A ghost: Hangfire's worker passes over it.
                job.Dispose();
                continue;
            }

            if (at.Bench.Jobs.Find(job.JobId)!.Name == EnqueuedState.StateName)
                Assert.That(job.JobId, Is.EqualTo(first), "the first in line is taken first");
            at.Bench.Client.ChangeState(job.JobId, new WorkerState(at.Server), null);
            var worker = new Worker(job, await MessageOfAsync(at, job.JobId));
            at.Workers.Add(worker);
            return $"fetch {job.JobId} of {worker.MessageId}";
        }
    }

    private async Task<string> ClaimAsync(Instance at, Worker worker)
    {
        var claim = await at.Bench.Store.ClaimAsync(worker.MessageId, worker.Job.JobId, "forge", null, CancellationToken.None);
        if (!claim.Applied)
        {
            // As JobStateReconciler has it: the row is over, or another worker's, or its job has a second entry.
            var isOver = claim.Message is not null
                && claim.Message.Status is MessageStatus.Cancelled or MessageStatus.Complete or MessageStatus.Error;
            var command = at.Bench.Get<DashboardCommands>().Find(DashboardCommandKind.Retry, worker.Job.JobId);
            if (isOver && command is not null && claim.Message!.Status is MessageStatus.Cancelled or MessageStatus.Error)
            {
                await at.Bench.Get<DashboardReconciler>().RetryAsync(worker.Job.JobId, by: null, CancellationToken.None);
                at.Bench.Get<DashboardCommands>().Close(command!);
                _requests[worker.MessageId].IsCancelled = false;
                return $"operator's retry of {worker.MessageId} is granted by its worker";
            }

            if (isOver || claim.Message?.HangfireJobId != worker.Job.JobId)
            {
                at.Bench.Jobs.Delete(worker.Job.JobId, "nothing to do");
                at.Order.Remove(worker.Job.JobId);
            }

            Drop(at, worker);
            return $"claim of {worker.MessageId} is refused: {claim.Message?.Status}";
        }

        var others = _instances.SelectMany(instance => instance.Workers).Where(other => other != worker
            && other.MessageId == worker.MessageId
            && other.Claimed is not null
            && !other.IsSilent).ToList();
        Assert.That(others, Is.Empty, $"{worker.MessageId} is being generated already");
        worker.Claimed = claim.Message;
        worker.Registration = at.Bench.Get<RunningJobs>().Register(worker.MessageId, worker.Stop);
        at.Order.Remove(worker.Job.JobId);
        return $"claim {worker.MessageId}, attempt {claim.Message!.Attempt}";
    }

    /// <summary>What the pump does, and what a worker does when it learns that the job or the row is not its own any more.</summary>
    private static async Task<string> BeatAsync(Instance at, Worker worker)
    {
        var saved = await at.Bench.Store.SaveProgressAsync(worker.MessageId, worker.Claimed!.Attempt, 50, CancellationToken.None);
        var state = at.Bench.Jobs.Find(worker.Job.JobId);
        if (saved.Applied && state?.Name == ProcessingState.StateName && state.Data["ServerId"] == at.Server)
            return $"{worker.MessageId}";
        if (saved.Applied && state?.Name == DeletedState.StateName && !ImageJobs.IsOurs(state.Reason))
            await at.Bench.Get<DashboardReconciler>().CancelAsync(worker.Job.JobId, CancellationToken.None);
        else if (saved.Applied)
            await at.Bench.Store.RequeueAsync(worker.MessageId, worker.Claimed.Attempt, AttemptCharge.None, CancellationToken.None);
        Drop(at, worker);
        return $"{worker.MessageId}, which is not its any more";
    }

    private async Task<string> EndAsync(Instance at, Worker worker, bool complete)
    {
        var (id, attempt) = (worker.MessageId, worker.Claimed!.Attempt);
        var ended = complete
            ? await at.Bench.Store.CompleteAsync(
                id, attempt, "x", "/u", null, new ImageResult(1, 1, 1, "m", TimeSpan.FromSeconds(1)), CancellationToken.None)
            : await at.Bench.Store.FailAsync(id, attempt, "x", new RequestFailure(ErrorCodes.BackendFailed, "x"), CancellationToken.None);
        if (ended.Applied)
        {
            _requests[id].Ended = complete ? MessageStatus.Complete : MessageStatus.Error;
            at.Bench.Client.ChangeState(
                worker.Job.JobId,
                complete ? new SucceededState(null, 0, 0) : new FailedState(new ImageRequestFailedException("x")),
                ProcessingState.StateName);
        }

        Drop(at, worker);
        return $"{(complete ? "complete" : "fail")} {id}: {ended.Applied}";
    }

    /// <summary>One worker stops as at a shutdown, or has no Forge any more.</summary>
    private static async Task<string> StopAsync(Instance at, Worker worker)
    {
        if (worker.IsSilent)
            return "a silent worker does not stop";
        if (worker.Claimed is { } claimed
            && !(await at.Bench.Store.RequeueAsync(worker.MessageId, claimed.Attempt, AttemptCharge.None, CancellationToken.None)).Applied)
        {
            Drop(at, worker);
            return $"stop of {worker.MessageId}, which was not its any more";
        }

        if (at.Bench.Jobs.Find(worker.Job.JobId)?.Name == ProcessingState.StateName)
            at.Bench.Jobs.TryGiveBack(worker.Job.JobId, worker.Job, "a stop");
        Release(at, worker);
        return $"stop {worker.MessageId}";
    }

    private async Task<string> CrashAsync(Instance at)
    {
        var lost = at.Workers.Select(worker => worker.MessageId).ToList();
        at.Workers.ForEach(worker => worker.Registration?.Dispose());
        _instances.Remove(at);
        await at.DieAsync();
        _instances.Add(await StartAsync());
        return $"crash with {string.Join(' ', lost)}";
    }

    private async Task<string> AdvanceAsync(TimeSpan by)
    {
        await AgeAsync(_requests.Keys, by);
        _time.Advance(by);
        foreach (var at in _instances)
        {
            foreach (var worker in at.Workers.Where(worker => worker is { Claimed: not null, IsSilent: false }).ToList())
                await BeatAsync(at, worker);
        }

        return $"{by.TotalSeconds} s later";
    }

    private async Task<string> CancelAsync(Instance at, long id)
    {
        var cancelled = await at.Bench.Get<CancelImageRequest>().CancelAsync(id, CancellationToken.None);
        if (cancelled.Applied)
            _requests[id].IsCancelled = true;
        return $"cancel {id}: {cancelled.Applied}";
    }

    private async Task<string> RetryAsync(Instance at, long id)
    {
        var retried = await at.Bench.Get<RetryImageRequest>().RetryAsync(id, CancellationToken.None);
        if (retried.Applied)
            (_requests[id].IsCancelled, _requests[id].Ended) = (false, null);
        return $"retry {id}: {retried.Applied}";
    }

    private async Task<string> OperateAsync(Instance at, long id)
    {
        if (await at.Bench.Store.FindAsync(id, CancellationToken.None) is not { HangfireJobId: { } job }
            || at.Bench.Jobs.Find(job) is not { } state)
        {
            return "an operator finds no job";
        }

        if (state.Name is "Failed" or "Deleted" or "Processing")
        {
            at.Bench.Client.ChangeState(job, new EnqueuedState(ImageJobs.QueueName) { Reason = "Triggered via Dashboard UI" }, state.Name);
            // Whether it reaches the row before the process dies is open; a cancel stays one until then.
            _requests[id].MayBeRetried = true;
            return $"an operator requeues {id}, which was {state.Name}";
        }

        if (state.Name is not "Enqueued")
            return $"an operator leaves {id} alone, which is {state.Name}";
        at.Bench.Client.ChangeState(job, new DeletedState { Reason = "Triggered via Dashboard UI" }, state.Name);
        _requests[id].IsCancelled = true;
        return $"an operator deletes {id}";
    }

    /// <summary>
    /// Nothing new comes, and everything that waits is generated: then every request has come to its end, and to a good one.
    /// </summary>
    private async Task FinishAsync()
    {
        for (var round = 0; round < 4000; round++)
        {
            foreach (var at in _instances.ToList())
            {
                if (round % 20 == 0)
                {
                    await at.Bench.Get<DashboardReconciler>().ReconcileAsync(CancellationToken.None);
                    await at.Bench.Get<Sweep>().SweepAsync(CancellationToken.None);
                    foreach (var silent in at.Workers.Where(worker => worker.IsSilent).ToList())
                        Drop(at, silent);
                }

                foreach (var worker in at.Workers.ToList())
                    _log.Enqueue(worker.Claimed is null ? await ClaimAsync(at, worker) : await EndAsync(at, worker, complete: true));
                if (await FetchAsync(at) is { } fetched && fetched != Nothing)
                    _log.Enqueue(fetched);
            }

            if (round % 20 == 19)
                await AdvanceAsync(TimeSpan.FromSeconds(8));
            if (round % 60 == 59 && await AllEndedAsync())
                break;
        }

        while (_log.Count > 60)
            _log.Dequeue();
        var ends = new Dictionary<string, int>();
        foreach (var (id, request) in _requests)
        {
            var message = (await _instances[0].Bench.Store.FindAsync(id, CancellationToken.None))!;
            ends[message.Status!] = ends.GetValueOrDefault(message.Status!) + 1;
            Assert.That(message.Status, Is.AnyOf(MessageStatus.Complete, MessageStatus.Error, MessageStatus.Cancelled), $"{id} is lost");
            if (message.Status == MessageStatus.Cancelled)
                Assert.That(request.IsCancelled, Is.True, $"{id} was cancelled without a command");
            if (message.Status == MessageStatus.Error)
            {
                Assert.That(
                    request.Ended == MessageStatus.Error || message.ErrorCode == ErrorCodes.Abandoned || request.MayBeRetried,
                    Is.True,
                    $"{id} ended in error without a failure: {message.ErrorCode}");
            }
        }

        TestContext.Out.WriteLine(string.Join(", ", ends.Select(end => $"{end.Value} {end.Key}")));
    }

    private async Task<bool> AllEndedAsync() =>
        _instances.TrueForAll(at => at.Workers.Count == 0)
        && await _instances[0].Bench.Store.CountAsync(MessageStatus.Queued, CancellationToken.None) == 0
        && await _instances[0].Bench.Store.CountAsync(MessageStatus.Processing, CancellationToken.None) == 0;

    private async Task<Instance> StartAsync()
    {
        var bench = await OpenAsync(_time);
        var instance = new Instance(bench, FormattableString.Invariant($"server:{++_processes}"));
        bench.Get<QueueRebuildState>().IsUnderWay = bench.Jobs.AreVolatile;
        await bench.Get<QueueRebuild>().RebuildAsync(CancellationToken.None);
        return instance;
    }

    private static async Task<long> MessageOfAsync(Instance at, string job)
    {
        await Task.CompletedTask;
        return (long)at.Connection.GetJobData(job).Job.Args[0];
    }

    private static void Drop(Instance at, Worker worker)
    {
        worker.Job.RemoveFromQueue();
        Release(at, worker);
    }

    private static void Release(Instance at, Worker worker)
    {
        worker.Registration?.Dispose();
        worker.Job.Dispose();
        at.Workers.Remove(worker);
    }

    private static Worker? Generating(Instance at) => at.Workers.Find(worker => worker is { Claimed: not null, IsSilent: false });

    private T Any<T>(List<T> items) => items[_random.Next(items.Count)];

    private sealed class Request
    {
        public bool IsCancelled { get; set; }

        public bool MayBeRetried { get; set; }

        public string? Ended { get; set; }
    }

    private sealed class Worker(IFetchedJob job, long messageId)
    {
        public IFetchedJob Job => job;

        public long MessageId => messageId;

        public CancellationTokenSource Stop { get; } = new();

        public Message? Claimed { get; set; }

        public IDisposable? Registration { get; set; }

        public bool IsSilent { get; set; }
    }

    private sealed class Instance : IAsyncDisposable
    {
        public Instance(Bench bench, string server)
        {
            (Bench, Server) = (bench, server);
            Order = bench.Get<IQueueOrder>();
            Connection = bench.Get<JobStorage>().GetConnection();
            Connection.AnnounceServer(server, new ServerContext { Queues = Queues, WorkerCount = 3 });
        }

        public Bench Bench { get; }

        public string Server { get; }

        public IQueueOrder Order { get; }

        public IStorageConnection Connection { get; }

        public List<Worker> Workers { get; } = [];

        /// <summary>As by kill -9; Hangfire's watchdog has found out.</summary>
        public async Task DieAsync()
        {
            Connection.RemoveServer(Server);
            await DisposeAsync();
        }

        public async ValueTask DisposeAsync()
        {
            Connection.Dispose();
            await Bench.DisposeAsync();
        }
    }

    private sealed class WorkerState(string server) : IState
    {
        public string Name => ProcessingState.StateName;

        public string Reason => "";

        public bool IsFinal => false;

        public bool IgnoreJobLoadException => false;

        public Dictionary<string, string> SerializeData() => new() { ["ServerId"] = server, ["WorkerId"] = "1" };
    }
}

/// <summary>One process at a time on its file, which dies and comes back.</summary>
[Category(Categories.Store)]
internal sealed class SqliteRequestModelTests : RequestModel, IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private protected override int Processes => 1;

    public void Dispose() => _folder.Dispose();

    [TestCase(20261126)]
    [TestCase(7)]
    public Task Requests_AreNeitherLostNorGeneratedTwice_WhateverHappens(int seed) => RunAsync(seed, 5000);

    private protected override Task<Bench> OpenAsync(FakeTimeProvider time) =>
        Bench.CreateAsync(time, new() { ["Queue:MaxPendingPerUser"] = "100000", ["Queue:MaxWorkPerUser"] = "100000000" }, folder: _folder);

    private protected override Task AgeAsync(IEnumerable<long> unfinished, TimeSpan by) => Task.CompletedTask; // Its clock is the test's.
}

/// <summary>Two processes on one database, each of which dies and comes back.</summary>
[SqlServerFixture]
[Category(Categories.Store)]
internal sealed class SqlServerRequestModelTests : RequestModel
{
    private SqlServerStoreDatabase _database = null!; // Set before each test.

    private protected override int Processes => 2;

    [SetUp]
    public async Task SetUp() => _database = await SqlServerStoreDatabase.CreateAsync();

    [TearDown]
    public async Task TearDown()
    {
        if (_database is not null)
            await _database.DisposeAsync();
    }

    [TestCase(20261126)]
    public Task Requests_AreNeitherLostNorGeneratedTwice_WhateverHappens(int seed) => RunAsync(seed, 10_000);

    private protected override Task<Bench> OpenAsync(FakeTimeProvider time) => Bench.CreateAsync(time, new()
    {
        ["Storage:Provider"] = "SqlServer",
        ["ConnectionStrings:ImageQueue"] = _database.ConnectionString,
        ["Queue:MaxPendingPerUser"] = "100000",
        ["Queue:MaxWorkPerUser"] = "100000000",
    });

    private protected override async Task AgeAsync(IEnumerable<long> unfinished, TimeSpan by) => await _database.ExecuteAsync(
        "UPDATE dbo.messages SET heartbeat_at = DATEADD(millisecond, -@by, heartbeat_at), queued_at = DATEADD(millisecond, -@by, "
            + "queued_at) WHERE queued_at IS NOT NULL;",
        new { by = (int)by.TotalMilliseconds });
}
