using ImageQueue.Core.Hosting;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Storage;

/// <summary>Leases: one holder at a time, by the database's clock.</summary>
public abstract partial class MessageStoreContract
{
    private static readonly TimeSpan Term = TimeSpan.FromMinutes(10);

    /// <summary>Of leases that a test waits to be over: a server's clock goes by itself.</summary>
    private static readonly TimeSpan ShortTerm = TimeSpan.FromSeconds(1);

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
        await Store.AcquireLeasesAsync("one", ["a"], ShortTerm, CancellationToken.None);
        Time.Advance(ShortTerm); // SQLite's clock.
        await Until.TrueAsync(async () => (await NamesAsync("two", "a")).Length == 1, "the lease is free");

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

    /// <summary>The lease tells the backend's next holder what may still be running there.</summary>
    [Test]
    public async Task Claim_NotesItsTask_OnTheLeaseOfItsBackend()
    {
        await NamesAsync("one", "forge:a", "forge:b");
        var message = await SubmitAsync();

        var claimed = Applied(await Store.ClaimAsync(message.Id, HangfireJob, "a", "forge:a", CancellationToken.None));

        Assert.That(claimed.Backend, Is.EqualTo("a"));
        Assert.That(
            await Store.ListLeasesAsync("forge:", CancellationToken.None),
            Is.EqualTo(new[] { new HeldLease("forge:a", "one", $"{message.JobId}-1"), new HeldLease("forge:b", "one", null) }));

        await SilentAsync(claimed);
        claimed = Applied(await Store.ClaimAsync(message.Id, HangfireJob, "b", "forge:b", CancellationToken.None));

        Assert.That(
            (await Store.ListLeasesAsync("forge:b", CancellationToken.None)).Single().Note,
            Is.EqualTo($"{message.JobId}-{claimed.Attempt}"));
    }

    /// <summary>A claim that came too late sends nothing anywhere.</summary>
    [Test]
    public async Task Claim_NotesNothing_WhenItIsRefused()
    {
        await NamesAsync("one", "forge:a");
        var message = await InStateAsync(MessageStatus.Complete);

        var refused = await Store.ClaimAsync(message.Id, HangfireJob, "a", "forge:a", CancellationToken.None);

        Assert.That((refused.Applied, refused.Message?.Revision), Is.EqualTo((false, message.Revision)));
        Assert.That((await Store.ListLeasesAsync("forge:a", CancellationToken.None)).Single().Note, Is.Null);
    }

    /// <summary>By name, held leases only; a prefix has no wildcards.</summary>
    [Test]
    public async Task ListLeases_GivesThoseThatAreHeld_OfThatPrefix()
    {
        await NamesAsync("one", "forge:b", "forge:a", "positions", "FORGE:c", "forge_d");
        await NamesAsync("two", "forge:e");
        await Store.ReleaseLeasesAsync("one", ["forge:b"], CancellationToken.None);

        Assert.That(
            await Store.ListLeasesAsync("forge:", CancellationToken.None),
            Is.EqualTo(new[] { new HeldLease("forge:a", "one", null), new HeldLease("forge:e", "two", null) }));
        Assert.That(await Store.ListLeasesAsync("forge%", CancellationToken.None), Is.Empty);
        Assert.That(
            (await Store.ListLeasesAsync("", CancellationToken.None)).Select(lease => lease.Name),
            Is.EqualTo(new[] { "FORGE:c", "forge:a", "forge:e", "forge_d", "positions" }));

        await Store.AcquireLeasesAsync("one", ["forge:a"], ShortTerm, CancellationToken.None);
        Time.Advance(ShortTerm); // SQLite's clock.
        await Until.TrueAsync(async () => (await Store.ListLeasesAsync("forge:", CancellationToken.None)).Count == 1, "the term is over");
    }

    private async Task<string[]> NamesAsync(string holder, params string[] names) =>
        [.. (await Store.AcquireLeasesAsync(holder, names, Term, CancellationToken.None)).Select(lease => lease.Name)];
}
