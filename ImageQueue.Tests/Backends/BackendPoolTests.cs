using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Backends;

/// <summary>Who gets which backend, and when.</summary>
[TestFixture]
[Category(Categories.Fast)]
public sealed class BackendPoolTests : PoolBench
{
    private static readonly BackendRequirements Any = BackendRequirements.Any;

    [Test]
    public async Task AcquireAsync_ProbesFirst_WhenBackendIsUnknown(CancellationToken cancellationToken)
    {
        var pool = Pool("a");
        var before = pool.Status.Single();

        using var lease = await pool.AcquireAsync(1, Any, cancellationToken);

        var status = pool.Status.Single();
        Assert.Multiple(() =>
        {
            Assert.That((before.Healthy, before.Busy), Is.EqualTo(((bool?)null, false)));
            Assert.That(
                (status.Healthy, status.Busy, status.Leased, status.LastError), Is.EqualTo(((bool?)true, true, true, (string?)null)));
            Assert.That(lease.Backend.Name, Is.EqualTo("a"));
            Assert.That(lease.LeaseName, Is.EqualTo("forge:http://a:7860"));
            Assert.That(Forge["a"].Probes, Is.EqualTo(1));
        });
    }

    [Test]
    public async Task AcquireAsync_LendsToOneAtATime_WhenManyAsk(CancellationToken cancellationToken)
    {
        var pool = await ReadyPoolAsync("a", "b");
        int inUse = 0, most = 0, done = 0;

        await Task.WhenAll(Enumerable.Range(0, 200).Select(async i =>
        {
            using var lease = await pool.AcquireAsync(i, Any, cancellationToken);
            var now = Interlocked.Increment(ref inUse);
            InterlockedMax(ref most, now);
            await Task.Yield();
            Interlocked.Decrement(ref inUse);
            Interlocked.Increment(ref done);
        }));

        Assert.Multiple(() =>
        {
            Assert.That(most, Is.EqualTo(2));
            Assert.That(done, Is.EqualTo(200));
            Assert.That(pool.Status.Any(status => status.Busy), Is.False);
        });
    }

    [Test]
    public async Task AcquireAsync_ServesByTurn_WhenManyWait(CancellationToken cancellationToken)
    {
        var pool = await ReadyPoolAsync("a");
        var lease = pool.TryTake(Any)!;
        int[] turns = [7, 3, 9, 1, 3, 8];
        var waiting = turns.Select((turn, i) => (Turn: turn, Number: i, Task: pool.AcquireAsync(turn, Any, cancellationToken))).ToList();
        var order = new List<(int, int)>();

        while (waiting.Count > 0)
        {
            lease.Dispose();
            var next = await Task.WhenAny(waiting.Select(one => one.Task));
            order.AddRange(waiting.Where(one => one.Task == next).Select(one => (one.Turn, one.Number)));
            waiting.RemoveAll(one => one.Task == next);
            lease = await next;
        }

        lease.Dispose();
        Assert.That(order, Is.EqualTo(new[] { (1, 3), (3, 1), (3, 4), (7, 0), (8, 5), (9, 2) }));
    }

    [Test]
    public async Task AcquireAsync_ServesALaterTurn_WhenTheFreeOneDoesNotSuitTheEarlier(CancellationToken cancellationToken)
    {
        var pool = await ReadyPoolAsync("a", "b");
        using var a = pool.TryTake(new BackendRequirements(Backends: ["a"]))!;
        var b = pool.TryTake(Any)!;
        var first = pool.AcquireAsync(1, new BackendRequirements(Backends: ["A"]), cancellationToken);
        var second = pool.AcquireAsync(2, Any, cancellationToken);

        b.Dispose();

        using var lease = await second;
        Assert.That((lease.Backend.Name, first.IsCompleted), Is.EqualTo(("b", false)));
        a.Dispose();
        (await first).Dispose();
    }

    [Test]
    public async Task Dispose_HandsOverAtOnce_WhenSomebodyWaits(CancellationToken cancellationToken)
    {
        var pool = await ReadyPoolAsync("a");
        var lease = pool.TryTake(Any)!;
        var next = pool.AcquireAsync(1, Any, cancellationToken);

        lease.Dispose();
        lease.Dispose();

        // Busy again before anybody else could run: given over, not put back.
        Assert.That((pool.Status.Single().Busy, pool.Available), Is.EqualTo((true, 0)));
        using var second = await next;
        Assert.That(pool.TryTake(Any), Is.Null, "the second Dispose gave nothing away");
    }

    [Test]
    public async Task AcquireAsync_LeavesTheLine_WhenCancelled(CancellationToken cancellationToken)
    {
        var pool = await ReadyPoolAsync("a");
        var lease = pool.TryTake(Any)!;
        using var cancel = new CancellationTokenSource();
        var first = pool.AcquireAsync(1, Any, cancel.Token);
        var second = pool.AcquireAsync(2, Any, cancellationToken);

        await cancel.CancelAsync();
        Assert.ThrowsAsync<TaskCanceledException>(() => first);
        lease.Dispose();

        (await second).Dispose();
    }

    [Test]
    public async Task AcquireAsync_WaitsForEver_WhenNoneIsHealthy(CancellationToken cancellationToken)
    {
        Forge["a"].Down = "connection refused";
        var pool = await ReadyPoolAsync("a");
        var waiting = pool.AcquireAsync(1, Any, cancellationToken);
        for (var day = 0; day < 100; day++)
            Time.Advance(TimeSpan.FromDays(1));
        Assert.That(waiting.IsCompleted, Is.False);

        Forge["a"].Down = null;
        var took = await AdvanceUntil(() => waiting.IsCompleted);

        (await waiting).Dispose();
        Assert.That(took, Is.LessThan(TimeSpan.FromSeconds(2)));
    }

    [Test]
    public async Task AcquireAsync_Throws_WhenNoBackendCouldEverServe(CancellationToken cancellationToken)
    {
        var pool = await ReadyPoolAsync("a");

        var exception = Assert.ThrowsAsync<ForgeException>(
            () => pool.AcquireAsync(1, new BackendRequirements(Backends: ["gone"]), cancellationToken));

        Assert.That(
            (exception!.Failure, exception.Reason),
            Is.EqualTo((ForgeFailure.Unavailable, "none of the backends is called gone; see Forge:Models and Forge:Backends")));
    }

    [Test]
    public async Task AcquireAsync_TakesTheBackendThatCan_OrThrowsWhenNoneCan(CancellationToken cancellationToken)
    {
        Forge["a"].Capabilities = new ForgeCapabilities { ImageToImage = false, Upscale = false };
        Forge["b"].Capabilities = new ForgeCapabilities { ImageToImage = true, Upscale = false };
        var pool = await ReadyPoolAsync("a", "b");

        using (var one = await pool.AcquireAsync(1, Any with { Task = ForgeTask.Inpaint }, cancellationToken))
        {
            Assert.That(one.Backend.Name, Is.EqualTo("b"));
            Assert.That(pool.TryTake(Any with { Task = ForgeTask.ImageToImage }), Is.Null, "the free one cannot");
        }

        var exception = Assert.ThrowsAsync<ForgeException>(
            () => pool.AcquireAsync(1, Any with { Task = ForgeTask.Upscale }, cancellationToken));
        Assert.That(exception!.Reason, Is.EqualTo("none of the backends for it can do Upscale"));
    }

    /// <summary>What a backend can do is known once it has come up: then nothing may wait for what never comes.</summary>
    [Test]
    public async Task AcquireAsync_Throws_WhenTheLastBackendTurnsOutNotToBeAbleTo(CancellationToken cancellationToken)
    {
        Forge["a"].Down = "it is switched off";
        Forge["a"].Capabilities = new ForgeCapabilities { ImageToImage = false };
        var pool = await ReadyPoolAsync("a");
        var waiting = pool.AcquireAsync(1, Any with { Task = ForgeTask.ImageToImage }, cancellationToken);
        Assert.That(waiting.IsCompleted, Is.False, "it may be able to");

        Forge["a"].Down = null;
        await AdvanceUntil(() => waiting.IsCompleted);

        Assert.ThrowsAsync<ForgeException>(() => waiting);
    }

    [Test]
    public async Task TryTake_SharesOut_WhenSeveralAreFree()
    {
        var pool = await ReadyPoolAsync("a", "b");
        var names = new List<string>();

        for (var i = 0; i < 4; i++)
        {
            using var lease = pool.TryTake(Any)!;
            names.Add(lease.Backend.Name);
        }

        Assert.That(string.Join(' ', names), Is.EqualTo("a b a b"));
    }

    [Test]
    public async Task TryTake_TakesTheWarmOne_WhenItHasTheModelLoaded()
    {
        Forge["b"].Capabilities = new ForgeCapabilities { LoadedModel = "flux/flux1-dev.safetensors [a1b2c3d4]" };
        var pool = await ReadyPoolAsync("a", "b");

        using (var byOptions = pool.TryTake(new BackendRequirements("flux1-dev"))!)
        {
            Assert.That(byOptions.Backend.Name, Is.EqualTo("b"));
            byOptions.ReportCompleted("sdxl");
        }

        using (var cold = pool.TryTake(new BackendRequirements("flux1-dev"))!)
        {
            Assert.That(cold.Backend.Name, Is.EqualTo("a"));
            cold.ReportCompleted();
        }

        for (var i = 0; i < 3; i++)
        {
            using var byAnswer = pool.TryTake(new BackendRequirements("flux1-dev.safetensors"))!;
            Assert.That(byAnswer.Backend.Name, Is.EqualTo("a"));
        }

        Assert.That((StatusOf(pool, "a").LoadedModel, StatusOf(pool, "b").LoadedModel), Is.EqualTo(("flux1-dev", "sdxl")));
    }

    [Test]
    public async Task TryTake_AvoidsTheOneThatFailedTheRequest_WhileAnotherIsHealthy()
    {
        var pool = await ReadyPoolAsync("a", "b");
        var requirements = new BackendRequirements(Except: ["A"]);
        using var b = pool.TryTake(requirements)!;

        Assert.That((b.Backend.Name, pool.TryTake(requirements)), Is.EqualTo(("b", (BackendReservation?)null)), "b is busy, but healthy");
        b.ReportUnavailable("reset");

        using var last = pool.TryTake(requirements)!;
        Assert.That(last.Backend.Name, Is.EqualTo("a"));
    }

    [Test]
    public async Task TryTake_PrefersOneThatHasTheModel_WhenServersListTheirs()
    {
        Forge["a"].Capabilities = new ForgeCapabilities { Checkpoints = new ForgeCheckpoints([new ForgeCheckpoint("sdxl")]) };
        Forge["b"].Capabilities = new ForgeCapabilities { Checkpoints = new ForgeCheckpoints([new ForgeCheckpoint("flux1-dev")]) };
        var pool = await ReadyPoolAsync("a", "b");

        using var lease = pool.TryTake(new BackendRequirements("flux1-dev.safetensors"))!;

        Assert.That((lease.Backend.Name, pool.TryTake(new BackendRequirements("flux1-dev"))), Is.EqualTo(("b", (BackendReservation?)null)));
        Assert.That(pool.TryTake(new BackendRequirements("unknown to both"))?.Backend.Name, Is.EqualTo("a"), "perhaps its list is old");
    }

    [Test]
    public async Task NextChange_Completes_WhenAvailableChanges(CancellationToken cancellationToken)
    {
        var pool = await ReadyPoolAsync("a", "b");
        var change = pool.NextChange;
        var before = pool.Available;

        var lease = pool.TryTake(Any)!;
        await change.WaitAsync(cancellationToken);
        var (taken, next) = (pool.Available, pool.NextChange);
        lease.Dispose();
        await next.WaitAsync(cancellationToken);

        Assert.That((before, taken, pool.Available), Is.EqualTo((2, 1, 2)));
    }

    [Test]
    public async Task SetPaused_KeepsItFromBeingLent_UntilItIsResumed()
    {
        var pool = await ReadyPoolAsync("a");

        pool.SetPaused(["A"]);
        Assert.That(
            (pool.TryTake(Any), pool.Available, pool.NoneHealthySince is null),
            Is.EqualTo(((BackendReservation?)null, 0, true)),
            "paused is not broken");
        await Until.TrueAsync(() => Leases.HolderOf(LeaseOf("a")) is null);
        pool.SetPaused(["b"]);

        await Until.TrueAsync(() => pool.Available == 1);
    }

    [Test]
    public async Task Add_ServesThoseInLine_WhenPoolWasEmpty(CancellationToken cancellationToken)
    {
        var pool = Pool();
        var waiting = pool.AcquireAsync(1, Any, cancellationToken);

        pool.Add(new ForgeBackend("simulator", new Uri("http://127.0.0.1:5080/simulator")));

        using var lease = await waiting;
        Assert.Multiple(() =>
        {
            Assert.That(lease.Backend.Name, Is.EqualTo("simulator"));
            Assert.That(
                lease.LeaseName,
                Is.EqualTo($"forge:http://127.0.0.1:5080/simulator@{Environment.MachineName}"),
                "each machine has a loopback of its own");
            Assert.That(pool.Backends, Has.Count.EqualTo(1));
            Assert.Throws<ArgumentException>(() => pool.Add(new ForgeBackend("again", new Uri("http://127.0.0.1:5080/simulator/"))));
        });
    }

    [Test]
    public async Task Dispose_EndsTheWaitAndTheProbing_WhenPoolCloses(CancellationToken cancellationToken)
    {
        Forge["a"].Down = "off";
        var pool = await ReadyPoolAsync("a");
        var waiting = pool.AcquireAsync(1, Any, cancellationToken);

        pool.Dispose();
        pool.Dispose();
        var probes = Forge["a"].Probes;
        await Pass(TimeSpan.FromSeconds(5));

        Assert.Multiple(() =>
        {
            Assert.ThrowsAsync<ObjectDisposedException>(() => waiting);
            Assert.ThrowsAsync<ObjectDisposedException>(() => pool.AcquireAsync(1, Any, cancellationToken));
            Assert.That(pool.TryTake(Any), Is.Null);
            Assert.That(Forge["a"].Probes, Is.EqualTo(probes));
        });
    }

    [Test]
    public async Task Dispose_LetsLeasesEnd_WhenPoolClosedFirst()
    {
        var pool = await ReadyPoolAsync("a");
        var lease = pool.TryTake(Any)!;
        pool.Dispose();

        Assert.DoesNotThrow(() =>
        {
            lease.ReportUnavailable("closing");
            lease.ReportCompleted();
            lease.Dispose();
        });
    }

    [Test]
    public void ToBackend_TakesCredentialsOutOfTheAddress_WhenTheyAreInIt()
    {
        var backend = new ForgeBackendOptions { Url = new Uri("http://ay%C5%9Fe:p%3Ass@gpu1:7860/forge/") }.ToBackend();

        Assert.Multiple(() =>
        {
            Assert.That(backend, Is.EqualTo(new ForgeBackend("gpu1:7860", new Uri("http://gpu1:7860/forge"), "ayşe", "p:ss")));
            Assert.That(backend.ToString(), Is.EqualTo("gpu1:7860 (http://gpu1:7860/forge)"));
        });
    }

    [Test]
    public void LeaseName_FitsItsColumn_WhenTheAddressIsLong()
    {
        var one = ForgeAddress.LeaseName(new Uri($"http://gpu1/{new string('x', 400)}/1"));
        var two = ForgeAddress.LeaseName(new Uri($"http://gpu1/{new string('x', 400)}/2"));

        Assert.That((one.Length, two.Length, one != two), Is.EqualTo((250, 250, true)));
    }

    private static void InterlockedMax(ref int target, int value)
    {
        for (var seen = Volatile.Read(ref target); seen < value;)
        {
            seen = Interlocked.CompareExchange(ref target, value, seen);
        }
    }
}
