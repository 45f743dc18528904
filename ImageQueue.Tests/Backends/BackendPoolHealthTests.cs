using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Backends;

/// <summary>Which backends get requests, when a canary decides, and whose fault it finds.</summary>
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
        Assert.That(pool.Available, Is.Zero, "the first answer is not judged yet");

        first.ReportCompleted();
        second.ReportAnswered();
        Assert.That(pool.Available, Is.EqualTo(1));

        _ = second.ReportFailed("request", "the answer was cut short", isLast: false);
        var third = pool.TryTake(Any)!;
        third.ReportAnswered();
        Assert.That(pool.Available, Is.Zero, "the second one was bad");

        third.ReportCompleted();
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
    public async Task ReportUnavailable_DelaysTheCanaryMoreEachTime_UntilARequestCompletes()
    {
        var pool = await ReadyPoolAsync("a", "b");
        var delays = new List<double>();
        for (var i = 0; i < 5; i++)
        {
            using (var lease = pool.TryTake(new BackendRequirements(Backends: ["a"]))!)
                lease.ReportUnavailable("502");
            delays.Add((await AdvanceUntil(() => pool.Available == 2)).TotalSeconds);
        }

        Assert.That(delays, Is.EqualTo(new double[] { 1, 2, 4, 8, 16 }).Within(1.0));
        Assert.That(Forge["a"].Canaries, Is.EqualTo(5));

        using (var lease = pool.TryTake(new BackendRequirements(Backends: ["a"]))!)
            lease.ReportCompleted();
        using (var lease = pool.TryTake(new BackendRequirements(Backends: ["a"]))!)
            lease.ReportUnavailable("502");
        Assert.That(
            (await AdvanceUntil(() => pool.Available == 2)).TotalSeconds, Is.EqualTo(1).Within(1.0), "a completed request ends the row");
    }

    /// <summary>Forge builds its whole settings page for one of the GETs.</summary>
    [Test]
    public async Task Backend_IsLearntOncePerComingUp_NotWhileItWaitsForItsCanary()
    {
        var pool = await ReadyPoolAsync("a");
        Forge["a"].Canary = () => Task.FromException(new ForgeException(ForgeFailure.Disrupted, "CUDA error"));
        using (var lease = pool.TryTake(Any)!)
            _ = lease.ReportDisrupted(new ForgeException(ForgeFailure.Disrupted, "CUDA error"), "t");
        await AdvanceUntil(() => Forge["a"].Canaries > 0);
        var (lessons, probes) = (Forge["a"].Lessons, Forge["a"].Probes);

        await Pass(TimeSpan.FromMinutes(2));
        Assert.That(Forge["a"].Probes, Is.GreaterThan(probes + 5));
        Assert.That(Forge["a"].Lessons, Is.EqualTo(lessons));

        Forge["a"].Down = "connection refused";
        await AdvanceUntil(() => StatusOf(pool, "a").LastError == "connection refused");
        Forge["a"].Down = null;
        await AdvanceUntil(() => Forge["a"].Lessons == lessons + 1);
    }

    [Test]
    public async Task ReportDisrupted_FindsTheRequestAtFault_WhenTheCanarySucceeds()
    {
        var pool = await ReadyPoolAsync("a");
        var canary = new TaskCompletionSource();
        Forge["a"].Canary = () => canary.Task;
        var lease = pool.TryTake(Any)!;
        var verdict = lease.ReportDisrupted(new ForgeException(ForgeFailure.Disrupted, "CUDA error"), "t");
        lease.Dispose();
        await Until.TrueAsync(() => StatusOf(pool, "a").IsCanaryRunning);
        Assert.That((pool.Available, verdict.IsCompleted, StatusOf(pool, "a").State), Is.EqualTo((0, false, BackendState.Suspect)));

        canary.SetResult();

        Assert.That(await verdict, Is.True);
        Assert.That(
            (pool.Available, StatusOf(pool, "a").State, StatusOf(pool, "a").Attempts.Disrupted), Is.EqualTo((1, BackendState.Healthy, 1)));
    }

    [Test]
    public async Task ReportDisrupted_FindsTheBackendAtFault_WhenTheCanaryFails_AndCanariesComeAfterGrowingPauses()
    {
        var pool = await ReadyPoolAsync("a");
        Forge["a"].Canary = () => Task.FromException(new ForgeException(ForgeFailure.Disrupted, "CUDA error: unspecified launch failure"));
        var lease = pool.TryTake(Any)!;
        var verdict = lease.ReportDisrupted(new ForgeException(ForgeFailure.Disrupted, "CUDA error"), "t");
        lease.Dispose();

        Assert.That(await verdict, Is.False);
        await Until.TrueAsync(() => StatusOf(pool, "a").State == BackendState.Unhealthy);
        var since = StatusOf(pool, "a").Since;
        var pauses = new List<double>();
        for (var i = 0; i < 5; i++)
        {
            var seen = Forge["a"].Canaries;
            pauses.Add((await AdvanceUntil(() => Forge["a"].Canaries > seen)).TotalSeconds);
        }

        Assert.That(pauses, Is.EqualTo(new double[] { 1, 2, 4, 8, 16 }).Within(0.6));
        Assert.That(
            (StatusOf(pool, "a").Since, StatusOf(pool, "a").Leased),
            Is.EqualTo((since, true)),
            "no other process sends it requests meanwhile");

        Forge["a"].Canary = () => Task.CompletedTask;
        Assert.That(pool.ProbeNow("a"), Is.True);
        await AdvanceUntil(() => pool.Available == 1);
    }

    [Test]
    public async Task Verdict_WaitsForTheBackend_WhenItIsDownAfterTheDisruption()
    {
        var pool = await ReadyPoolAsync("a", "b");
        Forge["a"].Down = "connection refused";
        var lease = pool.TryTake(new BackendRequirements(Backends: ["a"]))!;
        var verdict = lease.ReportDisrupted(new ForgeException(ForgeFailure.Disrupted, "reset"), "t");
        lease.Dispose();

        Assert.That(
            await lease.WaitForVerdictAsync(verdict, canGoOn: true, CancellationToken.None), Is.Null, "b can have the request at once");
        Assert.That((Forge["a"].Canaries, StatusOf(pool, "a").LastError), Is.EqualTo((0, "connection refused")));

        Forge["a"].Down = null;
        await AdvanceUntil(() => verdict.IsCompleted);
        Assert.That((await verdict, Forge["a"].Canaries), Is.EqualTo((true, 1)));
    }

    [Test]
    public async Task WaitForVerdict_Ends_WhenTheOnlyBackendStaysAway()
    {
        var pool = await ReadyPoolAsync("a");
        Forge["a"].Down = "connection refused";
        var lease = pool.TryTake(Any)!;
        var verdict = lease.ReportDisrupted(new ForgeException(ForgeFailure.Disrupted, "reset"), "t");
        lease.Dispose();

        var waiting = lease.WaitForVerdictAsync(verdict, canGoOn: true, CancellationToken.None);

        Assert.That((await AdvanceUntil(() => waiting.IsCompleted)).TotalSeconds, Is.EqualTo(20).Within(1.0));
        Assert.That(await waiting, Is.Null);
    }

    [Test]
    public async Task Canary_IsJudgedByTheProbe_WhenTheServerDoesNotAcceptItsForm()
    {
        var pool = await ReadyPoolAsync("a");
        Forge["a"].Canary = () => Task.FromException(new ForgeException(ForgeFailure.Rejected, "width must be at least 256"));
        for (var i = 0; i < 2; i++)
        {
            var lease = pool.TryTake(Any)!;
            var verdict = lease.ReportDisrupted(new ForgeException(ForgeFailure.Disrupted, "reset"), "t");
            lease.Dispose();
            await AdvanceUntil(() => verdict.IsCompleted);
            Assert.That(await verdict, Is.True);
        }

        Assert.That((pool.Available, Forge["a"].Canaries), Is.EqualTo((1, 1)), "it is not asked again");
    }

    [Test]
    public async Task Canary_IsDrained_WhenItTakesTooLong()
    {
        var pool = await ReadyPoolAsync("a");
        Forge["a"].Progress = _ => new ForgeProgress(ForgeTaskState.Active);
        Forge["a"].Canary = () => new TaskCompletionSource().Task;
        using (var lease = pool.TryTake(Any)!)
            _ = lease.ReportDisrupted(new ForgeException(ForgeFailure.Disrupted, "reset"), "t");

        await AdvanceUntil(() => !Forge["a"].Interrupted.IsEmpty, TimeSpan.FromSeconds(5));

        Assert.That(Forge["a"].Interrupted.First(), Does.StartWith("canary-"));
        Assert.That(StatusOf(pool, "a").State, Is.EqualTo(BackendState.Unhealthy));
    }

    [Test]
    public async Task ReportUnavailable_LetsTheCanaryComeAtOnce_WhenTheServerWasSeenToRestart()
    {
        var pool = await ReadyPoolAsync("a");
        for (var i = 0; i < 3; i++)
        {
            using (var lease = pool.TryTake(Any)!)
                lease.ReportUnavailable("503");
            if (i < 2)
                await AdvanceUntil(() => pool.Available == 1);
        }

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
    public async Task ReportFailed_ChargesTheRequestAtOnce_WhenItIsTheFirst()
    {
        var pool = await ReadyPoolAsync("a");
        using var lease = pool.TryTake(Any)!;

        Assert.That(await lease.ReportFailed("1", "RuntimeError: boom", isLast: false), Is.True);

        Assert.That((StatusOf(pool, "a").State, Forge["a"].Canaries), Is.EqualTo((BackendState.Healthy, 0)));
    }

    [TestCase("2", false, Description = "two different requests in a row")]
    [TestCase("1", true, Description = "the request would end")]
    public async Task ReportFailed_AsksTheCanary_WhenTheBackendMayBeAtFault(string second, bool isLast)
    {
        var pool = await ReadyPoolAsync("a");
        Forge["a"].Canary = () => Task.FromException(new ForgeException(ForgeFailure.Failed, "NoneType"));
        using (var lease = pool.TryTake(Any)!)
            Assert.That(await lease.ReportFailed("1", "RuntimeError: boom", isLast: false), Is.True);
        Task<bool> verdict;
        using (var lease = pool.TryTake(Any)!)
            verdict = lease.ReportFailed(second, "RuntimeError: boom", isLast);

        Assert.That((pool.TryTake(Any), await verdict), Is.EqualTo(((BackendReservation?)null, false)));
        await Until.TrueAsync(() => StatusOf(pool, "a").Healthy == false);
        Assert.That((StatusOf(pool, "a").LastError, StatusOf(pool, "a").Attempts.Failed), Is.EqualTo(("NoneType", 2)));
    }

    [Test]
    public async Task ReportFailed_WaitsForTheBackendToBeFree_WhenImagesAreCheckedLater()
    {
        var pool = await ReadyPoolAsync("a");
        var first = pool.TryTake(Any)!;
        first.Dispose(); // The next request gets it at once,
        var second = pool.TryTake(Any)!;
        // and only then the first one's image has been checked.
        Assert.That(await first.ReportFailed("1", "no image", isLast: false), Is.True);
        var verdict = second.ReportFailed("2", "no image", isLast: false);
        await Pass(TimeSpan.FromSeconds(2));
        Assert.That((verdict.IsCompleted, Forge["a"].Canaries), Is.EqualTo((false, 0)), "one request at a time");

        second.Dispose();

        Assert.That(await verdict, Is.True);
        Assert.That(Forge["a"].Canaries, Is.EqualTo(1));
    }

    [Test]
    public async Task Log_HasEachChangeOnce_WhenABackendGoesAndComes()
    {
        Forge["a"].Down = "refused";
        var pool = await ReadyPoolAsync("a");
        await AdvanceUntil(() => Forge["a"].Probes >= 4);
        Forge["a"].Down = "wrong password";
        await AdvanceUntil(() => StatusOf(pool, "a").LastError == "wrong password");
        Forge["a"].Down = null;
        await AdvanceUntil(() => pool.Available == 1);

        // A dead GPU answers every probe: the canaries that it fails again and again are no news.
        Forge["a"].Canary = () => Task.FromException(new ForgeException(ForgeFailure.Disrupted, "CUDA error"));
        using (var lease = pool.TryTake(Any)!)
            _ = lease.ReportDisrupted(new ForgeException(ForgeFailure.Disrupted, "reset"), "t");
        await AdvanceUntil(() => Forge["a"].Canaries == 4);
        Forge["a"].Canary = () => Task.CompletedTask;
        await AdvanceUntil(() => pool.Available == 1);
        Assert.That(Log.Where(entry => !entry.Text.Contains("generates a canary", StringComparison.Ordinal)), Is.EqualTo(new[]
        {
            (LogLevel.Warning, "Backend a (http://a:7860/) is unhealthy: refused. It gets no requests until it is healthy again."),
            (LogLevel.Warning, "Backend a (http://a:7860/) is unhealthy: wrong password. It gets no requests until it is healthy again."),
            (LogLevel.Information, "Backend a (http://a:7860/) is healthy again."),
            (LogLevel.Information, "Backend a (http://a:7860/) is suspect: reset. A canary decides whether it or the request is at fault."),
            (LogLevel.Warning, "Backend a (http://a:7860/) is unhealthy: CUDA error. It gets no requests until it is healthy again."),
            (LogLevel.Information, "Backend a (http://a:7860/) is healthy again."),
        }));
    }

    [Test]
    public async Task Probing_GoesOn_WhenTheClientThrows()
    {
        var pool = Pool("a");
        Forge["a"].Probe = () => Forge["a"].Probes == 1 ? throw new InvalidOperationException("a bug") : Task.FromResult(true);
        pool.StartMonitoring();

        await AdvanceUntil(() => pool.Available == 1);

        Assert.That(Log.Select(entry => entry.Level), Has.One.EqualTo(LogLevel.Error));
    }
}
