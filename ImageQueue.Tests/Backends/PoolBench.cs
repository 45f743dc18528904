using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Hosting;
using ImageQueue.Tests.Forge;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.Time.Testing;
using NUnit.Framework;

namespace ImageQueue.Tests.Backends;

/// <summary>Pools over fake servers and a fake lease store, on a clock that stands still until it is moved.</summary>
[CancelAfter(20_000)]
[FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
[Parallelizable(ParallelScope.All)]
public abstract class PoolBench
{
    private readonly List<BackendPool> _pools = [];

    internal FakeTimeProvider Time { get; private set; } = null!;

    internal FakeForge Forge { get; private set; } = null!;

    internal FakeLeases Leases { get; private set; } = null!;

    internal List<(LogLevel Level, string Text)> Log { get; private set; } = null!;

    [SetUp]
    public void SetUpBench()
    {
        Time = new FakeTimeProvider();
        Forge = new FakeForge();
        Leases = new FakeLeases(Time);
        Log = [];
    }

    [TearDown]
    public void TearDownBench()
    {
        foreach (var pool in _pools)
            pool.Dispose();
        _pools.Clear();
    }

    internal BackendPool Pool(params string[] names)
    {
        var readiness = new DatabaseReadiness();
        readiness.Set();
        var options = new ForgeOptions
        {
            Backends = [.. names.Select(name => new ForgeBackendOptions { Name = name, Url = AddressOf(name) })],
            Timeout = TimeSpan.FromSeconds(180),
        };
        var pool = new BackendPool(
            Forge, Leases.Store, new FakeCanary(Forge), readiness, Options.Create(options), Time, new ListLogger(Log));
        _pools.Add(pool);
        return pool;
    }

    /// <summary>A pool whose backends are all probed, and leased if they are healthy.</summary>
    internal async Task<BackendPool> ReadyPoolAsync(params string[] names)
    {
        var pool = Pool(names);
        pool.StartMonitoring();
        await Until.TrueAsync(() => pool.Status.All(status => status.Healthy == false || status is { Healthy: true, Leased: true }));
        return pool;
    }

    internal static string LeaseOf(string name) => ForgeAddress.LeaseName(AddressOf(name));

    internal static BackendStatus StatusOf(BackendPool pool, string name) => pool.Status.Single(status => status.Name == name);

    /// <summary>Moves the clock in small steps until it is so, and says how far it went.</summary>
    internal async Task<TimeSpan> AdvanceUntil(Func<bool> condition, TimeSpan? step = null)
    {
        var (started, patience) = (Time.GetUtcNow(), Patience());
        while (true)
        {
            patience();
            for (var i = 0; i < 6; i++)
            {
                if (condition())
                    return Time.GetUtcNow() - started;
                await Task.Delay(i == 0 ? 0 : 1);
            }

            Time.Advance(step ?? TimeSpan.FromSeconds(0.25));
        }
    }

    /// <summary>Moves the clock by so much in small steps, and lets everything happen that is due.</summary>
    internal async Task Pass(TimeSpan time)
    {
        var end = Time.GetUtcNow() + time;
        var step = TimeSpan.FromSeconds(Math.Clamp(time.TotalSeconds / 60, 0.25, 10));
        while (Time.GetUtcNow() < end)
        {
            await Task.Delay(5);
            Time.Advance(step);
        }

        await Task.Delay(5);
    }

    /// <summary>A test that waits for what never comes should say so.</summary>
    private static Action Patience()
    {
        var started = TimeProvider.System.GetTimestamp();
        return () =>
        {
            if (TimeProvider.System.GetElapsedTime(started) > TimeSpan.FromSeconds(30))
                Assert.Fail("What is waited for does not come.");
        };
    }

    private static Uri AddressOf(string name) => new($"http://{name}:7860");

    private sealed class ListLogger(List<(LogLevel, string)> entries) : ILogger<BackendPool>
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(
            LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            lock (entries)
                entries.Add((logLevel, formatter(state, exception)));
        }
    }
}
