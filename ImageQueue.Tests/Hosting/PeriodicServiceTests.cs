using System.Data.Common;
using ImageQueue.Core.Hosting;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Hosting;

/// <summary>The base of all background work: when a pass runs, and what a failure of one does.</summary>
[Category(Categories.Fast)]
internal sealed class PeriodicServiceTests
{
    private static readonly TimeSpan Interval = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan MinInterval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan[] RetryDelays = [.. new[] { 0.5, 1, 2, 4, 5, 5, 5 }.Select(TimeSpan.FromSeconds)];

    private readonly DatabaseReadiness _readiness = new();
    private WaitedClock _time = null!;
    private LogRecorder _log = null!;

    [SetUp]
    public void CreateClock() => (_time, _log) = (new WaitedClock(), new LogRecorder());

    [TearDown]
    public void DisposeLog() => _log.Dispose();

    [Test]
    public async Task Pass_Waits_UntilTheDatabaseIsReady()
    {
        using var service = Create(_ => Task.CompletedTask, new DatabaseReadiness());
        await service.StartAsync(CancellationToken.None);

        await service.StopAsync(CancellationToken.None);

        Assert.That((service.Passes, service.ExecuteTask!.IsCompleted, service.ExecuteTask.IsFaulted), Is.EqualTo((0, true, false)));
    }

    [Test]
    public async Task Pass_RunsAgain_AtEachInterval()
    {
        using var service = Create(_ => Task.CompletedTask);
        await service.StartAsync(CancellationToken.None);

        for (var pass = 1; pass <= 3; pass++)
        {
            await _time.WaitedForAsync(MinInterval, pass);
            Assert.That(service.Passes, Is.EqualTo(pass));
            _time.Advance(MinInterval);
            await _time.WaitedForAsync(Interval - MinInterval, pass);
            _time.Advance(Interval - MinInterval);
        }

        await Until.TrueAsync(() => service.Passes == 4);
        await service.StopAsync(CancellationToken.None);
    }

    [Test]
    public async Task Pass_RunsAfterTheShortestInterval_WhenSignalled()
    {
        using var service = Create(_ => Task.CompletedTask);
        await service.StartAsync(CancellationToken.None);
        await _time.WaitedForAsync(MinInterval, times: 1);

        service.Signal.Raise();
        _time.Advance(MinInterval);

        await Until.TrueAsync(() => service.Passes == 2);
        await service.StopAsync(CancellationToken.None);
    }

    [Test]
    public async Task Pass_RunsOnce_WhenTheIntervalIsInfinite()
    {
        using var service = Create(_ => Task.CompletedTask, interval: Timeout.InfiniteTimeSpan);

        await service.StartAsync(CancellationToken.None);
        await service.ExecuteTask!.WaitAsync(TimeSpan.FromSeconds(30));

        Assert.That(service.Passes, Is.EqualTo(1));
    }

    /// <summary>Seen before: a warning with a stack each second while Hangfire's storage was away, 7 in 6.2 s.</summary>
    [Test]
    public async Task Failure_IsOneWarning_AndItsRecoveryOneLine_HoweverLongItLasts()
    {
        var failures = RetryDelays.Length;
        using var service = Create(
            pass => pass <= failures ? throw new InvalidOperationException("The storage is away.") : Task.CompletedTask);
        await service.StartAsync(CancellationToken.None);

        for (var retry = 0; retry < failures; retry++)
        {
            await _time.WaitedForAsync(RetryDelays[retry], RetryDelays.Take(retry + 1).Count(delay => delay == RetryDelays[retry]));
            _time.Advance(RetryDelays[retry]);
        }

        await Until.TrueAsync(() => _log.ToString().Contains("works again", StringComparison.Ordinal));
        await service.StopAsync(CancellationToken.None);
        Assert.That(_log.Of(LogLevel.Information).Select(line => line.Split('\n')[0]), Is.EqualTo(new[]
        {
            "Warning test: Testing failed: The storage is away. Next try in 0.5 s. System.InvalidOperationException: The storage is away.",
            "Information test: Testing works again.",
        }));
    }

    [TestCase("The database does not answer.")]
    [TestCase("The database does not answer")]
    public async Task Failure_IsLoggedWithoutItsStack_WhenTheDatabaseIsAway(string reason)
    {
        using var service = Create(_ => throw new StoreUnavailableException(reason, new DatabaseError()));
        await service.StartAsync(CancellationToken.None);

        await Until.TrueAsync(() => _log.Of(LogLevel.Warning).Any());
        await service.StopAsync(CancellationToken.None);

        Assert.That(
            _log.Of(LogLevel.Warning),
            Is.EqualTo(new[] { "Warning test: Testing failed: The database does not answer. Next try in 0.5 s." }));
    }

    /// <summary>A pass's own time-out is no stop.</summary>
    [Test]
    public async Task Failure_IsRetried_WhenItIsACancellationWithoutAStop()
    {
        using var service = Create(pass => pass == 1 ? throw new OperationCanceledException("The query timed out.") : Task.CompletedTask);
        await service.StartAsync(CancellationToken.None);
        await _time.WaitedForAsync(RetryDelays[0], times: 1);

        _time.Advance(RetryDelays[0]);

        await Until.TrueAsync(() => service.Passes == 2);
        await service.StopAsync(CancellationToken.None);
    }

    [Test]
    public async Task Stop_LogsNothingAndThrowsNothing_WhenAPassFailsMeanwhile()
    {
        var isRunning = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var service = Create(async (_, cancellationToken) =>
        {
            isRunning.SetResult();
            await Task.Delay(Timeout.Infinite, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            throw new InvalidOperationException("The connection was closed.");
        });
        await service.StartAsync(CancellationToken.None);
        await isRunning.Task;

        await service.StopAsync(new CancellationToken(canceled: true));

        await service.ExecuteTask!.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.That(_log.Of(LogLevel.Information), Is.Empty);
    }

    private TestService Create(Func<int, Task> pass, DatabaseReadiness? readiness = null, TimeSpan? interval = null) =>
        Create((number, _) => pass(number), readiness, interval);

    private TestService Create(Func<int, CancellationToken, Task> pass, DatabaseReadiness? readiness = null, TimeSpan? interval = null)
    {
        _readiness.Set();
        return new TestService(pass, interval ?? Interval, readiness ?? _readiness, _time, _log.CreateLogger("test"));
    }

    private sealed class TestService(
        Func<int, CancellationToken, Task> pass, TimeSpan interval, DatabaseReadiness readiness, TimeProvider time, ILogger logger)
        : PeriodicService(readiness, time, logger)
    {
        private int _passes;

        public AsyncSignal Signal { get; } = new();

        public int Passes => Volatile.Read(ref _passes);

        protected override string Activity => "Testing";

        protected override TimeSpan Interval => interval;

        protected override TimeSpan MinInterval => PeriodicServiceTests.MinInterval;

        protected override Task NextSignal => Signal.Next;

        protected override Task RunPassAsync(CancellationToken cancellationToken) =>
            pass(Interlocked.Increment(ref _passes), cancellationToken);
    }

    private sealed class DatabaseError : DbException;
}
