using Hangfire;
using Hangfire.States;
using ImageQueue.Core.Queue;
using NUnit.Framework;

namespace ImageQueue.Tests.Queue;

/// <summary>The embedded queue's order: told of everything, reading nothing.</summary>
[Category(Categories.Fast)]
internal sealed class InMemoryQueueOrderTests
{
    [Test]
    public async Task Enqueue_GivesEachJobTheNextPosition_WhenManyEnqueueAtOnce()
    {
        using var host = new QueueHost(QueueHost.InMemory(), QueueHost.Clock());

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
    public void Snapshot_IsTheSame_WhileNothingChanges()
    {
        using var host = new QueueHost(QueueHost.InMemory(), QueueHost.Clock());
        host.Jobs.Enqueue(1);
        var first = host.Snapshot();

        Assert.That(host.Snapshot(), Is.SameAs(first));
    }

    [Test]
    public void NextChange_Completes_WhenAJobChangesItsState()
    {
        using var host = new QueueHost(QueueHost.InMemory(), QueueHost.Clock());
        var job = host.Jobs.Enqueue(1);
        var change = host.Order.NextChange;
        Assert.That(change.IsCompleted, Is.False);

        host.Jobs.Delete(job);

        Assert.That(change.IsCompleted, Is.True);
    }

    [Test]
    public void StateChange_IsForgotten_WhenItIsNeverCommitted()
    {
        using var host = new QueueHost(QueueHost.InMemory(), QueueHost.Clock());
        var job = host.Jobs.Enqueue(1);

        host.Order.OnStateChanging(job, EnqueuedState.StateName, DeletedState.StateName); // Its transaction is never committed.
        Assert.That(host.Snapshot().PositionOf(job), Is.EqualTo(1));
        host.Time.Advance(TimeSpan.FromSeconds(6));

        Assert.That(host.Snapshot().PositionOf(job), Is.EqualTo(1));
        var now = host.Snapshot();
        Assert.That(host.Snapshot(), Is.SameAs(now), "the dropped hint costs nothing more");
    }

    /// <summary>It stood first for good, and no job behind it was dequeued.</summary>
    [Test]
    public void Fetch_GoesOn_WhenAJobWasDeletedAfterItsAnnouncementWasDropped()
    {
        using var host = new QueueHost(QueueHost.InMemory(), QueueHost.Clock());
        var (deleted, next) = (host.Jobs.Enqueue(1), host.Jobs.Enqueue(2));
        host.Order.OnStateChanging(deleted, EnqueuedState.StateName, DeletedState.StateName);
        host.Time.Advance(TimeSpan.FromSeconds(6)); // Longer than a commit may take.
        Assert.That(host.Snapshot().PositionOf(deleted), Is.EqualTo(1));
        new BackgroundJobClient(host.Storage).Delete(deleted); // The order does not hear of it.

        Assert.That(Task.Run(host.Fetch).WaitAsync(TimeSpan.FromSeconds(10)).GetAwaiter().GetResult().JobId, Is.EqualTo(next));
        Assert.That(host.Snapshot().PositionOf(deleted), Is.Null);
    }

    [Test]
    public void Jobs_EqualThoseOfHangfiresClient_WhenManyAreEnqueuedAtOnce()
    {
        using var host = new QueueHost(QueueHost.InMemory(), QueueHost.Clock());
        var one = host.Jobs.Enqueue(1);

        var many = host.Jobs.EnqueueAll([(2, null), (3, null)]);

        Assert.That(host.Snapshot().InOrder, Is.EqualTo(new[] { one, many[0], many[1] }));
        var monitoring = host.Storage.GetMonitoringApi();
        var (expected, job) = (monitoring.JobDetails(one), monitoring.JobDetails(many[1]));
        Assert.That(job.Job.ToString(), Is.EqualTo(expected.Job.ToString()));
        Assert.That(job.Job.Args[0], Is.EqualTo(3));
        Assert.That(job.Job.Queue, Is.EqualTo(expected.Job.Queue));
        Assert.That(job.ExpireAt, Is.EqualTo(expected.ExpireAt));
        Assert.That(
            job.History.Select(state => (state.StateName, string.Join(',', state.Data.Keys))),
            Is.EqualTo(expected.History.Select(state => (state.StateName, string.Join(',', state.Data.Keys)))));
        Assert.That(monitoring.EnqueuedCount(ImageJobs.QueueName), Is.EqualTo(3));
        Assert.That(Enumerable.Range(0, 3).Select(_ => host.Fetch().JobId), Is.EqualTo(new[] { one, many[0], many[1] }));
    }

    [Test]
    public void Job_DoesNotWait_WhenItWasClaimedBeforeItsPlaceWasNoted()
    {
        using var host = new QueueHost(QueueHost.InMemory(), QueueHost.Clock());

        host.Order.Enqueue(() =>
        {
            var job = host.EnqueueSilently(1);
            host.Order.Remove(job); // An idle worker has it, and its claim is through.
            return job;
        });

        Assert.That(host.Snapshot().Count, Is.Zero);
    }

    [Test]
    public async Task MovedJob_IsDequeuedOnce_WhenItsOldEntryComesUpBeforeItsClaim()
    {
        using var host = new QueueHost(QueueHost.InMemory(), QueueHost.Clock());
        var jobs = Enumerable.Range(1, 4).Select(i => host.Jobs.Enqueue(i)).ToList();
        Assert.That(await host.Order.TryMoveToFrontAsync(jobs[1], CancellationToken.None), Is.True);
        Assert.That(host.Snapshot().InOrder, Is.EqualTo(new[] { jobs[1], jobs[0], jobs[2], jobs[3] }));

        // Four workers, none of which has claimed yet.
        var taken = Enumerable.Range(0, 4).Select(_ => host.Fetch().JobId).ToList();

        Assert.That(taken, Is.EqualTo(new[] { jobs[1], jobs[0], jobs[2], jobs[3] }));
    }

    [Test]
    public async Task ReservedJob_IsNotMoved_UntilItIsClaimed()
    {
        using var host = new QueueHost(QueueHost.InMemory(), QueueHost.Clock());
        var jobs = Enumerable.Range(1, 2).Select(i => host.Jobs.Enqueue(i)).ToList();
        var taken = host.Fetch(); // Hangfire has not called it processing yet.

        Assert.That(await host.Order.TryMoveToFrontAsync(jobs[0], CancellationToken.None), Is.False);

        host.Order.Remove(taken.JobId);
        Assert.That(host.Fetch().JobId, Is.EqualTo(jobs[1]));
        Assert.That(await host.Order.TryMoveToFrontAsync(jobs[0], CancellationToken.None), Is.False, "it does not wait");
    }

    [Test]
    public async Task MovedJob_KeepsItsPlace_WhenItIsGivenBack()
    {
        using var host = new QueueHost(QueueHost.InMemory(), QueueHost.Clock());
        var jobs = Enumerable.Range(1, 3).Select(i => host.Jobs.Enqueue(i)).ToList();
        await host.Order.TryMoveToFrontAsync(jobs[2], CancellationToken.None);
        var taken = host.Fetch();
        host.Begin(taken.JobId);
        host.Order.Remove(taken.JobId);

        Assert.That(host.Jobs.TryGiveBack(taken.JobId, taken, "no backend is healthy"), Is.True);

        Assert.That(Enumerable.Range(0, 3).Select(_ => host.Fetch().JobId), Is.EqualTo(new[] { jobs[2], jobs[0], jobs[1] }));
    }

    [Test]
    public async Task Fetch_ReturnsAJobThatIsGivenBack_WhileItWaits()
    {
        using var host = new QueueHost(QueueHost.InMemory(), QueueHost.Clock());
        var first = host.Jobs.Enqueue(1);
        var taken = host.Fetch();
        var waiting = Task.Run(() => host.Fetch());

        Assert.That(host.Jobs.TryGiveBack(first, taken, "a test"), Is.True);

        Assert.That((await waiting.WaitAsync(TimeSpan.FromSeconds(30))).JobId, Is.EqualTo(first));
    }

    [Test]
    public void Jobs_AreFetchedInTheirOrder_WhenSeveralWereGivenBack()
    {
        using var host = new QueueHost(QueueHost.InMemory(), QueueHost.Clock());
        var jobs = Enumerable.Range(1, 5).Select(i => host.Jobs.Enqueue(i)).ToList();
        var taken = Enumerable.Range(0, 3).Select(_ => host.Fetch()).ToList();
        foreach (var job in taken)
        {
            host.Begin(job.JobId);
            host.Order.Remove(job.JobId);
        }

        foreach (var index in new[] { 1, 2, 0 })
            host.Jobs.TryGiveBack(taken[index].JobId, taken[index], "no backend is healthy");

        Assert.That(host.Snapshot().InOrder, Is.EqualTo(jobs));
        Assert.That(Enumerable.Range(0, 5).Select(_ => host.Fetch().JobId), Is.EqualTo(jobs));
    }
}
