using ImageQueue.Core.Backends;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;

namespace ImageQueue.Web.Dashboard;

/// <summary>Queue figures and the last day's finished requests, cached for a few seconds.</summary>
internal sealed class DashboardSummary : IDisposable
{
    private static readonly TimeSpan FreshFor = TimeSpan.FromSeconds(4);

    private readonly IMessageStore _store;
    private readonly ShortCache<Figures> _figures;
    private readonly ShortCache<DayOfEnds> _ends;

    public DashboardSummary(IMessageStore store, QueuePositions positions, BackendPool pool, TimeProvider time)
    {
        _store = store;
        _figures = new(FreshFor, time, async cancellationToken => new Figures(
            await positions.CountAsync(cancellationToken),
            (await store.ListWaitingAsync(null, 1, cancellationToken)).Select(row => (DateTimeOffset?)row.QueuedAt).FirstOrDefault(),
            await store.ListByStatusAsync(MessageStatus.Processing, null, 200, cancellationToken),
            pool.Status,
            time.GetUtcNow()));
        _ends = new(FreshFor, time, async cancellationToken => new DayOfEnds(
            await ListEndsAsync(MessageStatus.Complete, cancellationToken),
            await ListEndsAsync(MessageStatus.Error, cancellationToken),
            time.GetUtcNow()));
    }

    /// <exception cref="StoreUnavailableException">The database did not answer.</exception>
    public Task<Figures> GetAsync(CancellationToken cancellationToken) => _figures.GetAsync(cancellationToken);

    /// <summary>Thousands of rows, which the tiles do not need.</summary>
    /// <exception cref="StoreUnavailableException">The database did not answer.</exception>
    public Task<DayOfEnds> GetEndsAsync(CancellationToken cancellationToken) => _ends.GetAsync(cancellationToken);

    /// <summary>The last day's requests of one status, newest first, at most 20,000.</summary>
    /// <exception cref="StoreUnavailableException">The database did not answer.</exception>
    public Task<IReadOnlyList<RequestEnd>> ListEndsAsync(string status, CancellationToken cancellationToken) =>
        _store.ListEndsAsync(status, TimeSpan.FromDays(1), 20_000, cancellationToken);

    /// <summary>Call after a command, so that the operator sees its effect at once.</summary>
    public async Task InvalidateAsync()
    {
        await _figures.InvalidateAsync();
        await _ends.InvalidateAsync();
    }

    public void Dispose()
    {
        _figures.Dispose();
        _ends.Dispose();
    }

    internal sealed record Figures(
        int Waiting, DateTimeOffset? OldestQueuedAt, IReadOnlyList<Message> Generating, IReadOnlyList<BackendStatus> Backends, DateTimeOffset At)
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
