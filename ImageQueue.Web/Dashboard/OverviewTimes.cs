namespace ImageQueue.Web.Dashboard;

/// <summary>The statistics of a period in buckets of equal length; the last bucket is still running.</summary>
internal sealed record OverviewTimes(IReadOnlyList<OverviewTime> All)
{
    public int Images => All.Sum(time => time.Images);

    public int Errors => All.Sum(time => time.Errors.Values.Sum());

    /// <summary>Errors of all requests that ended complete or in error; null without any.</summary>
    public double? ErrorShare => Images + Errors == 0 ? null : (double)Errors / (Images + Errors);

    /// <summary>
    /// Rows of any bucket length from samples; <see cref="StatisticsRow.Hour"/> is the bucket's start. Samples know no queue length.
    /// </summary>
    public static IReadOnlyList<StatisticsRow> ToRows(IReadOnlyList<StatisticsSample> samples, TimeSpan length) =>
    [
        .. samples.GroupBy(
            sample =>
                (
                    At: new DateTimeOffset(sample.At.UtcTicks - (sample.At.UtcTicks % length.Ticks), TimeSpan.Zero), sample.Kind,
                    Code: sample.Code ?? ""))
            .Select(group =>
            {
                var seconds = group.Select(sample => sample.Seconds).OfType<double>().Order().ToList();
                return new StatisticsRow(
                    group.Key.At, group.Key.Kind, group.Key.Code, group.Count(), Percentile(seconds, 0.5), Percentile(seconds, 0.95));
            }),
    ];

    private static double? Percentile(List<double> sorted, double share) =>
        sorted.Count == 0 ? null : sorted[(int)Math.Ceiling(sorted.Count * share) - 1];

    /// <summary>Buckets are aligned to the UTC day. A bucket of several hours has the longest of their waits.</summary>
    public static OverviewTimes Of(IReadOnlyList<StatisticsRow> rows, DateTimeOffset now, int buckets, TimeSpan length)
    {
        var last = new DateTimeOffset(now.UtcTicks - (now.UtcTicks % length.Ticks), TimeSpan.Zero);
        var first = last - (length * (buckets - 1));
        var parts = rows.Where(row => row.Hour >= first && row.Hour < last + length).ToLookup(row => (int)((row.Hour - first) / length));
        return new OverviewTimes([.. Enumerable.Range(0, buckets).Select(i => OverviewTime.Of(first + (length * i), [.. parts[i]]))]);
    }
}

internal sealed record OverviewTime(
    DateTimeOffset Start, int Images, IReadOnlyDictionary<string, int> Errors, double? WaitMedian, double? WaitHigh, int? Queue)
{
    public static OverviewTime Of(DateTimeOffset start, IReadOnlyCollection<StatisticsRow> rows)
    {
        return new OverviewTime(
            start,
            Those(StatisticsKinds.Complete).Sum(row => row.Count),
            Those(StatisticsKinds.Error).GroupBy(row => row.Code).ToDictionary(group => group.Key, group => group.Sum(row => row.Count)),
            Those(StatisticsKinds.Claimed).Max(row => row.Median),
            Those(StatisticsKinds.Claimed).Max(row => row.High),
            Those(StatisticsKinds.Queue).Max(row => (int?)row.Count));

        IEnumerable<StatisticsRow> Those(string kind) => rows.Where(row => row.Kind == kind);
    }
}
