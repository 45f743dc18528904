using System.Collections.Concurrent;
using System.Globalization;
using ImageQueue.Core.Forge;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Microsoft.Extensions.Time.Testing;
using Moq;
using NUnit.Framework;

namespace ImageQueue.Tests.Forge;

[TestFixture]
[CancelAfter(20_000)]
public sealed class ForgePoolTests
{
    private static readonly TimeSpan Wait = TimeSpan.FromMinutes(10);

    private readonly ConcurrentDictionary<string, bool> _isUp = new();
    private int _probes;
    private WatchedTime _time = null!;
    private Mock<IForgeClient> _client = null!;
    private List<(LogLevel Level, string Text)> _log = null!;
    private ForgePool _pool = null!;

    [SetUp]
    public void SetUp()
    {
        _isUp.Clear();
        _probes = 0;
        _log = [];
        _time = new WatchedTime();
        _client = new Mock<IForgeClient>();
        _client.Setup(client => client.IsHealthyAsync(It.IsAny<ForgeBackend>(), It.IsAny<CancellationToken>()))
            .Returns((ForgeBackend backend, CancellationToken _) =>
            {
                Interlocked.Increment(ref _probes);
                return Task.FromResult(_isUp.GetValueOrDefault(backend.Name, true));
            });
        _client.Setup(client => client.WhyUnhealthy(It.IsAny<ForgeBackend>())).Returns("it is off");
    }

    [TearDown]
    public void TearDown() => _pool?.Dispose();

    [Test]
    public async Task AcquireAsync_ProbesFirst_WhenBackendIsUnknown(CancellationToken cancellationToken)
    {
        var pool = Pool("a");
        var before = pool.Status.Single();

        using var lease = await pool.AcquireAsync(Wait, cancellationToken);

        var status = pool.Status.Single();
        Assert.Multiple(() =>
        {
            Assert.That((before.Healthy, before.Busy), Is.EqualTo(((bool?)null, false)));
            Assert.That((status.Healthy, status.Busy, status.LastError), Is.EqualTo(((bool?)true, true, (string?)null)));
            Assert.That(lease.Backend.Name, Is.EqualTo("a"));
            Assert.That(_probes, Is.EqualTo(1));
        });
    }

    [Test]
    public async Task AcquireAsync_LendsToOneAtATime_WhenManyAsk(CancellationToken cancellationToken)
    {
        var pool = Pool("a", "b");
        int inUse = 0, most = 0, done = 0;

        await Task.WhenAll(Enumerable.Range(0, 200).Select(async _ =>
        {
            using var lease = await pool.AcquireAsync(Wait, cancellationToken);
            var now = Interlocked.Increment(ref inUse);
            InterlockedMax(ref most, now);
            await Task.Yield();
            Interlocked.Decrement(ref inUse);
            Interlocked.Increment(ref done);
        }));

        Assert.Multiple(() =>
        {
            Assert.That(most, Is.LessThanOrEqualTo(2));
            Assert.That(done, Is.EqualTo(200));
            Assert.That(pool.Status.Any(status => status.Busy), Is.False);
            Assert.That(_probes, Is.EqualTo(2), "a healthy backend is never probed");
        });
    }

    [Test]
    public async Task AcquireAsync_ServesInOrder_WhenManyWait(CancellationToken cancellationToken)
    {
        var pool = Pool("a");
        var order = new List<int>();
        var lease = await pool.AcquireAsync(Wait, cancellationToken);
        var waiting = Enumerable.Range(0, 20).Select(i => (i, Task: pool.AcquireAsync(Wait, cancellationToken))).ToList();

        while (waiting.Count > 0)
        {
            lease.Dispose();
            var next = await Task.WhenAny(waiting.Select(w => w.Task));
            order.Add(waiting.Single(w => w.Task == next).i);
            waiting.RemoveAll(w => w.Task == next);
            lease = await next;
        }

        lease.Dispose();
        Assert.That(order, Is.EqualTo(Enumerable.Range(0, 20)));
    }

    [Test]
    public async Task Dispose_HandsOverAtOnce_WhenSomebodyWaits(CancellationToken cancellationToken)
    {
        var pool = Pool("a");
        var lease = await pool.AcquireAsync(Wait, cancellationToken);
        var next = pool.AcquireAsync(Wait, cancellationToken);

        lease.Dispose();
        lease.Dispose();

        // Busy again before anybody else could run: given over, not put back.
        Assert.That(pool.Status.Single().Busy, Is.True);
        using var second = await next;
        Assert.That(pool.AcquireAsync(Wait, cancellationToken).IsCompleted, Is.False, "the second Dispose gave nothing away");
    }

    [Test]
    public async Task AcquireAsync_LeavesTheLine_WhenCancelled(CancellationToken cancellationToken)
    {
        var pool = Pool("a");
        var lease = await pool.AcquireAsync(Wait, cancellationToken);
        using var cancel = new CancellationTokenSource();
        var first = pool.AcquireAsync(Wait, cancel.Token);
        var second = pool.AcquireAsync(Wait, cancellationToken);

        await cancel.CancelAsync();
        Assert.ThrowsAsync<TaskCanceledException>(() => first);
        lease.Dispose();

        (await second).Dispose();
    }

    [Test]
    public async Task AcquireAsync_TakesTheOther_WhenOneIsDown(CancellationToken cancellationToken)
    {
        _isUp["a"] = false;
        var pool = Pool("a", "b");

        for (var i = 0; i < 3; i++)
        {
            using var lease = await pool.AcquireAsync(Wait, cancellationToken);
            Assert.That(lease.Backend.Name, Is.EqualTo("b"));
        }
    }

    [Test]
    public async Task AcquireAsync_SharesOut_WhenSeveralAreFree(CancellationToken cancellationToken)
    {
        var pool = Pool("a", "b");
        pool.ProbeUnknown();
        await Eventually(() => pool.Status.All(status => status.Healthy == true));
        var names = new List<string>();

        for (var i = 0; i < 4; i++)
        {
            using var lease = await pool.AcquireAsync(Wait, cancellationToken);
            names.Add(lease.Backend.Name);
        }

        Assert.That(string.Join(' ', names), Is.EqualTo("a b a b"));
    }

    [Test]
    public async Task AcquireAsync_Throws_WhenNoneIsHealthyForTheWholeWait(CancellationToken cancellationToken)
    {
        _isUp["a"] = false;
        var pool = Pool("a");
        var started = _time.GetUtcNow();

        var waiting = pool.AcquireAsync(TimeSpan.FromSeconds(30), cancellationToken);
        await AdvanceUntil(() => waiting.IsCompleted);

        var exception = Assert.ThrowsAsync<ForgeException>(() => waiting);
        Assert.Multiple(() =>
        {
            Assert.That(exception!.Failure, Is.EqualTo(ForgeFailure.Unavailable));
            Assert.That(exception.Reason, Does.StartWith("no Forge is available: a (http://a:7860/) is down since 20"));
            Assert.That(exception.Reason, Does.EndWith("UTC (it is off)"));
            Assert.That(_time.GetUtcNow() - started, Is.GreaterThanOrEqualTo(TimeSpan.FromSeconds(30)));
        });
    }

    [Test]
    public async Task AcquireAsync_Throws_WhenThereIsNoBackend(CancellationToken cancellationToken)
    {
        var waiting = Pool().AcquireAsync(TimeSpan.FromSeconds(1), cancellationToken);

        await AdvanceUntil(() => waiting.IsCompleted);

        Assert.That(Assert.ThrowsAsync<ForgeException>(() => waiting)!.Reason, Does.Contain("Forge:Backends"));
    }

    [Test]
    public async Task AcquireAsync_WaitsOn_WhenHealthyBackendIsBusy(CancellationToken cancellationToken)
    {
        var pool = Pool("a");
        var lease = await pool.AcquireAsync(Wait, cancellationToken);
        var waiting = pool.AcquireAsync(TimeSpan.FromSeconds(1), cancellationToken);

        _time.Advance(TimeSpan.FromDays(2));
        await Task.Delay(20, cancellationToken);

        Assert.That(waiting.IsCompleted, Is.False);
        lease.Dispose();
        (await waiting).Dispose();
    }

    [Test]
    public async Task AcquireAsync_CountsOnlyDownTime_WhenBackendGoesAndComes(CancellationToken cancellationToken)
    {
        var pool = Pool("a");
        var lease = await pool.AcquireAsync(Wait, cancellationToken);
        var waiting = pool.AcquireAsync(TimeSpan.FromSeconds(10), cancellationToken);
        _time.Advance(TimeSpan.FromHours(1));

        // Down for 1 s, then up but still busy for an hour.
        lease.ReportUnavailable("reset");
        await AdvanceUntil(() => pool.Status.Single().Healthy == true, TimeSpan.FromMilliseconds(500));
        _time.Advance(TimeSpan.FromHours(1));
        await Task.Delay(20, cancellationToken);
        Assert.That(waiting.IsCompleted, Is.False);

        // Down for good: what is left of the 10 s.
        _isUp["a"] = false;
        lease.ReportUnavailable("reset");
        _time.Advance(TimeSpan.FromSeconds(10));

        Assert.ThrowsAsync<ForgeException>(() => waiting);
    }

    [Test]
    public async Task AcquireAsync_WaitsForEver_WhenWaitIsEndless(
        [Values(-1, long.MaxValue)] long ticks, CancellationToken cancellationToken)
    {
        _isUp["a"] = false;
        var pool = Pool("a");
        var waiting = pool.AcquireAsync(TimeSpan.FromTicks(ticks), cancellationToken);
        for (var day = 0; day < 100; day++) _time.Advance(TimeSpan.FromDays(1));

        Assert.That(waiting.IsCompleted, Is.False);
        _isUp["a"] = true;
        await AdvanceUntil(() => waiting.IsCompleted);
        (await waiting).Dispose();
    }

    [Test]
    public async Task ReportUnavailable_KeepsBackendOut_WhenItDoesNotAnswer(CancellationToken cancellationToken)
    {
        var pool = Pool("a");
        var lease = await pool.AcquireAsync(Wait, cancellationToken);
        _isUp["a"] = false;
        _time.Pauses.Clear();
        lease.ReportUnavailable("connection refused");
        lease.Dispose();
        var waiting = pool.AcquireAsync(Wait, cancellationToken);

        // Each pause is over when the time-provider has been asked for the next one.
        for (var i = 1; i <= 7; i++)
        {
            await Eventually(() => _time.Pauses.Count == i);
            Assert.That(waiting.IsCompleted, Is.False);
            if (i < 7) _time.Advance(_time.Pauses.Last());
        }

        Assert.That(_time.PausesInSeconds, Is.EqualTo("1 2 4 8 15 15 15"));
        _isUp["a"] = true;
        _time.Advance(TimeSpan.FromSeconds(15));
        (await waiting).Dispose();
        Assert.That(pool.Status.Single().LastError, Is.EqualTo("it is off"));
    }

    [Test]
    public async Task ReportUnavailable_MakesPausesGrow_WhenBackendAnswersProbesOnly(CancellationToken cancellationToken)
    {
        var pool = Pool("a");
        for (var i = 0; i < 3; i++)
        {
            using var lease = await AcquireAdvancing(pool, cancellationToken);
            lease.ReportUnavailable("502");
        }

        using (await AcquireAdvancing(pool, cancellationToken)) { }
        using (var lease = await pool.AcquireAsync(Wait, cancellationToken)) lease.ReportUnavailable("502");

        await Eventually(() => _time.Pauses.Count == 4);
        Assert.That(_time.PausesInSeconds, Is.EqualTo("1 2 4 1"));
    }

    [Test]
    public async Task ReportSuspect_ProbesBeforeNextUse_WhenBackendStalled(CancellationToken cancellationToken)
    {
        var pool = Pool("a");
        using (var lease = await pool.AcquireAsync(Wait, cancellationToken)) lease.ReportSuspect();
        var waiting = pool.AcquireAsync(Wait, cancellationToken);

        Assert.Multiple(() =>
        {
            Assert.That(waiting.IsCompleted, Is.False);
            Assert.That(pool.Status.Single().Healthy, Is.False);
            Assert.That(pool.Status.Single().LastError, Is.EqualTo("it made no progress"));
        });
        await AdvanceUntil(() => waiting.IsCompleted);
        (await waiting).Dispose();
        Assert.That(_probes, Is.EqualTo(2));
    }

    [Test]
    public async Task ReportUnavailable_IgnoresAnEarlierAnswer_WhenProbeWasUnderWay(CancellationToken cancellationToken)
    {
        var pool = Pool("a");
        var lease = await pool.AcquireAsync(Wait, cancellationToken);
        var answer = new TaskCompletionSource<bool>();
        _client.Setup(client => client.IsHealthyAsync(It.IsAny<ForgeBackend>(), It.IsAny<CancellationToken>())).Returns(answer.Task);
        lease.ReportSuspect();
        await Eventually(() => _time.Pauses.Count == 1);
        _time.Advance(TimeSpan.FromSeconds(1));

        lease.ReportUnavailable("reset");
        answer.SetResult(true);
        await Task.Delay(50, cancellationToken);

        Assert.That(pool.Status.Single().Healthy, Is.False);
    }

    [Test]
    public async Task Probing_Warns_WhenStateOrReasonChangesOnly(CancellationToken cancellationToken)
    {
        var reason = "refused";
        _isUp["a"] = false;
        _client.Setup(client => client.WhyUnhealthy(It.IsAny<ForgeBackend>())).Returns(() => reason);
        var pool = Pool("a");
        var waiting = pool.AcquireAsync(Wait, cancellationToken);
        await AdvanceUntil(() => _probes >= 4);
        reason = "wrong password";
        await AdvanceUntil(() => pool.Status.Single().LastError == reason);
        _isUp["a"] = true;
        await AdvanceUntil(() => waiting.IsCompleted);

        (await waiting).Dispose();
        Assert.That(_log, Is.EqualTo(new[]
        {
            (LogLevel.Warning, "Forge a (http://a:7860/) is down: refused."),
            (LogLevel.Warning, "Forge a (http://a:7860/) is down: wrong password."),
            (LogLevel.Information, "Forge a (http://a:7860/) is up again."),
        }));
    }

    [Test]
    public async Task Probing_GoesOn_WhenClientThrows(CancellationToken cancellationToken)
    {
        _client.SetupSequence(client => client.IsHealthyAsync(It.IsAny<ForgeBackend>(), It.IsAny<CancellationToken>()))
            .ThrowsAsync(new InvalidOperationException("a bug"))
            .ReturnsAsync(true);

        var waiting = Pool("a").AcquireAsync(Wait, cancellationToken);
        await AdvanceUntil(() => waiting.IsCompleted);

        (await waiting).Dispose();
        Assert.That(_log.Select(entry => entry.Level), Has.One.EqualTo(LogLevel.Error));
    }

    [Test]
    public async Task Add_ServesThoseInLine_WhenPoolWasEmpty(CancellationToken cancellationToken)
    {
        var pool = Pool();
        var waiting = pool.AcquireAsync(Wait, cancellationToken);

        pool.Add(new ForgeBackend("simulator", new Uri("http://127.0.0.1:5080/simulator")));

        using var lease = await waiting;
        Assert.Multiple(() =>
        {
            Assert.That(lease.Backend.Name, Is.EqualTo("simulator"));
            Assert.That(pool.Slots, Is.EqualTo(1));
            Assert.Throws<ArgumentException>(() => pool.Add(lease.Backend));
        });
    }

    [Test]
    public async Task Dispose_EndsTheWaitAndTheProbing_WhenPoolCloses(CancellationToken cancellationToken)
    {
        _isUp["a"] = false;
        var pool = Pool("a");
        var waiting = pool.AcquireAsync(Wait, cancellationToken);
        await Eventually(() => _time.Pauses.Count == 1);

        pool.Dispose();
        pool.Dispose();
        var probes = _probes;
        _time.Advance(TimeSpan.FromHours(1));

        Assert.Multiple(() =>
        {
            Assert.ThrowsAsync<ObjectDisposedException>(() => waiting);
            Assert.ThrowsAsync<ObjectDisposedException>(() => pool.AcquireAsync(Wait, cancellationToken));
            Assert.That(_probes, Is.EqualTo(probes));
        });
    }

    [Test]
    public async Task Dispose_LetsLeasesEnd_WhenPoolClosedFirst(CancellationToken cancellationToken)
    {
        var pool = Pool("a");
        var lease = await pool.AcquireAsync(Wait, cancellationToken);
        pool.Dispose();

        Assert.DoesNotThrow(() =>
        {
            lease.ReportUnavailable("closing");
            lease.Dispose();
        });
    }

    [Test]
    public void ToBackend_TakesCredentialsOutOfTheAddress_WhenTheyAreInIt()
    {
        var backend = ForgePool.ToBackend(new ForgeBackendOptions { Url = new Uri("http://ay%C5%9Fe:p%3Ass@gpu1:7860/forge") });

        Assert.Multiple(() =>
        {
            Assert.That(backend, Is.EqualTo(new ForgeBackend("gpu1:7860", new Uri("http://gpu1:7860/forge"), "ayşe", "p:ss")));
            Assert.That(backend.ToString(), Is.EqualTo("gpu1:7860 (http://gpu1:7860/forge)"));
        });
    }

    private ForgePool Pool(params string[] names) => _pool = new ForgePool(
        _client.Object,
        Options.Create(new ForgeOptions
        {
            Backends = [.. names.Select(name => new ForgeBackendOptions { Name = name, Url = new Uri($"http://{name}:7860") })],
        }),
        _time,
        new ListLogger(_log));

    private async Task<ForgeLease> AcquireAdvancing(ForgePool pool, CancellationToken cancellationToken)
    {
        var waiting = pool.AcquireAsync(Wait, cancellationToken);
        await AdvanceUntil(() => waiting.IsCompleted);
        return await waiting;
    }

    private async Task AdvanceUntil(Func<bool> condition, TimeSpan? step = null)
    {
        while (!condition())
        {
            await Task.Delay(2);
            if (condition()) return;
            _time.Advance(step ?? TimeSpan.FromSeconds(1));
            await Task.Delay(2);
        }
    }

    private static async Task Eventually(Func<bool> condition)
    {
        while (!condition()) await Task.Delay(1);
    }

    private static void InterlockedMax(ref int target, int value)
    {
        for (var seen = Volatile.Read(ref target); seen < value;)
        {
            seen = Interlocked.CompareExchange(ref target, value, seen);
        }
    }

    /// <summary>Time moved by hand, which remembers the pauses that were asked of it.</summary>
    private sealed class WatchedTime : FakeTimeProvider
    {
        public ConcurrentQueue<TimeSpan> Pauses { get; } = new();

        public string PausesInSeconds =>
            string.Join(' ', Pauses.Select(pause => pause.TotalSeconds.ToString(CultureInfo.InvariantCulture)));

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            var timer = base.CreateTimer(callback, state, dueTime, period);
            if (dueTime > TimeSpan.Zero) Pauses.Enqueue(dueTime);
            return timer;
        }
    }

    private sealed class ListLogger(List<(LogLevel, string)> entries) : ILogger<ForgePool>
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(
            LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            lock (entries) entries.Add((logLevel, formatter(state, exception)));
        }
    }
}
