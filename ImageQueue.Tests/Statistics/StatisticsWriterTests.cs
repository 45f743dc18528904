using System.Text.Json.Nodes;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Queue.Eta;
using ImageQueue.Core.Statistics;
using ImageQueue.Core.Storage.Sqlite;
using ImageQueue.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;
using NUnit.Framework;

namespace ImageQueue.Tests.Statistics;

/// <summary>Hourly statistics match what happened, whenever the writer ran, died, or did not run at all.</summary>
[Category(Categories.Store)]
internal sealed class StatisticsWriterTests
{
    // Across the night in which Turkey's neighbours change their clocks: hours are UTC's.
    private static readonly DateTimeOffset Start = new(2026, 10, 24, 20, 12, 7, TimeSpan.Zero);

    private static readonly string[] Codes = [ErrorCodes.TimedOut, ErrorCodes.OutOfMemory, ErrorCodes.Rejected];

    private readonly List<(DateTimeOffset At, string Kind, string Code, double? Seconds)> _happened = [];
    private readonly List<(long Id, DateTimeOffset QueuedAt)> _waiting = [];
    private FakeTimeProvider _time = null!; // All set before each test.
    private TemporaryFolder _folder = null!;
    private SqliteMessageStore _store = null!;
    private int _submitted;

    [SetUp]
    public async Task SetUp()
    {
        _happened.Clear();
        _waiting.Clear();
        _submitted = 0;
        _time = new FakeTimeProvider(Start);
        _folder = new TemporaryFolder();
        _store = new SqliteMessageStore($"Data Source={_folder.Path}/m.db", _time, new AsyncSignal());
        await _store.PrepareAsync(CancellationToken.None);
    }

    [TearDown]
    public async Task TearDown()
    {
        await _store.DisposeAsync();
        _folder.Dispose();
    }

    /// <summary>
    /// Days of random requests, with a writer that is killed in the middle of its writes, and at times is not there for hours.
    /// </summary>
    [TestCase(1)]
    [TestCase(2)]
    public async Task Rows_MatchWhatHappened_WheneverTheWriterRuns(int seed)
    {
        var random = new Random(seed);
        var longest = new Dictionary<DateTimeOffset, int>();
        while (_time.GetUtcNow() < Start.AddHours(32))
        {
            for (var i = random.Next(4); i > 0; i--)
                await HappenAsync(random);
            if (random.Next(40) == 0)
                _time.Advance(TimeSpan.FromMinutes(random.Next(300))); // No writer runs.
            if (random.Next(5) == 0)
                await KilledAsync(random.Next(6));
            if (random.Next(3) == 0)
            {
                using var writer = Writer(_store); // Of a new process.
                await writer.WriteAsync(CancellationToken.None);
                await writer.StopAsync(CancellationToken.None);
                var hour = StatisticsWriter.HourOf(_time.GetUtcNow());
                longest[hour] = Math.Max(longest.GetValueOrDefault(hour), _waiting.Count);
            }

            _time.Advance(TimeSpan.FromSeconds(random.Next(1, 600)));
        }

        using (var last = Writer(_store))
            await last.WriteAsync(CancellationToken.None);
        var end = StatisticsWriter.HourOf(_time.GetUtcNow());
        longest[end] = Math.Max(longest.GetValueOrDefault(end), _waiting.Count);

        var rows = await RowsAsync();
        Assert.That(rows.Where(row => row.Kind != StatisticsKinds.Queue), Is.EqualTo(Model()));
        foreach (var (hour, most) in longest)
        {
            Assert.That(
                rows.Single(row => row.Kind == StatisticsKinds.Queue && row.Hour == hour).Count,
                Is.GreaterThanOrEqualTo(most),
                $"{hour:O}");
        }

        Assert.That(
            (await _store.ReadStatisticsStateAsync(CancellationToken.None)).OldestSample,
            Is.GreaterThan(_time.GetUtcNow() - StatisticsWriter.KeepSamplesFor - TimeSpan.FromHours(1)));
    }

    [Test]
    public async Task Pass_WritesAnEmptyQueue_WhenNothingHappened()
    {
        using var writer = Writer(_store);
        await writer.WriteAsync(CancellationToken.None);

        Assert.That(
            await RowsAsync(), Is.EqualTo(new[] { new StatisticsRow(StatisticsWriter.HourOf(Start), StatisticsKinds.Queue, "", 0) }));
    }

    /// <summary>The first and the last sample of an hour belong to it.</summary>
    [Test]
    public void HourOf_IsUtc_FromItsFirstInstantToBeforeItsLast()
    {
        var hour = new DateTimeOffset(2026, 3, 29, 1, 0, 0, TimeSpan.Zero);
        Assert.That(StatisticsWriter.HourOf(hour), Is.EqualTo(hour));
        Assert.That(StatisticsWriter.HourOf(hour.AddTicks(TimeSpan.TicksPerHour - 1)), Is.EqualTo(hour));
        Assert.That(
            StatisticsWriter.HourOf(new DateTimeOffset(2026, 3, 29, 7, 15, 0, TimeSpan.FromMinutes(345))),
            Is.EqualTo(hour),
            "a zone of 5:45");
    }

    [TestCase(new double[] { }, null, null)]
    [TestCase(new double[] { 4 }, 4.0, 4.0)]
    [TestCase(new double[] { 9, 1 }, 1.0, 9.0)]
    [TestCase(new double[] { 3, 2, 1 }, 2.0, 3.0)]
    public void Percentiles_AreSampledValues(double[] seconds, double? p50, double? p95)
    {
        var samples = seconds.Select(
            one =>
                new StatisticsSample(Start, StatisticsKinds.Claimed, null, one)).Append(new StatisticsSample(
                    Start, StatisticsKinds.Claimed, null, null));

        var row = StatisticsWriter.Aggregate(Start, samples).Single();

        Assert.That((row.Count, row.Median, row.High), Is.EqualTo((seconds.Length + 1, p50, p95)));
    }

    /// <summary>Of a hundred: the median is the fiftieth, and ninety-five do not exceed the ninety-fifth.</summary>
    [Test]
    public void Percentiles_AreByNearestRank()
    {
        var row = StatisticsWriter.Aggregate(
            Start, Enumerable.Range(1, 100).Reverse().Select(i => new StatisticsSample(Start, StatisticsKinds.Complete, null, i))).Single();

        Assert.That((row.Median, row.High), Is.EqualTo((50.0, 95.0)));
    }

    /// <summary>A process that was stopped for hours in the middle of a pass, and goes on, destroys nothing.</summary>
    [Test]
    public async Task Pass_OverwritesNothing_WhenItIsLate()
    {
        await EndAsync(StatisticsKinds.Complete, "", 3);
        var early = StatisticsWriter.Aggregate(
            StatisticsWriter.HourOf(Start),
            [.. await _store.ListSamplesAsync(StatisticsWriter.HourOf(Start), Start.AddHours(1), CancellationToken.None)]);
        await EndAsync(StatisticsKinds.Complete, "", 9);
        using var writer = Writer(_store);
        await writer.WriteAsync(CancellationToken.None);
        _time.Advance(TimeSpan.FromDays(3));
        await writer.WriteAsync(CancellationToken.None);

        await _store.SaveStatisticsAsync(early, CancellationToken.None);

        Assert.That((await RowsAsync()).Where(row => row.Kind != StatisticsKinds.Queue), Is.EqualTo(Model()));
    }

    [Test]
    public async Task OneProcessWrites_UntilItStopsAndAnotherTakesOver()
    {
        await using var other = new SqliteMessageStore($"Data Source={_folder.Path}/m.db", _time, new AsyncSignal());
        using var first = Writer(_store);
        using var second = Writer(other);
        await first.WriteAsync(CancellationToken.None);
        await SubmitAsync();

        await second.WriteAsync(CancellationToken.None);
        Assert.That((await RowsAsync()).Single().Count, Is.Zero, "the lease is the first one's");

        await first.StopAsync(CancellationToken.None);
        _time.Advance(TimeSpan.FromMinutes(1));
        await second.WriteAsync(CancellationToken.None);
        Assert.That((await RowsAsync()).Single().Count, Is.EqualTo(1));
    }

    /// <summary>Rows of hours are kept for ninety days.</summary>
    [Test]
    public async Task OldHours_AreRemoved()
    {
        using var writer = Writer(_store);
        await writer.WriteAsync(CancellationToken.None);
        _time.Advance(StatisticsWriter.KeepHoursFor + TimeSpan.FromHours(1));

        await writer.WriteAsync(CancellationToken.None);

        Assert.That((await RowsAsync()).Select(row => row.Hour), Is.EqualTo(new[] { StatisticsWriter.HourOf(_time.GetUtcNow()) }));
    }

    /// <summary>The writer dies after so many writes of rows.</summary>
    private async Task KilledAsync(int writes)
    {
        var faulty = System.Reflection.DispatchProxy.Create<IStatisticsStore, DyingStore>();
        ((DyingStore)(object)faulty).Set(_store, writes);
        using var writer = Writer(faulty);
        try
        {
            await writer.WriteAsync(CancellationToken.None);
        }
        catch (OperationCanceledException)
        {
            // Killed.
        }

        _time.Advance(TimeSpan.FromMinutes(4)); // Its lease is over.
    }

    private async Task HappenAsync(Random random)
    {
        switch (random.Next(6))
        {
            case 0 or 1:
                await SubmitAsync();
                break;
            case 2 when _waiting.Count > 0:
                await CancelAsync(random.Next(_waiting.Count));
                break;
            case 3:
                await EndAsync(StatisticsKinds.Error, Codes[random.Next(Codes.Length)], null, isRetried: random.Next(3) == 0);
                break;
            default:
                await EndAsync(StatisticsKinds.Complete, "", random.Next(1, 5000) / 100.0, isErased: random.Next(4) == 0);
                break;
        }
    }

    private async Task<long> SubmitAsync()
    {
        var id = (await _store.SubmitAsync(
            new NewImageMessage(
                "c",
                "u",
                (++_submitted).ToString("x32", CultureInfo.InvariantCulture),
                "p",
                new JsonObject(),
                1,
                null), UserLimits.None, CancellationToken.None)).Message.Id;
        _waiting.Add((id, _time.GetUtcNow()));
        return id;
    }

    private async Task CancelAsync(int which)
    {
        Assert.That((await _store.CancelAsync(_waiting[which].Id, "x", CancellationToken.None)).Applied, Is.True);
        _waiting.RemoveAt(which);
        _happened.Add((_time.GetUtcNow(), StatisticsKinds.Cancelled, "", null));
    }

    private async Task EndAsync(string kind, string code, double? seconds, bool isRetried = false, bool isErased = false)
    {
        if (_waiting.Count == 0)
            await SubmitAsync();
        var (id, queuedAt) = _waiting[0];
        _waiting.RemoveAt(0);
        var claimed = (await _store.ClaimAsync(id, $"hf-{id}", "gpu1", null, CancellationToken.None)).Message!;
        _happened.Add((_time.GetUtcNow(), StatisticsKinds.Claimed, "", Math.Round((_time.GetUtcNow() - queuedAt).TotalSeconds, 3)));
        _time.Advance(TimeSpan.FromSeconds(7));
        var ended = kind == StatisticsKinds.Complete
            ? await _store.CompleteAsync(
                id,
                claimed.Attempt,
                "x",
                "/u",
                null,
                new ImageResult(1, 64, 64, "m", TimeSpan.FromSeconds(seconds!.Value)),
                CancellationToken.None)
            : await _store.FailAsync(id, claimed.Attempt, "x", new RequestFailure(code, "x"), CancellationToken.None);
        Assert.That(ended.Applied, Is.True);
        _happened.Add((_time.GetUtcNow(), kind, code, seconds));
        if (isErased)
            await _store.EraseAsync(id, CancellationToken.None);
        if (!isRetried)
            return;
        await _store.RetryAsync(id, 1, UserLimits.None, CancellationToken.None);
        _waiting.Add((id, _time.GetUtcNow()));
    }

    /// <summary>By the words of the contract, and no code of the product's.</summary>
    private List<StatisticsRow> Model() =>
    [
        .. _happened.GroupBy(
            one => (Hour: one.At.ToString("yyyy-MM-dd HH", CultureInfo.InvariantCulture), one.Kind, one.Code))
            .OrderBy(
                group => group.Key.Hour,
                StringComparer.Ordinal).ThenBy(group =>
                    group.Key.Kind, StringComparer.Ordinal).ThenBy(group => group.Key.Code, StringComparer.Ordinal)
            .Select(group => new StatisticsRow(
                DateTimeOffset.ParseExact(
                    group.Key.Hour,
                    "yyyy-MM-dd HH",
                    CultureInfo.InvariantCulture,
                    System.Globalization.DateTimeStyles.AssumeUniversal),
                group.Key.Kind,
                group.Key.Code,
                group.Count(),
                NotExceeded([.. group.Select(one => one.Seconds).OfType<double>()], 50),
                NotExceeded([.. group.Select(one => one.Seconds).OfType<double>()], 95))),
    ];

    private static double? NotExceeded(List<double> values, int percent) =>
        values.Count == 0 ? null : values.Order().First(value => values.Count(other => other <= value) * 100 >= percent * values.Count);

    private Task<IReadOnlyList<StatisticsRow>> RowsAsync() => _store.ListStatisticsAsync(TimeSpan.FromDays(300), CancellationToken.None);

    /// <summary>The queue is counted by the rows.</summary>
    private StatisticsWriter Writer(IStatisticsStore store)
    {
        var queue = (IQueueStore)_store;
        var eta = new EtaEstimator(
            queue, _store, null!, null!, null!, Options.Create(new ForgeOptions()), _time, NullLogger<EtaEstimator>.Instance);
        // During a rebuild the queue's order is not read.
        var positions = new QueuePositions(null!, new QueueRebuildState { IsUnderWay = true }, queue, eta, _time);
        return new StatisticsWriter(
            store, store as ILeaseStore ?? _store, positions, DatabaseReadiness.Completed(), _time, NullLogger<StatisticsWriter>.Instance);
    }

#pragma warning disable CA1852 // The runtime derives from it.
    /// <summary>A store whose process dies after some writes.</summary>
    internal class DyingStore : System.Reflection.DispatchProxy
    {
        private IStatisticsStore _inner = null!; // Set by Set.
        private int _writes;

        public void Set(IStatisticsStore inner, int writes) => (_inner, _writes) = (inner, writes);

        protected override object? Invoke(System.Reflection.MethodInfo? targetMethod, object?[]? args) =>
            targetMethod!.Name is nameof(IStatisticsStore.SaveStatisticsAsync) or nameof(IStatisticsStore.ForgetStatisticsAsync)
                && _writes-- <= 0
                ? throw new OperationCanceledException("killed")
                : targetMethod.Invoke(_inner, args);
    }
}
