using ImageQueue.Core.Messages;

namespace ImageQueue.Web.Dashboard;

/// <summary>The statistics of the last week and the counts of the last hour, cached for two seconds.</summary>
internal sealed class StatisticsReader(IStatisticsStore store, TimeProvider time)
{
    private readonly ShortCache<Figures> _figures = new(TimeSpan.FromSeconds(2), TimeSpan.FromSeconds(2), time, async cancellationToken => new Figures(
        await store.ListStatisticsAsync(TimeSpan.FromDays(8), cancellationToken),
        await store.CountSamplesAsync(TimeSpan.FromHours(1), cancellationToken),
        time.GetUtcNow()));

    /// <exception cref="StoreUnavailableException">The database did not answer.</exception>
    public Task<Figures> GetAsync(CancellationToken cancellationToken) => _figures.GetAsync(cancellationToken);

    internal sealed record Figures(IReadOnlyList<StatisticsRow> Rows, IReadOnlyList<SampleCount> LastHour, DateTimeOffset At)
    {
        /// <summary>Images completed in the last sixty minutes.</summary>
        public int PerHour => LastHour.Where(count => count.Kind == StatisticsKinds.Complete).Sum(count => count.Count);

        public int ErrorsLastHour => LastHour.Where(count => count.Kind == StatisticsKinds.Error).Sum(count => count.Count);

        public OverviewTimes Day => OverviewTimes.Of(Rows, At, buckets: 24, hours: 1);

        public string ErrorShares => string.Create(
            System.Globalization.CultureInfo.InvariantCulture,
            $"{(PerHour + ErrorsLastHour == 0 ? "–" : Overview.Share((double)ErrorsLastHour / (PerHour + ErrorsLastHour)))} / {(Day.ErrorShare is { } share ? Overview.Share(share) : "–")}");
    }
}
