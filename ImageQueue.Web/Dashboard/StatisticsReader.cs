using ImageQueue.Core.Messages;
using ImageQueue.Core.Statistics;

namespace ImageQueue.Web.Dashboard;

/// <summary>The history of the last week, and what the last hour has brought; read every few seconds at the most, for however many look.</summary>
internal sealed class StatisticsReader : IDisposable
{
    private static readonly TimeSpan FreshFor = TimeSpan.FromSeconds(2);

    private readonly ShortCache<Figures> _figures;

    public StatisticsReader(IStatisticsStore store, TimeProvider time) => _figures = new(FreshFor, time, async cancellationToken => new Figures(
        await store.ListStatisticsAsync(TimeSpan.FromDays(8), cancellationToken),
        await store.CountSamplesAsync(TimeSpan.FromHours(1), cancellationToken),
        time.GetUtcNow()));

    /// <summary>At most a few seconds old; the running hour's rows are at most a minute old.</summary>
    /// <exception cref="StoreUnavailableException">The database cannot be asked.</exception>
    public Task<Figures> GetAsync(CancellationToken cancellationToken) => _figures.GetAsync(cancellationToken);

    /// <inheritdoc/>
    public void Dispose() => _figures.Dispose();

    /// <summary>What was read.</summary>
    internal sealed record Figures(IReadOnlyList<StatisticsRow> Rows, IReadOnlyList<SampleCount> LastHour, DateTimeOffset At)
    {
        /// <summary>ImageLocator of the last sixty minutes.</summary>
        public int PerHour => LastHour.Where(count => count.Kind == StatisticsKinds.Complete).Sum(count => count.Count);

        public int ErrorsLastHour => LastHour.Where(count => count.Kind == StatisticsKinds.Error).Sum(count => count.Count);

        /// <summary>The last twenty-four hours of the clock.</summary>
        public OverviewTimes Day => OverviewTimes.Of(Rows, At, buckets: 24, hours: 1);

        public string ErrorShares => string.Create(
            System.Globalization.CultureInfo.InvariantCulture,
            $"{(PerHour + ErrorsLastHour == 0 ? "–" : Overview.Share((double)ErrorsLastHour / (PerHour + ErrorsLastHour)))} / {(Day.ErrorShare is { } share ? Overview.Share(share) : "–")}");
    }
}
