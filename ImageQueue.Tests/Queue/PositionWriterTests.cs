using System.Globalization;
using System.Text.Json.Nodes;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Messages.Sqlite;
using ImageQueue.Core.Queue;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using Moq;
using NUnit.Framework;

namespace ImageQueue.Tests.Queue;

/// <summary>Stored positions: exact where people look, near enough beyond, and never in a claim's way.</summary>
internal sealed class PositionWriterTests
{
    [Test]
    public void Moved_KeepsStoredPositionsTrue_WhileTheQueueMoves()
    {
        const int seed = 5;
        TestContext.Out.WriteLine($"seed {seed}");
        var random = new Random(seed);
        var line = new WaitingLine([]);
        var stored = new Dictionary<string, int>(StringComparer.Ordinal);
        var held = new List<string>();
        QueueSnapshot? before = null;
        var (next, written) = (0, 0);
        for (var pass = 0; pass < 250; pass++)
        {
            // A submit stores its own position; then some finish, and now and then many are cancelled or some are held.
            for (var joining = random.Next(pass < 50 ? 120 : 12); joining > 0; joining--)
            {
                var job = Job(++next);
                line.Join(job);
                stored[job] = Snapshot().PositionOf(job)!.Value;
            }

            foreach (var job in Snapshot().InOrder.Take(random.Next(8)).ToList())
                Leave(job);
            if (random.Next(25) == 0)
                Snapshot().InOrder.Where(_ => random.Next(3) == 0).ToList().ForEach(Leave);
            if (random.Next(10) == 0)
                held = [.. Snapshot().InOrder.Skip(20).Take(6)];

            var now = Snapshot();
            foreach (var (job, position) in PositionWriter.Moved(before, now))
            {
                stored[job] = position;
                written++;
            }

            var was = before;
            before = now;
            foreach (var (job, index) in now.InOrder.Select((job, index) => (job, index)))
            {
                var position = index + 1;
                Assert.That(stored[job], position <= PositionWriter.ExactUpTo ? Is.EqualTo(position) : Is.EqualTo(position).Within(10).Percent, $"pass {pass}: {index + 1} of {now.Count}, before {was?.PositionOf(job)} of {was?.Count}");
            }
        }

        TestContext.Out.WriteLine($"{next} submitted, {written} positions written in 250 passes");

        QueueSnapshot Snapshot() => new([.. held], line.ViewWithout(held), default);

        void Leave(string job)
        {
            line.Leave(job);
            held.Remove(job);
        }
    }

    [Test]
    public void Moved_IsTheFirstFiftyAndABandsEndEach_WhenOneHasLeftTheHeadOfALongQueue()
    {
        var line = new WaitingLine([.. Enumerable.Range(1, 100_000).Select(Job)]);
        var before = new QueueSnapshot([], line.ViewWithout([]), default);
        line.Leave(Job(1));

        var moved = PositionWriter.Moved(before, new QueueSnapshot([], line.ViewWithout([]), default)).ToList();

        Assert.That(moved, Has.Count.InRange(PositionWriter.ExactUpTo, PositionWriter.ExactUpTo + 100));
        Assert.That(moved.Distinct().Count(), Is.EqualTo(moved.Count));
    }

    [Test]
    public async Task WriteAsync_WritesOnlyRowsThatAreStillQueuedAndHaveMoved()
    {
        using var folder = new TemporaryFolder();
        await using var store = new SqliteMessageStore($"Data Source={folder.Path}/m.db", TimeProvider.System, new MessageSignal());
        await store.PrepareAsync(CancellationToken.None);
        var ids = new List<long>();
        for (var i = 1; i <= 4; i++)
        {
            var message = new NewImageMessage("c", "ayşe", Job(i), "gül", new JsonObject(), QueuePosition: i, IdempotencyKey: null);
            ids.Add((await store.SubmitAsync(message, new UserLimits(100), CancellationToken.None)).Message.Id);
            await store.AttachJobAsync(ids[^1], Job(i), null, CancellationToken.None);
        }

        // The claim comes after the snapshot was taken: its 0 must stand.
        var order = new Mock<IQueueOrder>();
        order.Setup(o => o.GetAsync(It.IsAny<CancellationToken>())).ReturnsAsync(new QueueSnapshot([Job(2), Job(3), Job(4)], default));
        await store.ClaimAsync(ids[2], Job(3), null, null, CancellationToken.None);
        using var writer = new PositionWriter(order.Object, store, TimeProvider.System, NullLogger<PositionWriter>.Instance);

        Assert.That(await writer.WriteAsync(CancellationToken.None), Is.EqualTo(2));
        var stored = await Task.WhenAll(ids.Select(id => store.FindAsync(id, CancellationToken.None)));
        Assert.That(stored.Select(message => message!.QueuePosition), Is.EqualTo(new[] { 1, 1, 0, 3 }));
        Assert.That(await writer.WriteAsync(CancellationToken.None), Is.Zero, "nothing has moved");
    }

    private static string Job(int number) => number.ToString(CultureInfo.InvariantCulture);
}
