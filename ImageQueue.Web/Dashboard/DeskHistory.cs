using ImageQueue.Core.Messages;

namespace ImageQueue.Web.Dashboard;

/// <summary>The history of the last week, and what the last hour has brought; read every few seconds at the most, for however many look.</summary>
internal sealed class DeskHistory : IDisposable
{
    private static readonly TimeSpan FreshFor = TimeSpan.FromSeconds(2);

    private readonly Fresh<Figures> _figures;

    public DeskHistory(IHistoryStore store, TimeProvider time) => _figures = new(FreshFor, time, async cancellationToken => new Figures(
        await store.ListHistoryAsync(TimeSpan.FromDays(8), cancellationToken),
        await store.CountMomentsAsync(TimeSpan.FromHours(1), cancellationToken),
        time.GetUtcNow()));

    /// <summary>At most a few seconds old; the running hour's rows are at most a minute old.</summary>
    /// <exception cref="StoreUnavailableException">The database cannot be asked.</exception>
    public Task<Figures> GetAsync(CancellationToken cancellationToken) => _figures.GetAsync(cancellationToken);

    /// <inheritdoc/>
    public void Dispose() => _figures.Dispose();

    /// <summary>What was read.</summary>
    internal sealed record Figures(IReadOnlyList<HistoryRow> Rows, IReadOnlyList<MomentCount> LastHour, DateTimeOffset At)
    {
        /// <summary>Pictures of the last sixty minutes.</summary>
        public int PerHour => LastHour.Where(count => count.Kind == HistoryKinds.Complete).Sum(count => count.Count);

        public int ErrorsLastHour => LastHour.Where(count => count.Kind == HistoryKinds.Error).Sum(count => count.Count);

        /// <summary>The last twenty-four hours of the clock.</summary>
        public OverviewTimes Day => OverviewTimes.Of(Rows, At, buckets: 24, hours: 1);

        public string ErrorShares => string.Create(
            System.Globalization.CultureInfo.InvariantCulture,
            $"{(PerHour + ErrorsLastHour == 0 ? "–" : Overview.Share((double)ErrorsLastHour / (PerHour + ErrorsLastHour)))} / {(Day.ErrorShare is { } share ? Overview.Share(share) : "–")}");
    }
}
