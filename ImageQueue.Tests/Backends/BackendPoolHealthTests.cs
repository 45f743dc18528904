using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.Logging;
using NUnit.Framework;

namespace ImageQueue.Tests.Backends;

/// <summary>Which backends are left alone, for how long, and who is to blame.</summary>
[TestFixture]
[Category(Categories.Fast)]
public sealed class BackendPoolHealthTests : PoolBench
{
    private static readonly BackendRequirements Any = BackendRequirements.Any;

    [Test]
    public async Task TryTake_TakesTheOther_WhenOneIsDown()
    {
        Forge["a"].Down = "connection refused";
        var pool = await ReadyPoolAsync("a", "b");

        for (var i = 0; i < 3; i++)
        {
            using var lease = pool.TryTake(Any)!;
            Assert.That(lease.Backend.Name, Is.EqualTo("b"));
        }

        var status = StatusOf(pool, "a");
        Assert.That((status.Healthy, status.LastError, status.Leased), Is.EqualTo(((bool?)false, "connection refused", false)));
    }

    /// <summary>What it sends is still on its way then, and may turn out to be none.</summary>
    [Test]
    public async Task ReportAnswered_GivesTheBackendBack_UnlessItsLastImagesWereBadOrAreNotKnown()
    {
        var pool = await ReadyPoolAsync("a");
        var first = pool.TryTake(Any)!;
        first.ReportAnswered();
        var second = pool.TryTake(Any)!;
        second.ReportAnswered();
        Assert.That(pool.Available, Is.Zero, "nobody knows yet how the first one was");

        first.ReportGenerated();
        second.ReportAnswered();
        Assert.That(pool.Available, Is.EqualTo(1));

        second.ReportFailed("request", "the answer was cut short");
        var third = pool.TryTake(Any)!;
        third.ReportAnswered();
        Assert.That(pool.Available, Is.Zero, "the second one was bad");

        third.ReportGenerated();
        third.ReportAnswered();
        Assert.That(pool.Available, Is.EqualTo(1));
    }

    [Test]
    public async Task Probing_WaitsLongerAndLonger_WhileAnotherIsWell()
    {
        Forge["a"].Down = "off";
        var pool = await ReadyPoolAsync("a", "b");

        await Pass(TimeSpan.FromSeconds(60));

        Assert.That(Forge["a"].Probes, Is.InRange(6, 9), "1 + 2 + 4 + 8 + 15 + 15 + 15 s");
        Forge["a"].Down = null;
        Assert.That(await AdvanceUntil(() => pool.Available == 2), Is.LessThanOrEqualTo(TimeSpan.FromSeconds(15.5)));
    }

    [Test]
    public async Task Probing_FindsTheFirstOneBackAtOnce_WhenAllAreDown()
    {
        Forge["a"].Down = Forge["b"].Down = "off";
        var pool = await ReadyPoolAsync("a", "b");
        var since = pool.NoneHealthySince;
        await Pass(TimeSpan.FromMinutes(2));
        Assert.That((pool.NoneHealthySince is null, pool.NoneHealthySince), Is.EqualTo((false, since)));

        Forge["b"].Down = null;

        Assert.That(await AdvanceUntil(() => pool.Available == 1), Is.LessThanOrEqualTo(TimeSpan.FromSeconds(1.5)));
        Assert.That((pool.NoneHealthySince is null, pool.NoneHealthySince), Is.EqualTo((true, (DateTimeOffset?)null)));
    }

    [Test]
    public async Task Probing_NoticesADeath_WhenItIsIdle()
    {
        var pool = await ReadyPoolAsync("a", "b");

        Forge["a"].Down = "off";

        await AdvanceUntil(() => pool.Available == 1);
        Assert.That(StatusOf(pool, "a").LastError, Is.EqualTo("off"));
        await Until.TrueAsync(() => Leases.HolderOf(LeaseOf("a")) is null);
    }

    [Test]
    public async Task ReportUnavailable_RestsLongerEachTime_WhenProbesAreAnswered()
    {
        var pool = await ReadyPoolAsync("a", "b");
        var rests = new List<double>();
        for (var i = 0; i < 6; i++)
        {
            using (var lease = pool.TryTake(new BackendRequirements(Backends: ["a"]))!)
                lease.ReportUnavailable("502");
            rests.Add((await AdvanceUntil(() => pool.Available == 2)).TotalSeconds);
        }

        Assert.That(rests, Is.EqualTo(new double[] { 1, 2, 4, 8, 15, 15 }).Within(1.0));

        using (var lease = pool.TryTake(new BackendRequirements(Backends: ["a"]))!)
            lease.ReportGenerated();
        using (var lease = pool.TryTake(new BackendRequirements(Backends: ["a"]))!)
            lease.ReportUnavailable("502");
        Assert.That((await AdvanceUntil(() => pool.Available == 2)).TotalSeconds, Is.EqualTo(1).Within(1.0), "a generated image ends the row");
    }

    [Test]
    public async Task ReportUnavailable_RestsLonger_WhenTheGpuIsDead()
    {
        var pool = await ReadyPoolAsync("a", "b");
        var rests = new List<double>();
        for (var i = 0; i < 4; i++)
        {
            using (var lease = pool.TryTake(new BackendRequirements(Backends: ["a"]))!)
                lease.ReportUnavailable(new ForgeException(ForgeFailure.Disrupted, "CUDA error: unspecified launch failure"), "t");
            Assert.That(StatusOf(pool, "a").LastError, Is.EqualTo("CUDA error: unspecified launch failure"));
            rests.Add((await AdvanceUntil(() => pool.Available == 2)).TotalSeconds);
        }

        Assert.That(rests, Is.EqualTo(new double[] { 10, 15, 15, 15 }).Within(1.0));
    }

    [Test]
    public async Task ReportUnavailable_EndsTheRest_WhenTheServerWasSeenToRestart()
    {
        var pool = await ReadyPoolAsync("a");
        using (var lease = pool.TryTake(Any)!)
            lease.ReportUnavailable(new ForgeException(ForgeFailure.Disrupted, "CUDA error"), "t");
        using (var lease = pool.TryTake(Any))
            Assert.That(lease, Is.Null);

        Forge["a"].Down = "connection refused";
        await AdvanceUntil(() => StatusOf(pool, "a").LastError == "connection refused");
        Forge["a"].Down = null;

        Assert.That(await AdvanceUntil(() => pool.Available == 1), Is.LessThanOrEqualTo(TimeSpan.FromSeconds(1.5)));
    }

    [Test]
    public async Task ReportUnavailable_IgnoresAnEarlierAnswer_WhenAProbeWasUnderWay()
    {
        var pool = await ReadyPoolAsync("a");
        var answer = new TaskCompletionSource<bool>();
        var lease = pool.TryTake(Any)!;
        Forge["a"].Probe = () => answer.Task;
        lease.ReportUnavailable("reset");
        await Until.TrueAsync(() => Forge["a"].Probes == 2);

        // The next trouble, with a longer rest, while that probe is under way.
        lease.ReportUnavailable("reset again");
        answer.SetResult(true);
        Forge["a"].Probe = () => Task.FromResult(true);
        lease.Dispose();
        await Until.TrueAsync(() => Forge["a"].Probes > 2);

        Assert.That((StatusOf(pool, "a").Healthy, pool.Available), Is.EqualTo(((bool?)false, 0)));
    }

    [Test]
    public async Task ReportFailed_LeavesItAlone_AfterTwoRequests()
    {
        var pool = await ReadyPoolAsync("bad", "good");
        using var good = pool.TryTake(new BackendRequirements(Backends: ["good"]))!; // Busy with a long one.
        foreach (var request in (string[])["1", "2"])
        {
            using var bad = pool.TryTake(Any)!;
            bad.ReportFailed(request, "RuntimeError: boom");
        }

        Assert.That((pool.TryTake(Any), pool.Available, StatusOf(pool, "bad").Healthy), Is.EqualTo(((BackendReservation?)null, 0, (bool?)true)), "under suspicion");

        good.ReportGeneratedElsewhere("1");
        Assert.That(StatusOf(pool, "bad").Healthy, Is.True, "one may happen");
        good.ReportGeneratedElsewhere("2");

        var status = StatusOf(pool, "bad");
        Assert.That((status.Healthy, status.LastError), Is.EqualTo(((bool?)false, "it failed 2 requests in a row that others generated: RuntimeError: boom")));
    }

    [Test]
    public async Task ReportFailed_LeavesItAlone_AfterTwoRequests_ThoughImagesAreLookedAtLater()
    {
        var pool = await ReadyPoolAsync("bad", "good");
        using var good = pool.TryTake(new BackendRequirements(Backends: ["good"]))!;
        var first = pool.TryTake(Any)!;
        first.Dispose(); // The next request gets it at once,
        var second = pool.TryTake(Any)!;
        first.ReportFailed("1", "no image"); // and only then the first one's image has been looked at.
        second.Dispose();

        Assert.That(pool.TryTake(Any), Is.Null, "the second one's has not been looked at yet");
        second.ReportGenerated();

        using var third = pool.TryTake(Any);
        Assert.That(third, Is.Not.Null);
    }

    [Test]
    public async Task ReportFailed_BlamesTheRequest_WhenItFailsElsewhereToo()
    {
        var pool = await ReadyPoolAsync("a", "b");
        foreach (var request in (string[])["1", "2", "3", "4"])
        {
            foreach (var name in (string[])["a", "b"])
            {
                using var lease = pool.TryTake(new BackendRequirements(Backends: [name]))!;
                lease.ReportFailed(request, "boom");
            }
        }

        Assert.That(pool.Available, Is.EqualTo(2));
    }

    [Test]
    public async Task ReportFailed_BlamesTheRequest_WhenItFailsAtTheOnlyOneTwice()
    {
        var pool = await ReadyPoolAsync("a");
        for (var i = 0; i < 6; i++)
        {
            using var lease = pool.TryTake(Any)!;
            lease.ReportFailed($"{i / 2}", "boom");
        }

        Assert.That((pool.Available, StatusOf(pool, "a").Healthy), Is.EqualTo((1, (bool?)true)));
    }

    [Test]
    public async Task ReportFailed_LetsTheSuspectGenerate_WhenThereIsNoOther()
    {
        var pool = await ReadyPoolAsync("bad", "good");
        foreach (var request in (string[])["1", "2"])
        {
            using var bad = pool.TryTake(new BackendRequirements(Backends: ["bad"]))!;
            bad.ReportFailed(request, "boom");
        }

        using (var good = pool.TryTake(Any)!)
        {
            Assert.That(good.Backend.Name, Is.EqualTo("good"));
            good.ReportUnavailable("reset");
        }

        using var suspect = pool.TryTake(Any)!;
        Assert.That(suspect.Backend.Name, Is.EqualTo("bad"));
        suspect.ReportGenerated();
        Assert.That(StatusOf(pool, "bad").Healthy, Is.True);
    }

    [Test]
    public async Task ReportFailed_IsForgotten_WhenNobodyEverSaysHowTheRequestsFared()
    {
        var pool = await ReadyPoolAsync("a", "b");
        foreach (var request in (string[])["1", "2"])
        {
            using var lease = pool.TryTake(new BackendRequirements(Backends: ["a"]))!;
            lease.ReportFailed(request, "boom");
        }

        Assert.That(pool.Available, Is.EqualTo(1));

        Time.Advance(TimeSpan.FromSeconds(180));

        await AdvanceUntil(() => pool.Available == 2);
    }

    [Test]
    public async Task ReportFailed_TakesOneRequest_WhenItFailsAgainAfterItsRest()
    {
        var pool = await ReadyPoolAsync("bad", "good");
        foreach (var request in (string[])["1", "2"])
        {
            using var bad = pool.TryTake(new BackendRequirements(Backends: ["bad"]))!;
            bad.ReportFailed(request, "boom");
            bad.ReportGeneratedElsewhere(request);
        }

        for (var i = 3; i < 6; i++)
        {
            var rest = await AdvanceUntil(() => pool.Available == 2);
            Assert.That(rest.TotalSeconds, Is.EqualTo(5 * Math.Min(i - 2, 3)).Within(1.0));
            using var bad = pool.TryTake(new BackendRequirements(Backends: ["bad"]))!;
            bad.ReportFailed($"{i}", "boom");
            Assert.That(StatusOf(pool, "bad").Healthy, Is.False);
        }
    }

    [Test]
    public async Task Log_SaysEachChangeOnce_WhenABackendGoesAndComes()
    {
        Forge["a"].Down = "refused";
        var pool = await ReadyPoolAsync("a");
        await AdvanceUntil(() => Forge["a"].Probes >= 4);
        Forge["a"].Down = "wrong password";
        await AdvanceUntil(() => StatusOf(pool, "a").LastError == "wrong password");
        Forge["a"].Down = null;
        await AdvanceUntil(() => pool.Available == 1);

        // A dead GPU answers every probe: what it is tried with again and again is no news.
        for (var i = 0; i < 3; i++)
        {
            using (var lease = pool.TryTake(Any)!)
                lease.ReportUnavailable(new ForgeException(ForgeFailure.Disrupted, "CUDA error"), "t");
            await AdvanceUntil(() => pool.Available == 1);
        }

        using (var lease = pool.TryTake(Any)!)
            lease.ReportGenerated();
        Assert.That(Log, Is.EqualTo(new[]
        {
            (LogLevel.Warning, "Forge a (http://a:7860/) is down: refused."),
            (LogLevel.Warning, "Forge a (http://a:7860/) is down: wrong password."),
            (LogLevel.Information, "Forge a (http://a:7860/) is up again."),
            (LogLevel.Warning, "Forge a (http://a:7860/) is down: CUDA error."),
            (LogLevel.Information, "Forge a (http://a:7860/) is up again."),
        }));
    }

    [Test]
    public async Task Probing_GoesOn_WhenTheClientThrows()
    {
        var pool = Pool("a");
        Forge["a"].Probe = () => Forge["a"].Probes == 1 ? throw new InvalidOperationException("a bug") : Task.FromResult(true);
        pool.ProbeUnknown();

        await AdvanceUntil(() => pool.Available == 1);

        Assert.That(Log.Select(entry => entry.Level), Has.One.EqualTo(LogLevel.Error));
    }
}
