using ImageQueue.Core.Backends;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;

namespace ImageQueue.Web.Dashboard;

/// <summary>Queue figures and the last day's finished requests, cached for a few seconds.</summary>
internal sealed class DashboardSummary(IMessageStore store, QueuePositions positions, BackendPool pool, TimeProvider time)
{
    private const int MostUsers = 8;

    private readonly ShortCache<Figures> _figures = new(TimeSpan.FromSeconds(2), TimeSpan.FromSeconds(10), time, async cancellationToken => new Figures(
        await positions.CountAsync(cancellationToken),
        (await store.ListWaitingAsync(null, 1, cancellationToken)).Select(row => (DateTimeOffset?)row.QueuedAt).FirstOrDefault(),
        await store.ListByStatusAsync(MessageStatus.Processing, null, 200, cancellationToken),
        pool.Status,
        await store.ListWaitingUsersAsync(MostUsers, cancellationToken),
        time.GetUtcNow()));

    /// <summary>Thousands of rows: read rarely, and served old meanwhile.</summary>
    private readonly ShortCache<DayOfEnds> _ends = new(TimeSpan.FromSeconds(15), TimeSpan.FromMinutes(5), time, async cancellationToken => new DayOfEnds(
        await ListEndsAsync(store, MessageStatus.Complete, cancellationToken), await ListEndsAsync(store, MessageStatus.Error, cancellationToken), time.GetUtcNow()));

    /// <exception cref="StoreUnavailableException">The database did not answer.</exception>
    public Task<Figures> GetAsync(CancellationToken cancellationToken) => _figures.GetAsync(cancellationToken);

    /// <exception cref="StoreUnavailableException">The database did not answer.</exception>
    public Task<DayOfEnds> GetEndsAsync(CancellationToken cancellationToken) => _ends.GetAsync(cancellationToken);

    /// <summary>The last day's requests of one status, newest first, at most 20,000.</summary>
    /// <exception cref="StoreUnavailableException">The database did not answer.</exception>
    public Task<IReadOnlyList<RequestEnd>> ListEndsAsync(string status, CancellationToken cancellationToken) => ListEndsAsync(store, status, cancellationToken);

    /// <summary>Call after a command, so that the operator sees its effect at once.</summary>
    public void Invalidate()
    {
        _figures.Invalidate();
        _ends.Invalidate();
    }

    private static Task<IReadOnlyList<RequestEnd>> ListEndsAsync(IMessageStore store, string status, CancellationToken cancellationToken) =>
        store.ListEndsAsync(status, TimeSpan.FromDays(1), 20_000, cancellationToken);

    internal sealed record Figures(
        int Waiting, DateTimeOffset? OldestQueuedAt, IReadOnlyList<Message> Generating, IReadOnlyList<BackendStatus> Backends, IReadOnlyList<WaitingUser> WaitingUsers, DateTimeOffset At)
    {
        public int Healthy => Backends.Count(backend => backend.Healthy == true && !backend.Paused);
    }

    internal sealed record DayOfEnds(IReadOnlyList<RequestEnd> Complete, IReadOnlyList<RequestEnd> Errors, DateTimeOffset At)
    {
        public double? Median(string backend)
        {
            var seconds = Complete.Where(end => end.Backend == backend).Select(end => end.Seconds).OfType<double>().Order().ToList();
            return seconds.Count == 0 ? null : seconds[seconds.Count / 2];
        }
    }
}
