using ImageQueue.Core.Hosting;
using ImageQueue.Core.Queue;

namespace ImageQueue.Core.Statistics;

/// <summary>
/// Aggregates samples into hourly statistics: each minute the current hour and unfinished earlier ones, and the queue's length. In one
/// process of a database; two would write the same.
/// </summary>
/// <remarks>
/// The rows of an hour are a function of its samples, and are aggregated again until some time after its end: a crash anywhere leaves
/// rows that the next pass corrects. After a downtime the missing hours come first, the oldest first, so that the newest row always
/// says up to where the statistics are complete.
/// </remarks>
internal sealed class StatisticsWriter(
    IStatisticsStore store, ILeaseStore leases, QueuePositions positions, DatabaseReadiness readiness, TimeProvider time,
    ILogger<StatisticsWriter> logger)
    : LeaderService(new LeaderLease(leases, LeaseName, LeaseTerm, time), readiness, time, logger)
{
    internal const string LeaseName = "history";

    public static readonly TimeSpan KeepHoursFor = TimeSpan.FromDays(90);

    public static readonly TimeSpan KeepSamplesFor = TimeSpan.FromHours(25);

    /// <summary>How long after its end an hour is aggregated again: a transition may commit a while after it has read the clock.</summary>
    private static readonly TimeSpan Grace = TimeSpan.FromMinutes(10);

    private static readonly TimeSpan LeaseTerm = TimeSpan.FromMinutes(3);

    /// <summary>Rows that are removed in one commit.</summary>
    private const int Batch = 1000;

    private DateTimeOffset? _cleanedAt;

    protected override string Activity => "Aggregating hourly statistics";

    protected override TimeSpan Interval => TimeSpan.FromMinutes(1);

    public async Task WriteAsync(CancellationToken cancellationToken)
    {
        if (!await Lease.TryAcquireAsync(cancellationToken))
            return;
        var state = await store.ReadStatisticsStateAsync(cancellationToken);
        var now = HourOf(state.Now);
        for (var hour = FirstHourToAggregate(state); hour <= now; hour = hour.AddHours(1))
        {
            var rows = Aggregate(hour, await store.ListSamplesAsync(hour, hour.AddHours(1), cancellationToken));
            if (rows.Count > 0)
                await store.SaveStatisticsAsync(rows, cancellationToken);
        }

        // Last: the newest row says that all hours before it are complete.
        await store.SaveStatisticsAsync(
            [new StatisticsRow(now, StatisticsKinds.Queue, "", await positions.CountAsync(cancellationToken))], cancellationToken);
        if (_cleanedAt == now)
            return;
        while (await store.ForgetStatisticsAsync(now - KeepSamplesFor, now - KeepHoursFor, Batch, cancellationToken) >= Batch)
        {
        }

        _cleanedAt = now;
    }

    /// <summary>The rows of an hour from its samples.</summary>
    internal static IReadOnlyList<StatisticsRow> Aggregate(DateTimeOffset hour, IEnumerable<StatisticsSample> samples) =>
    [
        .. samples.GroupBy(sample => (sample.Kind, Code: sample.Code ?? "")).Select(group =>
        {
            var seconds = group.Select(sample => sample.Seconds).OfType<double>().Order().ToList();
            return new StatisticsRow(hour, group.Key.Kind, group.Key.Code, group.Count(), Percentile(seconds, 50), Percentile(seconds, 95));
        }),
    ];

    internal static DateTimeOffset HourOf(DateTimeOffset at) => new(at.UtcTicks - (at.UtcTicks % TimeSpan.TicksPerHour), TimeSpan.Zero);

    protected override Task RunPassAsync(CancellationToken cancellationToken) => WriteAsync(cancellationToken);

    /// <summary>The newest hour with a row may have been incomplete then; before the oldest sample there is nothing.</summary>
    private static DateTimeOffset FirstHourToAggregate(StatisticsState state)
    {
        var (unfinished, oldest) = (HourOf(state.Now - Grace), HourOf(state.OldestSample ?? state.Now));
        var open = state.NewestHour is { } newest && newest < unfinished ? newest : state.NewestHour is null ? oldest : unfinished;
        return open > oldest ? open : oldest;
    }

    /// <summary>The nearest-rank percentile.</summary>
    private static double? Percentile(List<double> sorted, int percent) =>
        sorted.Count == 0 ? null : sorted[((sorted.Count * percent) + 99) / 100 - 1];
}
