using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Hosting;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using Moq;
using NUnit.Framework;

namespace ImageQueue.Tests.Backends;

/// <summary>A backend gets no new request until what no request needs any more is over there.</summary>
[TestFixture]
[Category(Categories.Fast)]
public sealed class BackendPoolDrainTests : PoolBench
{
    private static readonly BackendRequirements Any = BackendRequirements.Any;

    private readonly TaskCompletionSource<ForgeImage> _never = new();

    [Test]
    public async Task Abandon_InterruptsAtOnce_WhenTheTaskIsActive()
    {
        var pool = await ReadyPoolAsync("a");
        Forge["a"].Progress = _ => new ForgeProgress(ForgeTaskState.Active, 0.3);
        var generating = new TaskCompletionSource<ForgeImage>();
        var call = Abandon(pool, generating.Task);

        await Until.TrueAsync(() => !Forge["a"].Interrupted.IsEmpty);
        Assert.That(
            (pool.Available, StatusOf(pool, "a").Busy, StatusOf(pool, "a").Draining, call.IsCancellationRequested),
            Is.EqualTo((0, false, true, false)));

        generating.SetResult(new ForgeImage(default, null)); // Half done.

        await Until.TrueAsync(() => pool.Available == 1);
        Assert.That(Forge["a"].Interrupted, Is.EqualTo(new[] { "job-1" }));
    }

    [Test]
    public async Task Drain_IsACondition_WhenItLasts()
    {
        var pool = await ReadyPoolAsync("a", "b");
        Forge["a"].Progress = _ => new ForgeProgress(ForgeTaskState.Queued);
        var pauses = new Pauses(Mock.Of<IOperatorStore>(), pool, new DatabaseReadiness(), Time, NullLogger<Pauses>.Instance);
        var conditions = new BackendConditions(pool, pauses, Time);
        var began = Time.GetUtcNow();
        pool.TryTake(new BackendRequirements(Backends: ["a"]))!.Abandon(
            "job-1", "its request timed out", _never.Task, new CancellationTokenSource());

        Assert.That(StatusOf(pool, "a").Drain, Is.EqualTo(new DrainStatus(began, "its request timed out")));
        Assert.That(await conditions.ReadAsync(CancellationToken.None), Is.Empty, "most drains end at once");
        await Pass(TimeSpan.FromSeconds(6));

        var condition = (await conditions.ReadAsync(CancellationToken.None)).Single();
        Assert.That(
            (condition.Code, condition.Subject, condition.Since, condition.IsFault, condition.Text),
            Is.EqualTo((
                ConditionCodes.BackendDraining, "a", began, false, "Backend a drains and gets no request: its request timed out.")));
    }

    [Test]
    public async Task Abandon_WaitsWithoutInterrupting_WhileTheTaskIsQueued()
    {
        var pool = await ReadyPoolAsync("a");
        var state = ForgeTaskState.Queued;
        Forge["a"].Progress = _ => new ForgeProgress(state);
        Forge["a"].OnInterrupt = _ =>
        {
            state = ForgeTaskState.Completed;
            return true;
        };
        var call = Abandon(pool);
        await Pass(TimeSpan.FromMinutes(10));
        Assert.That(
            (Forge["a"].Interrupted.Count, pool.Available, StatusOf(pool, "a").Healthy),
            Is.EqualTo((0, 0, (bool?)true)),
            "another client's image comes first");

        state = ForgeTaskState.Active;

        await AdvanceUntil(() => pool.Available == 1);
        await Until.TrueAsync(() => call.IsCancellationRequested);
        Assert.That(Forge["a"].Interrupted, Has.Count.EqualTo(1));
    }

    [Test]
    public async Task Abandon_Ends_WhenTheServerHasNoJob_ThoughItCallsTheTaskActive()
    {
        var pool = await ReadyPoolAsync("a");
        Forge["a"].Progress = _ => new ForgeProgress(ForgeTaskState.Active);
        Forge["a"].State = new ForgeServerState(IsIdle: true, WasInterrupted: false, 0);
        Abandon(pool);

        Assert.That(await AdvanceUntil(() => pool.Available == 1), Is.LessThan(TimeSpan.FromSeconds(3)));
        Assert.That(Forge["a"].Interrupted, Is.Empty);
    }

    [Test]
    public async Task Abandon_WaitsForTheRequestToArrive_WhenItWasJustSent()
    {
        var pool = await ReadyPoolAsync("a");
        var state = ForgeTaskState.Unknown;
        Forge["a"].Progress = _ => new ForgeProgress(state);
        Abandon(pool);
        await AdvanceUntil(() => Forge["a"].Looks >= 2);
        Assert.That(pool.Available, Is.Zero);

        state = ForgeTaskState.Active;
        await AdvanceUntil(() => !Forge["a"].Interrupted.IsEmpty);
        state = ForgeTaskState.Unknown;

        await AdvanceUntil(() => pool.Available == 1);
    }

    [Test]
    public async Task Abandon_WaitsForTheAnswer_WhenTheServerCannotSay()
    {
        var pool = await ReadyPoolAsync("a");
        CannotSay();
        var generating = new TaskCompletionSource<ForgeImage>();
        var call = Abandon(pool, generating.Task);
        await Pass(TimeSpan.FromSeconds(100));
        Assert.That((pool.Available, call.IsCancellationRequested), Is.EqualTo((0, false)), "still generating, and the call stays open");

        generating.SetException(new ForgeException(ForgeFailure.Failed, "boom"));

        await Until.TrueAsync(() => pool.Available == 1);
    }

    [Test]
    public async Task Abandon_EndsWithTheTimeout_WhenTheServerNeitherSaysNorAnswers()
    {
        var pool = await ReadyPoolAsync("a");
        CannotSay();
        var began = Time.GetUtcNow();
        var call = Abandon(pool);

        await Pass(TimeSpan.FromSeconds(850));
        await AdvanceUntil(() => pool.Available == 1, TimeSpan.FromSeconds(5));
        Assert.That(
            Time.GetUtcNow() - began,
            Is.InRange(TimeSpan.FromSeconds(900), TimeSpan.FromSeconds(910)),
            "five times Forge:Timeout, while its answer may come");
        await Until.TrueAsync(() => call.IsCancellationRequested);
    }

    [Test]
    public async Task Abandon_GoesOn_WhenTheConnectionBreaks()
    {
        var pool = await ReadyPoolAsync("a");
        var state = ForgeTaskState.Active;
        Forge["a"].Progress = _ => new ForgeProgress(state);
        Abandon(pool, Task.FromException<ForgeImage>(new ForgeException(ForgeFailure.Unavailable, "504") { MayStillBeRunning = true }));

        await Pass(TimeSpan.FromSeconds(5));
        Assert.That(pool.Available, Is.Zero, "only the connection is gone");
        state = ForgeTaskState.Completed;

        await AdvanceUntil(() => pool.Available == 1);
    }

    [Test]
    public async Task Abandon_IsDrainedWhenItIsBack_WhenTheServerGoesDown()
    {
        var pool = await ReadyPoolAsync("a");
        var state = ForgeTaskState.Active;
        Forge["a"].Progress = _ => new ForgeProgress(state);
        Abandon(pool);
        await Until.TrueAsync(() => !Forge["a"].Interrupted.IsEmpty);

        Forge["a"].Down = "connection reset";
        Forge["a"].Trouble = new ForgeException(ForgeFailure.Unavailable, "connection reset");
        await AdvanceUntil(() => StatusOf(pool, "a") is { Healthy: false, LastError: "connection reset", Draining: true });
        (Forge["a"].Down, Forge["a"].Trouble) = (null, null);
        await AdvanceUntil(() => StatusOf(pool, "a") is { Healthy: true, Leased: true });
        await Pass(TimeSpan.FromSeconds(3));
        Assert.That(pool.Available, Is.Zero, "it was only the way there that was broken");
        state = ForgeTaskState.Unknown;

        await AdvanceUntil(() => pool.Available == 1);
    }

    [Test]
    public async Task Abandon_EndsWhenItIsBack_WhenTheServerCannotSayButWasAway()
    {
        var pool = await ReadyPoolAsync("a");
        CannotSay();
        Abandon(pool);
        await Until.TrueAsync(() => Forge["a"].Looks > 0);
        Forge["a"].Down = "connection refused";
        Forge["a"].Trouble = new ForgeException(ForgeFailure.Unavailable, "connection refused");
        await AdvanceUntil(() => StatusOf(pool, "a").Healthy == false);

        (Forge["a"].Down, Forge["a"].Trouble) = (null, null);

        Assert.That(
            await AdvanceUntil(() => pool.Available == 1), Is.LessThan(TimeSpan.FromSeconds(3)), "a new process knows nothing of it");
    }

    [Test]
    public async Task Abandon_MakesItUnhealthy_WhenNoInterruptEndsIt()
    {
        var pool = await ReadyPoolAsync("a");
        var state = ForgeTaskState.Active;
        Forge["a"].Progress = _ => new ForgeProgress(state);
        Abandon(pool);

        await AdvanceUntil(() => StatusOf(pool, "a").Healthy == false, TimeSpan.FromSeconds(5));
        Assert.That(StatusOf(pool, "a").LastError, Is.EqualTo("it does not let go of job-1, which was interrupted"));
        await Pass(TimeSpan.FromSeconds(30));
        Assert.That((StatusOf(pool, "a").Healthy, pool.Available), Is.EqualTo(((bool?)false, 0)), "never two at a time");

        state = ForgeTaskState.Unknown; // Restarted.
        Assert.That(await AdvanceUntil(() => pool.Available == 1), Is.LessThan(TimeSpan.FromSeconds(15)));
    }

    [Test]
    public async Task Abandon_GoesByTheWholeServer_WhenThereAreNoTaskIds([Values] bool shared)
    {
        var pool = Pool();
        pool.Add(new ForgeBackend("a", new Uri("http://a:7860")) { Shared = shared });
        pool.StartMonitoring();
        await Until.TrueAsync(() => pool.Available == 1);
        var state = ForgeTaskState.Active;
        Forge["a"].Progress = _ => new ForgeProgress(state) { Source = ForgeProgressSource.Server };
        Forge["a"].OnInterrupt = _ => !shared; // The client's rule.
        Abandon(pool);
        await AdvanceUntil(() => !Forge["a"].Interrupted.IsEmpty);
        Assert.That(pool.Available, Is.Zero);

        state = ForgeTaskState.Unknown;

        Assert.That(await AdvanceUntil(() => pool.Available == 1), Is.LessThan(TimeSpan.FromSeconds(4)));
    }

    [Test]
    public async Task ReportDisrupted_DrainsBeforeTheCanary_WhenTheServerMayStillGenerate()
    {
        var pool = await ReadyPoolAsync("a");
        var state = ForgeTaskState.Active;
        Forge["a"].Progress = _ => new ForgeProgress(state);
        using (var lease = pool.TryTake(Any)!)
            _ = lease.ReportDisrupted(new ForgeException(ForgeFailure.GatewayTimeout, "504") { MayStillBeRunning = true }, "job-1");

        await AdvanceUntil(() => Forge["a"].Interrupted.Contains("job-1"));
        Assert.That((pool.Available, Forge["a"].Canaries), Is.EqualTo((0, 0)));
        state = ForgeTaskState.Completed;

        await AdvanceUntil(() => pool.Available == 1);
        Assert.That(Forge["a"].Canaries, Is.EqualTo(1));
    }

    [Test]
    public async Task Stop_InterruptsWhatIsAbandoned_AndLeavesItsName(CancellationToken cancellationToken)
    {
        var pool = await ReadyPoolAsync("a");
        Forge["a"].Progress = _ => new ForgeProgress(ForgeTaskState.Active);
        Leases.Note(LeaseOf("a"), "job-1");
        Abandon(pool);

        await pool.StopAsync(cancellationToken);

        Assert.That(
            (Forge["a"].Interrupted.First(), Leases.NoteOf(LeaseOf("a")), Leases.HolderOf(LeaseOf("a"))),
            Is.EqualTo(("job-1", "job-1", (string?)null)));
    }

    [Test]
    public async Task Abandon_ObservesTheCall_WhenTheLeaseIsOverAlready()
    {
        var pool = await ReadyPoolAsync("a");
        var lease = pool.TryTake(Any)!;
        lease.Dispose();
        var call = new CancellationTokenSource();

        lease.Abandon("job-1", "why", _never.Task, call);

        await Until.TrueAsync(() => call.IsCancellationRequested);
        Assert.That(pool.Available, Is.EqualTo(1));
    }

    private void CannotSay()
    {
        Forge["a"].Progress = _ => new ForgeProgress(ForgeTaskState.Unknown) { Source = ForgeProgressSource.None };
        Forge["a"].OnInterrupt = _ => false;
    }

    private CancellationToken Abandon(BackendPool pool, Task<ForgeImage>? generating = null)
    {
        var call = new CancellationTokenSource();
        var token = call.Token;
        pool.TryTake(Any)!.Abandon("job-1", "its request was cancelled", generating ?? _never.Task, call);
        return token;
    }
}
