using Hangfire.States;
using ImageQueue.Core.Queue;
using NUnit.Framework;

namespace ImageQueue.Tests.Queue;

/// <summary>The embedded queue's order: told of everything, reading nothing.</summary>
internal sealed class PrivateQueueOrderTests
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
    public void Announcement_IsForgotten_WhenItNeverComesTrue()
    {
        using var host = new QueueHost(QueueHost.InMemory(), QueueHost.Clock());
        var job = host.Jobs.Enqueue(1);

        host.Order.Announce(job, EnqueuedState.StateName, DeletedState.StateName); // Its transaction is never committed.
        Assert.That(host.Snapshot().PositionOf(job), Is.EqualTo(1));
        host.Time.Advance(TimeSpan.FromSeconds(6));

        Assert.That(host.Snapshot().PositionOf(job), Is.EqualTo(1));
        var now = host.Snapshot();
        Assert.That(host.Snapshot(), Is.SameAs(now), "nothing is looked for any more");
    }

    [Test]
    public void Job_StaysWhereItIs_WhenAClaimIsQuickerThanTheNoteOfItsPlace()
    {
        using var host = new QueueHost(QueueHost.InMemory(), QueueHost.Clock());

        host.Order.Enqueue(() =>
        {
            var job = host.EnqueueSilently(1);
            host.Order.Left(job); // An idle worker has it, and its claim is through.
            return job;
        });

        Assert.That(host.Snapshot().Count, Is.Zero);
    }

    [Test]
    public async Task Fetch_IsWokenByAJobThatIsGivenBack_WhileItWaitsForOne()
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
            host.Order.Left(job.JobId);
        }

        foreach (var index in new[] { 1, 2, 0 })
            host.Jobs.TryGiveBack(taken[index].JobId, taken[index], "no Forge is healthy");

        Assert.That(host.Snapshot().InOrder, Is.EqualTo(jobs));
        Assert.That(Enumerable.Range(0, 5).Select(_ => host.Fetch().JobId), Is.EqualTo(jobs));
    }
}
