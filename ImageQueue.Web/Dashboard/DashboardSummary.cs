using ImageQueue.Core.Backends;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;

namespace ImageQueue.Web.Dashboard;

/// <summary>Queue figures and the last day's finished requests, cached for a few seconds.</summary>
internal sealed class DashboardSummary(IMessageStore store, QueuePositions positions, BackendPool pool, TimeProvider time)
{
    private const int MostUsers = 8;

    private readonly ShortCache<Figures> _figures =
        new(TimeSpan.FromSeconds(2), TimeSpan.FromSeconds(10), time, async cancellationToken => new Figures(
        await positions.CountAsync(cancellationToken),
        (await store.ListWaitingAsync(null, 1, cancellationToken)).Select(row => (DateTimeOffset?)row.QueuedAt).FirstOrDefault(),
        await store.ListByStatusAsync(MessageStatus.Processing, null, 200, cancellationToken),
        pool.Status,
        await store.ListWaitingUsersAsync(MostUsers, cancellationToken),
        time.GetUtcNow()));

    /// <summary>Thousands of rows: read rarely, and served old meanwhile.</summary>
    private readonly ShortCache<DayOfEnds> _ends =
        new(TimeSpan.FromSeconds(15), TimeSpan.FromMinutes(5), time, async cancellationToken => new DayOfEnds(
        await ListEndsAsync(
            store,
            MessageStatus.Complete,
            cancellationToken), await ListEndsAsync(store, MessageStatus.Error, cancellationToken), time.GetUtcNow()));

    /// <exception cref="StoreUnavailableException">The database did not answer.</exception>
    public Task<Figures> GetAsync(CancellationToken cancellationToken) => _figures.GetAsync(cancellationToken);

    /// <exception cref="StoreUnavailableException">The database did not answer.</exception>
    public Task<DayOfEnds> GetEndsAsync(CancellationToken cancellationToken) => _ends.GetAsync(cancellationToken);

    /// <summary>The last day's requests of one status, newest first, at most 20,000.</summary>
    /// <exception cref="StoreUnavailableException">The database did not answer.</exception>
    public Task<IReadOnlyList<RequestEnd>> ListEndsAsync(string status, CancellationToken cancellationToken) =>
        ListEndsAsync(store, status, cancellationToken);

    /// <summary>Call after a command, so that the operator sees its effect at once.</summary>
    public void Invalidate()
    {
        _figures.Invalidate();
        _ends.Invalidate();
    }

    private static Task<IReadOnlyList<RequestEnd>> ListEndsAsync(IMessageStore store, string status, CancellationToken cancellationToken) =>
        store.ListEndsAsync(status, TimeSpan.FromDays(1), 20_000, cancellationToken);

    internal sealed record Figures(
        int Waiting,
        DateTimeOffset? OldestQueuedAt,
        IReadOnlyList<Message> Generating,
        IReadOnlyList<BackendStatus> Backends,
        IReadOnlyList<WaitingUser> WaitingUsers,
        DateTimeOffset At)
    {
        public int Healthy => Backends.Count(backend => backend.Healthy == true && !backend.Paused);
    }

    internal sealed record DayOfEnds(IReadOnlyList<RequestEnd> Complete, IReadOnlyList<RequestEnd> Errors, DateTimeOffset At)
    {
        public double? Median(string backend) => MedianOf(Of(backend).Select(end => end.Seconds).OfType<double>());

        /// <summary>
        /// How many times slower a backend is than the pool's median, per megapixel-step; null while there is too little to compare.
        /// </summary>
        public double? Slowness(string backend)
        {
            var paces = Complete.Where(end => end.Backend is not null).GroupBy(end => end.Backend!)
                .Select(group => (
                    Backend: group.Key,
                    Pace: MedianOf(
                        from end in @group where end is { Seconds: not null, Work: > 0 } select end.Seconds!.Value / end.Work!.Value)))
                .Where(one => one.Pace is not null).ToList();
            return paces.Count < 2 || paces.Find(one => one.Backend == backend).Pace is not { } own
                ? null
                : own / MedianOf(paces.Select(one => one.Pace!.Value));
        }

        private IEnumerable<RequestEnd> Of(string backend) => Complete.Where(end => end.Backend == backend);

        /// <summary>The lower of two: the faster backend is the measure of a pool of two.</summary>
        private static double? MedianOf(IEnumerable<double> values)
        {
            var sorted = values.Order().ToList();
            return sorted.Count == 0 ? null : sorted[(sorted.Count - 1) / 2];
        }
    }
}
