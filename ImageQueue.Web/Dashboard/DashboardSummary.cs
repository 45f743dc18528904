using ImageQueue.Core.Backends;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;

namespace ImageQueue.Web.Dashboard;

/// <summary>How things stand, and what has ended in the last day: read from the rows every few seconds at the most, for however many look.</summary>
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

    /// <summary>How things stand. At most a few seconds old.</summary>
    /// <exception cref="StoreUnavailableException">The database cannot be asked.</exception>
    public Task<Figures> GetAsync(CancellationToken cancellationToken) => _figures.GetAsync(cancellationToken);

    /// <summary>What has ended in the last day. At most a few seconds old; thousands of rows, which the tiles do not need.</summary>
    /// <exception cref="StoreUnavailableException">The database cannot be asked.</exception>
    public Task<DayOfEnds> GetEndsAsync(CancellationToken cancellationToken) => _ends.GetAsync(cancellationToken);

    /// <summary>The last day's of one kind, as they are now; a day with more than 20,000 from its newest.</summary>
    /// <exception cref="StoreUnavailableException">The database cannot be asked.</exception>
    public Task<IReadOnlyList<RequestEnd>> ListEndsAsync(string status, CancellationToken cancellationToken) =>
        _store.ListEndsAsync(status, TimeSpan.FromDays(1), 20_000, cancellationToken);

    /// <summary>An operator has changed something, and looks for it at once.</summary>
    public async Task ForgetAsync()
    {
        await _figures.ForgetAsync();
        await _ends.ForgetAsync();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _figures.Dispose();
        _ends.Dispose();
    }

    /// <summary>How things stand.</summary>
    internal sealed record Figures(
        int Waiting, DateTimeOffset? OldestQueuedAt, IReadOnlyList<Message> Generating, IReadOnlyList<BackendStatus> Forges, DateTimeOffset At)
    {
        public int Healthy => Forges.Count(forge => forge.Healthy == true && !forge.Paused);
    }

    /// <summary>What has ended in the last day.</summary>
    internal sealed record DayOfEnds(IReadOnlyList<RequestEnd> Complete, IReadOnlyList<RequestEnd> Errors, DateTimeOffset At)
    {
        public double? Median(string forge)
        {
            var seconds = Complete.Where(end => end.Backend == forge).Select(end => end.Seconds).OfType<double>().Order().ToList();
            return seconds.Count == 0 ? null : seconds[seconds.Count / 2];
        }
    }
}
