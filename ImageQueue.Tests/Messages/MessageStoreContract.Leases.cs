using ImageQueue.Core.Messages;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Messages;

/// <summary>Leases: one holder at a time, by the database's clock.</summary>
public abstract partial class MessageStoreContract
{
    private static readonly TimeSpan Term = TimeSpan.FromSeconds(1);

    /// <summary>The second process gets what the first has not.</summary>
    [Test]
    public async Task Lease_HasOneHolder_UntilItIsReleased()
    {
        Assert.That(await NamesAsync("one", "a", "b"), Is.EquivalentTo(new[] { "a", "b" }));
        Assert.That(await NamesAsync("two", "b", "c"), Is.EquivalentTo(new[] { "c" }));
        Assert.That(await NamesAsync("one", "a", "b"), Is.EquivalentTo(new[] { "a", "b" }), "renewed");

        await Store.ReleaseLeasesAsync("one", ["b", "c"], CancellationToken.None);

        Assert.That(await NamesAsync("one", "c"), Is.Empty, "only the holder can give it back");
        Assert.That(await NamesAsync("two", "a", "b"), Is.EquivalentTo(new[] { "b" }));
    }

    /// <summary>What the last holder was at outlives it.</summary>
    [Test]
    public async Task Lease_KeepsItsNote_WhenItChangesHands()
    {
        await NamesAsync("one", "a");
        Assert.That(await Store.NoteLeaseAsync("one", "a", "task-1", CancellationToken.None), Is.True);
        Assert.That(await Store.NoteLeaseAsync("two", "a", "task-2", CancellationToken.None), Is.False);
        await Store.ReleaseLeasesAsync("one", ["a"], CancellationToken.None);

        var taken = await Store.AcquireLeasesAsync("two", ["a"], Term, CancellationToken.None);

        Assert.That(taken, Is.EqualTo(new[] { new Lease("a", "task-1") }));
    }

    /// <summary>A holder that died gives nothing back.</summary>
    [Test]
    public async Task Lease_IsFree_WhenItsTermIsOver()
    {
        await NamesAsync("one", "a");
        Time.Advance(Term); // SQLite's clock; a server has one of its own, which goes by itself.
        await Bench.UntilAsync(async () => (await NamesAsync("two", "a")).Length == 1, "the lease is free");

        Assert.That(await NamesAsync("one", "a"), Is.Empty);
        Assert.That(await Store.NoteLeaseAsync("one", "a", "late", CancellationToken.None), Is.False);
    }

    /// <summary>Many at once.</summary>
    [Test]
    public async Task Lease_GoesToOne_WhenManyAsk()
    {
        var taken = await Task.WhenAll(Enumerable.Range(0, 16).Select(i => Task.Run(() => NamesAsync($"p{i}", "a", "b", "c"))));

        Assert.That(taken.SelectMany(names => names), Is.EquivalentTo(new[] { "a", "b", "c" }));
    }

    private async Task<string[]> NamesAsync(string holder, params string[] names) =>
        [.. (await Store.AcquireLeasesAsync(holder, names, Term, CancellationToken.None)).Select(lease => lease.Name)];
}
