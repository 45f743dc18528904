using ImageQueue.Core.Queue;
using Microsoft.Extensions.Logging.Abstractions;
using NUnit.Framework;

namespace ImageQueue.Tests.Queue;

/// <summary>Two instances over one database: their positions differ by what happened since the older read, which has a bound.</summary>
[TestFixture]
[Category(Categories.Fast)]
internal sealed class SqlServerQueueOrderAgreementTests
{
    /// <summary>The age from which a reader waits for the next read; <c>as_of</c> is never older.</summary>
    private static readonly TimeSpan Bound = TimeSpan.FromSeconds(3);

    [Test]
    public async Task Instances_ServeNoSnapshotOlderThanTheBound_AndAgreeAfterIt()
    {
        var rows = new FakeQueueRows();
        var time = QueueHost.Clock();
        var instances = new[] { Instance(), Instance() };
        var random = new Random(20261129);
        for (var step = 0; step < 200; step++)
        {
            if (random.Next(4) > 0)
                instances[random.Next(2)].Enqueue("ayşe", _ => rows.Add(user: "ayşe"));
            else if (rows.States.Count > 5)
                rows.Fetch();
            time.Advance(TimeSpan.FromMilliseconds(random.Next(1500)));
            foreach (var instance in instances)
            {
                var snapshot = await instance.GetAsync(CancellationToken.None);
                Assert.That(time.GetUtcNow() - snapshot.TakenAt, Is.LessThanOrEqualTo(Bound), $"step {step}");
            }
        }

        foreach (var instance in instances)
            await instance.ReadNowAsync(); // A read under way would end as the older one.
        time.Advance(Bound + TimeSpan.FromMilliseconds(1));
        var (one, two) = (await instances[0].GetAsync(CancellationToken.None), await instances[1].GetAsync(CancellationToken.None));
        Assert.That(one.InOrder, Is.EqualTo(two.InOrder).And.Not.Empty);
        Assert.That((one.TakenAt, two.TakenAt), Is.EqualTo((time.GetUtcNow(), time.GetUtcNow())));

        SqlServerQueueOrder Instance() => new(rows, time, NullLogger<SqlServerQueueOrder>.Instance);
    }
}
