using ImageQueue.Core.Hosting;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Statistics;

/// <summary>
/// Keeps the history of the hours: each minute it reckons the running hour, and those that nobody has finished, from the moments, and
/// looks how long the queue is. One writer for a database, by a lease; two would write the same.
/// </summary>
/// <remarks>
/// The rows of an hour are a function of its moments, and are reckoned again until some time after its end: a crash anywhere leaves
/// rows that the next pass puts right, and after a downtime the hours that nobody has reckoned are done first, the oldest first, so
/// that the newest row always says how far the history is.
/// </remarks>
public sealed class StatisticsWriter(
    IStatisticsStore store, ILeaseStore leases, QueuePositions positions, DatabaseReadiness readiness, TimeProvider time, ILogger<StatisticsWriter> logger)
    : LeaderService(new LeaderLease(leases, LeaseName, LeaseTerm, time), readiness, time, logger)
{
    /// <summary>The lease.</summary>
    internal const string LeaseName = "history";

    /// <summary>How long the rows of hours are kept.</summary>
    public static readonly TimeSpan KeepHoursFor = TimeSpan.FromDays(90);

    /// <summary>How long the moments are kept.</summary>
    public static readonly TimeSpan KeepMomentsFor = TimeSpan.FromHours(25);

    /// <summary>How long after its end an hour is reckoned once more: a transition may commit a while after it has read the clock.</summary>
    private static readonly TimeSpan Grace = TimeSpan.FromMinutes(10);

    private static readonly TimeSpan LeaseTerm = TimeSpan.FromMinutes(3);

    /// <summary>Rows that are removed in one commit.</summary>
    private const int Batch = 1000;

    private DateTimeOffset? _cleanedAt;

    /// <inheritdoc/>
    protected override string Activity => "Aggregating hourly statistics";

    /// <inheritdoc/>
    protected override TimeSpan Interval => TimeSpan.FromMinutes(1);

    /// <summary>One pass.</summary>
    public async Task WriteAsync(CancellationToken cancellationToken)
    {
        if (!await Lease.TryAcquireAsync(cancellationToken))
            return;
        var state = await store.ReadStatisticsStateAsync(cancellationToken);
        var now = HourOf(state.Now);
        for (var hour = FirstToReckon(state); hour <= now; hour = hour.AddHours(1))
        {
            var rows = Reckon(hour, await store.ListSamplesAsync(hour, hour.AddHours(1), cancellationToken));
            if (rows.Count > 0)
                await store.SaveStatisticsAsync(rows, cancellationToken);
        }

        // Last: the newest row says that all before it was reckoned.
        await store.SaveStatisticsAsync([new StatisticsRow(now, StatisticsKinds.Queue, "", await positions.CountAsync(cancellationToken))], cancellationToken);
        if (_cleanedAt == now)
            return;
        while (await store.ForgetStatisticsAsync(now - KeepMomentsFor, now - KeepHoursFor, Batch, cancellationToken) >= Batch)
        {
        }

        _cleanedAt = now;
    }

    /// <summary>The rows of an hour, from what was noted in it.</summary>
    internal static IReadOnlyList<StatisticsRow> Reckon(DateTimeOffset hour, IEnumerable<StatisticsSample> moments) =>
    [
        .. moments.GroupBy(moment => (moment.Kind, Code: moment.Code ?? "")).Select(group =>
        {
            var seconds = group.Select(moment => moment.Seconds).OfType<double>().Order().ToList();
            return new StatisticsRow(hour, group.Key.Kind, group.Key.Code, group.Count(), Percentile(seconds, 50), Percentile(seconds, 95));
        }),
    ];

    /// <summary>The hour's beginning.</summary>
    internal static DateTimeOffset HourOf(DateTimeOffset at) => new(at.UtcTicks - (at.UtcTicks % TimeSpan.TicksPerHour), TimeSpan.Zero);

    /// <inheritdoc/>
    protected override Task RunPassAsync(CancellationToken cancellationToken) => WriteAsync(cancellationToken);

    /// <summary>The newest that has a row may have been running then; before the oldest moment there is nothing.</summary>
    private static DateTimeOffset FirstToReckon(StatisticsState state)
    {
        var (unfinished, oldest) = (HourOf(state.Now - Grace), HourOf(state.OldestSample ?? state.Now));
        var open = state.NewestHour is { } newest && newest < unfinished ? newest : state.NewestHour is null ? oldest : unfinished;
        return open > oldest ? open : oldest;
    }

    /// <summary>The smallest that so many of a hundred do not exceed.</summary>
    private static double? Percentile(List<double> sorted, int percent) =>
        sorted.Count == 0 ? null : sorted[((sorted.Count * percent) + 99) / 100 - 1];
}
