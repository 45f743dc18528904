using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Backends;

/// <summary>One process at a time uses a backend: the leases in the database.</summary>
[TestFixture]
[Category(Categories.Fast)]
public sealed class BackendPoolLeaseTests : PoolBench
{
    private static readonly BackendRequirements Any = BackendRequirements.Any;

    [Test]
    public async Task Backend_IsLentByOneProcess_WhenTwoShareADatabase()
    {
        var one = await ReadyPoolAsync("a");
        var two = Pool("a", "b");
        two.StartMonitoring();
        await Until.TrueAsync(() => two.Available == 1 && StatusOf(two, "a").Healthy == true);

        Assert.Multiple(() =>
        {
            Assert.That((one.Available, StatusOf(one, "a").Leased), Is.EqualTo((1, true)));
            Assert.That((StatusOf(two, "a").Leased, StatusOf(two, "b").Leased), Is.EqualTo((false, true)));
            Assert.That(two.TryTake(new BackendRequirements(Backends: ["a"])), Is.Null);
        });
    }

    [Test]
    public async Task Backend_ChangesHands_WhenItsHolderDies()
    {
        var one = await ReadyPoolAsync("a");
        var two = Pool("a");
        two.StartMonitoring();
        await Pass(TimeSpan.FromMinutes(1));
        Assert.That((one.Available, two.Available), Is.EqualTo((1, 0)), "renewed all the time");

        one.Dispose(); // As a process dies: nothing is given back.

        Assert.That(await AdvanceUntil(() => two.Available == 1), Is.InRange(TimeSpan.FromSeconds(9), TimeSpan.FromSeconds(21)));
    }

    [Test]
    public async Task Backend_ChangesHandsAtOnce_WhenItsHolderStops(CancellationToken cancellationToken)
    {
        var one = await ReadyPoolAsync("a");
        using (one.TryTake(Any))
            Leases.Note(LeaseOf("a"), "job-1"); // As its claim does it.

        await one.StopAsync(cancellationToken);

        Assert.Multiple(() =>
        {
            Assert.That(one.TryTake(Any), Is.Null);
            Assert.That(Leases.HolderOf(LeaseOf("a")), Is.Null);
            Assert.That(Leases.NoteOf(LeaseOf("a")), Is.Null, "nothing is left to be drained");
        });
        var two = Pool("a");
        two.StartMonitoring();
        await Until.TrueAsync(() => two.Available == 1);
        Assert.That(Forge["a"].Looks, Is.Zero);
    }

    [Test]
    public async Task Note_SaysNothing_OnceTheBackendHasBeenIdle()
    {
        var pool = await ReadyPoolAsync("a");
        using (pool.TryTake(Any))
            Leases.Note(LeaseOf("a"), "job-1");

        await AdvanceUntil(() => Leases.NoteOf(LeaseOf("a")) is null);
        Assert.That(pool.Available, Is.EqualTo(1));
    }

    [Test]
    public async Task Note_IsKept_WhileTheBackendIsBusy()
    {
        var pool = await ReadyPoolAsync("a");
        using var lease = pool.TryTake(Any);
        Leases.Note(LeaseOf("a"), "job-1");

        await Pass(TimeSpan.FromSeconds(60));

        Assert.That((Leases.NoteOf(LeaseOf("a")), Forge["a"].Looks), Is.EqualTo(("job-1", 0)));
    }

    [Test]
    public async Task Pool_LendsOn_WithinTheTerm_WhenTheDatabaseIsAway()
    {
        var pool = await ReadyPoolAsync("a");
        using (pool.TryTake(Any))
            Leases.IsAway = true;

        await Pass(TimeSpan.FromSeconds(9));
        Assert.That(pool.Available, Is.EqualTo(1), "no other process can have it");
        var lease = pool.TryTake(Any)!;
        await Pass(TimeSpan.FromSeconds(10));
        Assert.That(StatusOf(pool, "a").Busy, Is.True, "what is generated goes on");
        lease.Dispose();
        Assert.That((pool.Available, pool.NoneHealthySince is null), Is.EqualTo((0, false)));

        Leases.IsAway = false;
        Assert.That(await AdvanceUntil(() => pool.Available == 1), Is.LessThanOrEqualTo(TimeSpan.FromSeconds(2)));
        Assert.That(
            Log.Count(entry => entry.Text.Contains("Renewing the leases", StringComparison.Ordinal) && entry.Level >= LogLevel.Warning),
            Is.EqualTo(1));
    }

    [Test]
    public async Task LostLease_IsNotLent_ButWorkGoesOn()
    {
        var pool = await ReadyPoolAsync("a");
        var lease = pool.TryTake(Any)!;
        Leases.Give(LeaseOf("a"), "another", TimeSpan.FromMinutes(1));
        await AdvanceUntil(() => !StatusOf(pool, "a").Leased);

        Assert.That(StatusOf(pool, "a").Busy, Is.True);
        lease.Dispose();
        Assert.That(pool.TryTake(Any), Is.Null);

        await AdvanceUntil(() => pool.Available == 1, TimeSpan.FromSeconds(1));
    }

    [Test]
    public async Task NewHolder_DrainsFirst_WhenTheLastOneLeftSomething()
    {
        Leases.Note(LeaseOf("a"), "left-1");
        var isOver = false;
        Forge["a"].Progress = task => new ForgeProgress(task == "left-1" && !isOver ? ForgeTaskState.Active : ForgeTaskState.Unknown);
        var pool = Pool("a");
        pool.StartMonitoring();
        await AdvanceUntil(() => StatusOf(pool, "a").Draining && !Forge["a"].Interrupted.IsEmpty);

        Assert.That((pool.TryTake(Any), Forge["a"].Interrupted.First()), Is.EqualTo(((BackendReservation?)null, "left-1")));
        isOver = true;

        await AdvanceUntil(() => pool.Available == 1);
        await AdvanceUntil(() => Leases.NoteOf(LeaseOf("a")) is null);
    }

    [Test]
    public async Task Note_SaysNothing_WhenTheUnhealthyServerHadAnswered()
    {
        var pool = await ReadyPoolAsync("a");
        using (var lease = pool.TryTake(Any)!)
        {
            Leases.Note(LeaseOf("a"), "job-1");
            lease.ReportUnavailable("503");
            Forge["a"].Down = "503";
        }

        await Until.TrueAsync(() => Leases.HolderOf(LeaseOf("a")) is null);
        Assert.That(Leases.NoteOf(LeaseOf("a")), Is.EqualTo("unhealthy"), "not job-1");
        Forge["a"].Down = null;
        Assert.That(await AdvanceUntil(() => pool.Available == 1), Is.LessThan(TimeSpan.FromSeconds(3)));
        Assert.That(Forge["a"].Looks, Is.Zero, "there is nothing to be drained, which some servers could not even tell");
    }

    [Test]
    public async Task Note_NamesAnUnhealthyBackend_AndTheNextHolderSendsACanaryFirst()
    {
        var one = await ReadyPoolAsync("a");
        var isBroken = true;
        Forge["a"].Canary = () =>
            isBroken ? Task.FromException(new ForgeException(ForgeFailure.Disrupted, "CUDA error")) : Task.CompletedTask;
        using (var lease = one.TryTake(Any)!)
            _ = lease.ReportDisrupted(new ForgeException(ForgeFailure.Disrupted, "CUDA error"), "job-1");
        await AdvanceUntil(() => Leases.NoteOf(LeaseOf("a")) == "unhealthy");
        one.Dispose(); // As a process dies.

        var two = Pool("a");
        two.StartMonitoring();
        var canaries = Forge["a"].Canaries;
        await AdvanceUntil(() => StatusOf(two, "a").State == BackendState.Unhealthy);
        Assert.That((two.TryTake(Any), Forge["a"].Canaries), Is.EqualTo(((BackendReservation?)null, canaries + 1)));

        isBroken = false;
        await AdvanceUntil(() => two.Available == 1);
        await AdvanceUntil(() => Leases.NoteOf(LeaseOf("a")) is null);
    }

    [Test]
    public async Task Note_IsKept_WhenTheUnreachableServerMayStillGenerate()
    {
        var pool = await ReadyPoolAsync("a");
        Forge["a"].Down = "connection reset";
        using (var lease = pool.TryTake(Any)!)
        {
            Leases.Note(LeaseOf("a"), "job-1");
            _ = lease.ReportDisrupted(new ForgeException(ForgeFailure.Disrupted, "reset") { MayStillBeRunning = true }, "job-1");
        }

        await Until.TrueAsync(() => Leases.HolderOf(LeaseOf("a")) is null);
        Assert.That(Leases.NoteOf(LeaseOf("a")), Is.EqualTo("job-1"));
    }

    [Test]
    public async Task LeaseThatComesBack_IsDrainedAfterOurOwn_WhenItIsBusy()
    {
        var pool = await ReadyPoolAsync("a");
        var lease = pool.TryTake(Any)!;
        Leases.Give(LeaseOf("a"), "another", TimeSpan.FromSeconds(20));
        await AdvanceUntil(() => !StatusOf(pool, "a").Leased);
        Leases.Note(LeaseOf("a"), "theirs-1");
        await AdvanceUntil(() => StatusOf(pool, "a").Leased);
        Assert.That(StatusOf(pool, "a").Draining, Is.False);

        lease.Dispose();

        Assert.That(StatusOf(pool, "a").Draining, Is.True);
        await AdvanceUntil(() => pool.Available == 1);
        Assert.That(Forge["a"].Looks, Is.GreaterThan(0));
    }
}
