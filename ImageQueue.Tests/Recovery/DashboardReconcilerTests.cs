using Hangfire.States;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Recovery;
using ImageQueue.Core.Requests;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Recovery;

[Category(Categories.Store)]
internal sealed class DashboardReconcilerTests
{
    private static readonly DeletedState Delete = new() { Reason = "Triggered via Dashboard UI" };
    private static readonly EnqueuedState Requeue = new() { Reason = "Triggered via Dashboard UI" };

    private Bench _bench = null!; // Set before each test.

    private DashboardCommands Commands => _bench.Get<DashboardCommands>();

    [SetUp]
    public async Task SetUp() => _bench = await Bench.CreateAsync();

    [TearDown]
    public async Task TearDown() => await _bench.DisposeAsync();

    [TestCase(MessageStatus.Queued)]
    [TestCase(MessageStatus.Processing)]
    public async Task Delete_CancelsTheRequest(string status)
    {
        var row = status == MessageStatus.Queued ? await _bench.QueueAsync() : await _bench.ClaimAsync();
        using var generating = new CancellationTokenSource();
        using var running = _bench.Get<RunningJobs>().Register(row.Id, generating);

        _bench.SetState(row.HangfireJobId!, Delete);
        await ReconcileAsync();

        var now = await _bench.FindAsync(row);
        Assert.That((now.Status, now.Content), Is.EqualTo((MessageStatus.Cancelled, _bench.Get<MessageTexts>().Cancelled)));
        Assert.That(generating.IsCancellationRequested, Is.True);
        Assert.That(Commands.Open(), Is.Empty);
    }

    [Test]
    public async Task Requeue_RetriesTheRequest_WhenItsJobHadFailed()
    {
        var row = await FailedAsync();

        _bench.SetState(row.HangfireJobId!, Requeue);
        await ReconcileAsync();

        var now = await _bench.FindAsync(row);
        Assert.Multiple(() =>
        {
            Assert.That((now.Status, now.HangfireJobId, now.Error), Is.EqualTo((MessageStatus.Queued, row.HangfireJobId, (string?)null)));
            Assert.That(now.Failures, Is.Zero, "a new allowance");
            Assert.That(_bench.Enqueued(), Is.EqualTo(new[] { row.Id }), "no second job");
            Assert.That(Commands.Open(), Is.Empty);
        });
    }

    [Test]
    public async Task Requeue_RetriesTheRequest_WhenItWasCancelled()
    {
        var row = await _bench.QueueAsync();
        await _bench.Get<CancelImageRequest>().CancelAsync(row.Id, CancellationToken.None);

        _bench.SetState(row.HangfireJobId!, Requeue);
        await ReconcileAsync();

        Assert.That((await _bench.FindAsync(row)).Status, Is.EqualTo(MessageStatus.Queued));
    }

    [Test]
    public async Task DeleteAndRequeue_LeaveTheRequestQueued_WhenBothPrecedeTheReconciler()
    {
        var row = await _bench.QueueAsync();

        _bench.SetState(row.HangfireJobId!, Delete);
        _bench.SetState(row.HangfireJobId!, Requeue);
        await ReconcileAsync();

        var now = await _bench.FindAsync(row);
        Assert.That((now.Status, now.Revision), Is.EqualTo((MessageStatus.Queued, row.Revision)));
        Assert.That(Commands.Open(), Is.Empty);
    }

    [Test]
    public async Task OwnStateChanges_LeaveNoCommand()
    {
        var cancelled = await _bench.QueueAsync();
        await _bench.Get<CancelImageRequest>().CancelAsync(cancelled.Id, CancellationToken.None);
        await FailedAsync();
        await _bench.ClaimAsync();

        Assert.That(Commands.Open(), Is.Empty);
        Assert.That(_bench.StateOf(cancelled), Is.EqualTo(DeletedState.StateName));
    }

    [Test]
    public async Task Command_IsDropped_WhenTheRequestHasAnotherJob()
    {
        var row = await FailedAsync();
        await _bench.Get<RetryImageRequest>().RetryAsync(row.Id, CancellationToken.None);
        var retried = await _bench.FindAsync(row);

        _bench.SetState(row.HangfireJobId!, Requeue);
        _bench.SetState(row.HangfireJobId!, Delete);
        await ReconcileAsync();

        Assert.That((await _bench.FindAsync(row)).Revision, Is.EqualTo(retried.Revision));
        Assert.That(Commands.Open(), Is.Empty);
    }

    [Test]
    public async Task Retry_IsLeftToTheWorker_WhenItHasTheJobAlready()
    {
        var row = await FailedAsync();
        _bench.SetState(row.HangfireJobId!, Requeue);
        _bench.SetState(row.HangfireJobId!, new Bench.Processing());

        await ReconcileAsync();

        Assert.That((await _bench.FindAsync(row)).Status, Is.EqualTo(MessageStatus.Error));
        Assert.That(Commands.Find(DashboardCommandKind.Retry, row.HangfireJobId!), Is.Not.Null);
    }

    [Test]
    public async Task Commands_AreAppliedOnce_WhenManyProcessesReconcile()
    {
        var rows = new List<Message>();
        for (var i = 0; i < 10; i++)
            rows.Add(await FailedAsync());
        foreach (var row in rows)
            _bench.SetState(row.HangfireJobId!, Requeue);

        await Task.WhenAll(Enumerable.Range(0, 5).Select(_ => Task.Run(ReconcileAsync)));

        foreach (var row in rows)
        {
            var now = await _bench.FindAsync(row);
            Assert.That(now.Status, Is.EqualTo(MessageStatus.Queued));
        }

        Assert.That(_bench.Enqueued(), Is.EquivalentTo(rows.Select(row => row.Id)));
        Assert.That(Commands.Open(), Is.Empty);
    }

    /// <summary>Seen before: one command that kept throwing starved all behind it.</summary>
    [Test]
    public async Task Command_DelaysNoOther_WhenItFails()
    {
        string? broken = null;
        await TearDown();
        _bench = await Bench.CreateAsync(wrap: store => FaultyStore.Around(
            store, (method, args) =>
                method == nameof(IMessageStore.FindByHangfireJobAsync) && Equals(args[0], broken)
                    ? new InvalidOperationException("a broken row")
                    : null).Store);
        var rows = new[] { await FailedAsync(), await FailedAsync(), await FailedAsync() };
        broken = rows[0].HangfireJobId;
        foreach (var row in rows)
            _bench.SetState(row.HangfireJobId!, Requeue);

        await ReconcileAsync();
        await ReconcileAsync();

        Assert.That((await _bench.FindAsync(rows[1])).Status, Is.EqualTo(MessageStatus.Queued));
        Assert.That((await _bench.FindAsync(rows[2])).Status, Is.EqualTo(MessageStatus.Queued));
        Assert.That(Commands.Open(), Has.Count.EqualTo(1), "it stays open and is tried again");
        Assert.That(_bench.Log.Of(LogLevel.Warning).Count(), Is.EqualTo(1), "and said once");
        broken = null;
        await ReconcileAsync();
        Assert.That((await _bench.FindAsync(rows[0])).Status, Is.EqualTo(MessageStatus.Queued));
    }

    private async Task<Message> FailedAsync()
    {
        var row = await _bench.ClaimAsync();
        row = Bench.Applied(
            await _bench.Store.FailAsync(
                row.Id, row.Attempt, "x", new RequestFailure(ErrorCodes.BackendFailed, "x"), CancellationToken.None));
        _bench.SetState(row.HangfireJobId!, new FailedState(new ImageRequestFailedException("x")));
        return row;
    }

    private Task ReconcileAsync() => _bench.Get<DashboardReconciler>().ReconcileAsync(CancellationToken.None);
}
