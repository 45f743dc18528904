using Hangfire;
using Hangfire.Server;
using Hangfire.States;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Recovery;
using ImageQueue.Core.Requests;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.Time.Testing;
using NUnit.Framework;

namespace ImageQueue.Tests.Recovery;

[Category(Categories.Store)]
internal sealed class SweepTests
{
    private FakeTimeProvider _time = null!; // Both set before each test.
    private Bench _bench = null!;

    [SetUp]
    public async Task SetUp()
    {
        _time = new FakeTimeProvider(new DateTimeOffset(2026, 11, 1, 12, 0, 0, TimeSpan.Zero));
        _bench = await Bench.CreateAsync(_time);
    }

    [TearDown]
    public async Task TearDown() => await _bench.DisposeAsync();

    [Test]
    public async Task Sweep_DoesNothing_WhenNoRequestIsStuck()
    {
        var queued = await _bench.QueueAsync();
        var processing = await _bench.ClaimAsync();
        var submitting = await _bench.AddRowAsync();

        Assert.That(await SweepAsync(), Is.Zero);

        Assert.Multiple(async () =>
        {
            Assert.That(await _bench.FindAsync(queued), Is.EqualTo(queued).Using<Message>(SameRow));
            Assert.That(await _bench.FindAsync(processing), Is.EqualTo(processing).Using<Message>(SameRow));
            Assert.That(await _bench.FindAsync(submitting), Is.EqualTo(submitting).Using<Message>(SameRow));
            Assert.That(_bench.Log.Of(LogLevel.Warning), Is.Empty);
        });
    }

    [Test]
    public async Task Queued_IsEnqueued_WhenItHasHadNoJobForTooLong()
    {
        var row = await _bench.AddRowAsync();
        _time.Advance(Sweep.EnqueueGrace + TimeSpan.FromSeconds(1));

        Assert.That(await SweepAsync(), Is.EqualTo(1));

        Assert.That(_bench.Enqueued(), Is.EqualTo(new[] { row.Id }));
        Assert.That(_bench.StateOf(await _bench.FindAsync(row)), Is.EqualTo(EnqueuedState.StateName));
        Assert.That(await SweepAsync(), Is.Zero, "put right twice");
    }

    [TestCase("gone")]
    [TestCase("succeeded")]
    public async Task Queued_GetsAnotherJob_WhenItsOwnWillNotRun(string what)
    {
        var row = await _bench.QueueAsync();
        if (what == "gone")
        {
            row = Bench.Applied(
                await _bench.Store.AttachJobAsync(row.Id, Guid.NewGuid().ToString(), row.HangfireJobId, CancellationToken.None));
        }
        else
        {
            _bench.SetState(row.HangfireJobId!, new SucceededState(null, 0, 0));
        }

        Assert.That(await SweepAsync(), Is.EqualTo(1));

        var now = await _bench.FindAsync(row);
        Assert.That(now.Status, Is.EqualTo(MessageStatus.Queued));
        Assert.That(now.HangfireJobId, Is.Not.EqualTo(row.HangfireJobId));
        Assert.That(_bench.StateOf(now), Is.EqualTo(EnqueuedState.StateName));
        Assert.That(await SweepAsync(), Is.Zero, "put right twice");
    }

    [TestCase(MessageStatus.Queued)]
    [TestCase(MessageStatus.Processing)]
    public async Task Request_IsCancelled_WhenItsJobWasDeleted(string status)
    {
        var row = status == MessageStatus.Queued ? await _bench.QueueAsync() : await _bench.ClaimAsync();
        _bench.SetState(row.HangfireJobId!, new DeletedState());
        _time.Advance(Heartbeat.SuspectAfter + TimeSpan.FromSeconds(1));

        Assert.That(await SweepAsync(), Is.EqualTo(1));

        Assert.That((await _bench.FindAsync(row)).Status, Is.EqualTo(MessageStatus.Cancelled));
        Assert.That(await SweepAsync(), Is.Zero, "put right twice");
    }

    /// <summary>The sweep comes between an operator's act and the reconciler's look, a second later at most.</summary>
    [Test]
    public async Task Cancelled_NamesTheOperator_WhenTheSweepIsFirst()
    {
        var row = await _bench.QueueAsync();
        Actor.Current = "operator Ayla";
        _bench.SetState(row.HangfireJobId!, new DeletedState());
        Actor.Current = null;

        Assert.That(await SweepAsync(), Is.EqualTo(1));

        var events = await _bench.Get<IOperatorStore>().ReadEventsAsync([row.Id], CancellationToken.None);
        Assert.That(events[row.Id].Select(step => (step.What, step.By)).Last(), Is.EqualTo((RequestEventKinds.Cancelled, "operator Ayla")));
    }

    [Test]
    public async Task Queued_EndsInError_WhenHangfireCouldNotRunItsJob()
    {
        var row = await _bench.QueueAsync();
        _bench.SetState(row.HangfireJobId!, new FailedState(new TypeLoadException()));

        Assert.That(await SweepAsync(), Is.EqualTo(1));

        var now = await _bench.FindAsync(row);
        Assert.That((now.Status, now.Error), Is.EqualTo((MessageStatus.Error, _bench.Get<MessageTexts>().Unexpected)));
        Assert.That(await SweepAsync(), Is.Zero, "put right twice");
    }

    [Test]
    public async Task Processing_IsNotRepaired_WhileItsHeartbeatIsRecent()
    {
        var row = await _bench.ClaimAsync();
        _time.Advance(Heartbeat.SuspectAfter - TimeSpan.FromSeconds(1));

        Assert.That(await SweepAsync(), Is.Zero);

        Assert.That((await _bench.FindAsync(row)).Attempt, Is.EqualTo(1));
    }

    [Test]
    public async Task Processing_IsNotRepaired_WhileThisProcessGeneratesIt()
    {
        var row = await _bench.ClaimAsync();
        using var source = new CancellationTokenSource();
        using var running = _bench.Get<RunningJobs>().Register(row.Id, source);
        _time.Advance(TimeSpan.FromHours(1));

        Assert.That(await SweepAsync(), Is.Zero);
    }

    [Test]
    public async Task Processing_IsRequeued_WhenItsServerIsGone()
    {
        var row = await _bench.ClaimAsync();
        _time.Advance(Heartbeat.SuspectAfter + TimeSpan.FromSeconds(1));

        Assert.That(await SweepAsync(), Is.EqualTo(1));

        var now = await _bench.FindAsync(row);
        Assert.Multiple(() =>
        {
            Assert.That((now.Status, now.Attempt, now.Failures, now.QueuedAt), Is.EqualTo((MessageStatus.Queued, 1, 1, row.QueuedAt)));
            Assert.That(now.HangfireJobId, Is.EqualTo(row.HangfireJobId), "its job is back in its place");
            Assert.That(_bench.StateOf(now), Is.EqualTo(EnqueuedState.StateName), "who generates it after all is stopped by that");
            Assert.That(_bench.Log.ToString(), Does.Contain("its Hangfire server died"));
        });
        Assert.That(await SweepAsync(), Is.Zero, "put right twice");
    }

    /// <summary>Seen before: position 201 of 201, stored as 1.</summary>
    [Test]
    public async Task Processing_KeepsItsPlace_WhenItsServerDied()
    {
        var dead = await _bench.QueueAsync();
        var waiting = new[] { await _bench.QueueAsync(), await _bench.QueueAsync() };
        using var connection = _bench.Get<JobStorage>().GetConnection();
        using var fetched = _bench.Get<IQueueOrder>().Fetch(connection, [ImageJobs.QueueName], CancellationToken.None);
        Assert.That(fetched.JobId, Is.EqualTo(dead.HangfireJobId));
        await _bench.ClaimAsync(dead);
        _bench.Get<IQueueOrder>().Remove(dead.HangfireJobId!);
        _time.Advance(Heartbeat.SuspectAfter + TimeSpan.FromSeconds(1));

        Assert.That(await SweepAsync(), Is.EqualTo(1));

        var order = await _bench.Get<IQueueOrder>().GetAsync(CancellationToken.None);
        Assert.That(order.InOrder, Is.EqualTo(waiting.Prepend(dead).Select(row => row.HangfireJobId)));
    }

    /// <summary>A machine that is cut off is no fault of what it generates.</summary>
    [Test]
    public async Task Processing_IsNotCharged_WhenItsWorkerIsOnlySilent()
    {
        using var connection = _bench.Get<JobStorage>().GetConnection();
        // Bench's worker; it is there after all.
        connection.AnnounceServer("gone:1", new ServerContext { Queues = [ImageJobs.QueueName], WorkerCount = 1 });
        var row = await _bench.ClaimAsync();
        _time.Advance(Heartbeat.SuspectAfter + TimeSpan.FromSeconds(1));
        Assert.That(await SweepAsync(), Is.Zero, "there is nothing against it but silence");
        _time.Advance(Heartbeat.DeadAfter);

        Assert.That(await SweepAsync(), Is.EqualTo(1));

        var now = await _bench.FindAsync(row);
        Assert.That((now.Status, now.Failures), Is.EqualTo((MessageStatus.Queued, 0)));
    }

    /// <summary>
    /// Seen before: the old worker claimed while the sweep made another job, and the deletion of its own was read as a cancel.
    /// </summary>
    [Test]
    public async Task Request_IsNotCancelled_WhenItsWorkerClaimsItDuringTheSweep()
    {
        Message? row = null;
        await TearDown();
        _bench =
            await Bench.CreateAsync(_time, wrap: store => FaultyStore.Around(store).After(nameof(IMessageStore.RequeueAsync), async () =>
            Bench.Applied(await store.ClaimAsync(row!.Id, row.HangfireJobId!, null, null, CancellationToken.None))).Store);
        row = await _bench.ClaimAsync();
        _time.Advance(Heartbeat.SuspectAfter + TimeSpan.FromSeconds(1));

        await SweepAsync();
        await _bench.Get<DashboardReconciler>().ReconcileAsync(CancellationToken.None);
        _time.Advance(Heartbeat.SuspectAfter - TimeSpan.FromSeconds(1));
        await SweepAsync();

        var now = await _bench.FindAsync(row);
        Assert.That((now.Status, now.Attempt), Is.EqualTo((MessageStatus.Processing, 2)));
    }

    /// <summary>Our own deletions are never a user's cancel.</summary>
    [TestCase(MessageStatus.Queued)]
    [TestCase(MessageStatus.Processing)]
    public async Task Request_IsRequeued_WhenImageQueueDeletedItsJob(string status)
    {
        var row = status == MessageStatus.Queued ? await _bench.QueueAsync() : await _bench.ClaimAsync();
        _bench.Jobs.Delete(row.HangfireJobId!, "it had nothing to do");
        _time.Advance(Heartbeat.SuspectAfter + TimeSpan.FromSeconds(1));

        Assert.That(await SweepAsync(), Is.EqualTo(1));

        var now = await _bench.FindAsync(row);
        Assert.That((now.Status, _bench.StateOf(now)), Is.EqualTo((MessageStatus.Queued, EnqueuedState.StateName)));
    }

    [Test]
    public async Task Processing_IsRequeued_WhenItsJobFinishedWithoutIt()
    {
        var row = await _bench.ClaimAsync();
        _bench.SetState(row.HangfireJobId!, new FailedState(new StoreUnavailableException("away", new IOException())));
        _time.Advance(Heartbeat.SuspectAfter + TimeSpan.FromSeconds(1));

        Assert.That(await SweepAsync(), Is.EqualTo(1));

        Assert.That((await _bench.FindAsync(row)).Status, Is.EqualTo(MessageStatus.Queued));
    }

    [Test]
    public async Task Processing_IsRequeued_WhenItsJobWasRequeuedAndItsWorkerIsSilent()
    {
        var row = await _bench.ClaimAsync();
        _bench.SetState(row.HangfireJobId!, new EnqueuedState("images"));
        _time.Advance(Heartbeat.DeadAfter + TimeSpan.FromSeconds(1));

        Assert.That(await SweepAsync(), Is.EqualTo(1));

        var now = await _bench.FindAsync(row);
        Assert.That((now.Status, now.HangfireJobId), Is.EqualTo((MessageStatus.Queued, row.HangfireJobId)));
    }

    [Test]
    public async Task Processing_EndsInError_WhenItWasAbandonedTooOften()
    {
        var attempts = _bench.Get<IOptions<ForgeOptions>>().Value.MaxAttempts;
        var row = await _bench.QueueAsync();
        for (var attempt = 1; attempt <= attempts; attempt++)
        {
            row = await _bench.ClaimAsync(row);
            _time.Advance(Heartbeat.DeadAfter + TimeSpan.FromSeconds(1));
            Assert.That(await SweepAsync(), Is.EqualTo(1));
            row = await _bench.FindAsync(row);
        }

        Assert.Multiple(() =>
        {
            Assert.That((row.Status, row.Error), Is.EqualTo((MessageStatus.Error, _bench.Get<MessageTexts>().Abandoned(attempts))));
            Assert.That(_bench.StateOf(row), Is.EqualTo(FailedState.StateName));
            Assert.That(_bench.Enqueued(), Is.Empty);
        });
    }

    [Test]
    public async Task AbandonedWorker_WritesNothing_WhenItLivesAfterAll()
    {
        var stale = await _bench.ClaimAsync();
        _time.Advance(Heartbeat.DeadAfter + TimeSpan.FromSeconds(1));
        await SweepAsync();
        var winner = Bench.Applied(
            await _bench.Store.ClaimAsync(stale.Id, (await _bench.FindAsync(stale)).HangfireJobId!, null, null, CancellationToken.None));

        var store = _bench.Store;
        Transition[] late =
        [
            await store.SaveProgressAsync(stale.Id, stale.Attempt, 50, CancellationToken.None),
            await store.FailAsync(stale.Id, stale.Attempt, "x", new RequestFailure(ErrorCodes.BackendFailed, "x"), CancellationToken.None),
            await store.RequeueAsync(stale.Id, stale.Attempt, AttemptCharge.None, CancellationToken.None),
            await store.CompleteAsync(
                stale.Id, stale.Attempt, "x", "x", null, new ImageResult(1, 1, 1, "x", TimeSpan.Zero), CancellationToken.None),
        ];

        Assert.That(late.Select(transition => transition.Applied), Is.All.False);
        Assert.That(await _bench.FindAsync(stale), Is.EqualTo(winner).Using<Message>(SameRow));
    }

    [Test]
    public async Task Sweeps_RepairOnce_WhenTheyRunTogether()
    {
        var jobless = new List<Message>();
        for (var i = 0; i < 20; i++)
            jobless.Add(await _bench.AddRowAsync());
        var stale = new List<Message>();
        for (var i = 0; i < 5; i++)
            stale.Add(await _bench.ClaimAsync());
        _time.Advance(Heartbeat.DeadAfter + TimeSpan.FromSeconds(1));

        var repaired = await Task.WhenAll(Enumerable.Range(0, 6).Select(_ => Task.Run(SweepAsync)));

        Assert.Multiple(async () =>
        {
            Assert.That(repaired.Sum(), Is.EqualTo(25));
            Assert.That(_bench.Enqueued(), Is.EquivalentTo(jobless.Concat(stale).Select(row => row.Id)), "each has one job that will run");
            foreach (var row in jobless.Concat(stale))
                Assert.That(_bench.StateOf(await _bench.FindAsync(row)), Is.EqualTo(EnqueuedState.StateName));
        });
    }

    /// <summary>
    /// Seen before: 19,546 commits for 20,000 rows; a position of 1403 where 20,001 was true; blind to the queue's limit.
    /// </summary>
    [Test]
    public async Task Rebuild_WritesPageByPage_AndNewRequestsHaveTheirPositionsMeanwhile()
    {
        const int rows = 4500;
        await TearDown();
        FaultyStore observed = null!; // Set by the wrap.
        _bench =
            await Bench.CreateAsync(_time,
                new()
                {
                    ["Queue:MaxLength"] = $"{rows + 2}",
                    ["Queue:MaxPendingPerUser"] = "100000",
                    ["Queue:MaxWorkPerUser"] = "1000000000",
                }, store =>
        {
            observed = FaultyStore.Around(store);
            return observed.Store;
        });
        for (var i = 0; i < rows; i++)
            await _bench.AddRowAsync();
        _bench.Get<QueueRebuildState>().IsUnderWay = true;

        var newcomer = await SubmitAsync();
        Assert.That(newcomer.QueuePosition, Is.EqualTo(rows + 1));
        Assert.That(
            await _bench.Get<QueuePositions>().CountAsync(CancellationToken.None), Is.EqualTo(rows).Within(1), "a second old at most");
        _time.Advance(TimeSpan.FromSeconds(2));
        await SubmitAsync();
        _time.Advance(TimeSpan.FromSeconds(2));
        Assert.That(async () => await SubmitAsync(), Throws.TypeOf<TooManyPendingException>(), "the limit holds");

        await _bench.Get<QueueRebuild>().RebuildAsync(CancellationToken.None);

        Assert.That(observed.CallsOf(nameof(IMessageStore.AttachJobsAsync)), Is.LessThanOrEqualTo(4), "2,000 rows a commit");
        Assert.That(observed.CallsOf(nameof(IMessageStore.AttachJobAsync)), Is.Zero);
        Assert.That(_bench.Enqueued(), Has.Length.EqualTo(rows + 2));

        async Task<Message> SubmitAsync() => (await _bench.Get<SubmitImageRequest>().SubmitAsync(
            new ImageRequest { ConversationId = "c", Username = "ayşe", Prompt = "bir gül", Width = 64, Height = 64 },
            CancellationToken.None)).Message;
    }

    [Test]
    public async Task Rebuild_EnqueuesInOrder_ProcessingRequestsFirst()
    {
        var rows = new List<Message>();
        for (var i = 0; i < 450; i++)
        {
            rows.Add(await _bench.AddRowAsync());
            _time.Advance(TimeSpan.FromMilliseconds(10));
        }

        Bench.Applied(await _bench.Store.ClaimAsync(rows[300].Id, "of a dead process", null, null, CancellationToken.None));
        Bench.Applied(await _bench.Store.AttachJobAsync(rows[5].Id, "also of a dead process", null, CancellationToken.None));
        Bench.Applied(await _bench.Store.CancelAsync(rows[6].Id, "x", CancellationToken.None));
        _bench.Get<QueueRebuildState>().IsUnderWay = true;

        var watch = System.Diagnostics.Stopwatch.StartNew();
        await _bench.Get<QueueRebuild>().RebuildAsync(CancellationToken.None);
        TestContext.Out.WriteLine(watch.Elapsed);

        long[] expected = [rows[300].Id, .. rows.Where((_, i) => i is not (300 or 6)).Select(row => row.Id)];
        Assert.That(_bench.Enqueued(), Is.EqualTo(expected));
        foreach (var row in rows.Where((_, i) => i != 6))
            Assert.That(_bench.StateOf(await _bench.FindAsync(row)), Is.EqualTo(EnqueuedState.StateName));
    }

    [Test]
    [Explicit("Takes half a minute. Prints what a sweep costs when there is nothing to do.")]
    public async Task Sweep_IsCheap_WhenManyWaitAndNoneIsStuck()
    {
        const int Rows = 10_000;
        await Parallel.ForAsync(0, Rows, new ParallelOptions { MaxDegreeOfParallelism = 4 }, async (_, _) => await _bench.QueueAsync());
        await SweepAsync();

        var watch = System.Diagnostics.Stopwatch.StartNew();
        await _bench.Get<IQueueOrder>().GetAsync(CancellationToken.None);
        _bench.Get<IQueueOrder>().Invalidate();
        await _bench.Get<IQueueOrder>().GetAsync(CancellationToken.None);
        var order = watch.Elapsed;
        watch.Restart();
        Assert.That(await SweepAsync(), Is.Zero);

        TestContext.Out.WriteLine(
            $"{Rows} rows wait: a sweep takes {watch.Elapsed.TotalMilliseconds:0} ms; the order alone, made anew, "
                + $"{order.TotalMilliseconds:0} ms.");
    }

    private Task<int> SweepAsync() => _bench.Get<Sweep>().SweepAsync(CancellationToken.None);

    private static bool SameRow(Message a, Message b) => a.Id == b.Id && a.Revision == b.Revision;
}
