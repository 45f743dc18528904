namespace ImageQueue.Web.Dashboard;

/// <summary>The statistics of the last week and the counts of the last hour, cached for two seconds.</summary>
internal sealed class StatisticsReader(IStatisticsStore store, TimeProvider time)
{
    private readonly ShortCache<Figures> _figures =
        new(TimeSpan.FromSeconds(2), TimeSpan.FromSeconds(2), time, async cancellationToken => new Figures(
        await store.ListStatisticsAsync(TimeSpan.FromDays(8), cancellationToken),
        await store.CountSamplesAsync(TimeSpan.FromHours(1), cancellationToken),
        await ListYoungSamplesAsync(store, time, cancellationToken),
        time.GetUtcNow()));

    /// <summary>A history shorter than this is shown by minutes.</summary>
    private static readonly TimeSpan Young = TimeSpan.FromHours(3);

    /// <exception cref="StoreUnavailableException">The database did not answer.</exception>
    public Task<Figures> GetAsync(CancellationToken cancellationToken) => _figures.GetAsync(cancellationToken);

    /// <summary>All samples while the history is young, else null.</summary>
    private static async Task<IReadOnlyList<StatisticsSample>?> ListYoungSamplesAsync(
        IStatisticsStore store, TimeProvider time, CancellationToken cancellationToken)
    {
        var now = time.GetUtcNow();
        var state = await store.ReadStatisticsStateAsync(cancellationToken);
        return state.OldestSample is { } oldest && now - oldest < Young
            ? await store.ListSamplesAsync(oldest, now.AddMinutes(1), cancellationToken)
            : null;
    }

    internal sealed record Figures(
        IReadOnlyList<StatisticsRow> Rows, IReadOnlyList<SampleCount> LastHour, IReadOnlyList<StatisticsSample>? Young, DateTimeOffset At)
    {
        /// <summary>Images completed in the last sixty minutes.</summary>
        public int PerHour => LastHour.Where(count => count.Kind == StatisticsKinds.Complete).Sum(count => count.Count);

        public int ErrorsLastHour => LastHour.Where(count => count.Kind == StatisticsKinds.Error).Sum(count => count.Count);

        public OverviewTimes Day => OverviewTimes.Of(Rows, At, buckets: 24, TimeSpan.FromHours(1));

        /// <summary>Errors of all finished requests of the last hour, such as "2 of 40".</summary>
        public string ErrorsPerHour => string.Create(CultureInfo.InvariantCulture, $"{ErrorsLastHour} of {PerHour + ErrorsLastHour}");

        public string ErrorsPerDay => string.Create(CultureInfo.InvariantCulture, $"{Day.Errors} of {Day.Images + Day.Errors}");
    }
}
