using ImageQueue.Core.Forge;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;

namespace ImageQueue.Web.Dashboard;

/// <summary>The last day in figures, counted from the rows every few seconds at the most, for however many look.</summary>
internal sealed class DeskSummary(IMessageStore store, QueuePositions positions, ForgePool pool, TimeProvider time) : IDisposable
{
    /// <summary>Newest ends of each kind that are counted; a day with more is counted from its newest.</summary>
    private const int MostEnds = 20_000;

    private static readonly TimeSpan FreshFor = TimeSpan.FromSeconds(4);
    private static readonly TimeSpan Day = TimeSpan.FromDays(1);

    private readonly SemaphoreSlim _reading = new(1, 1);
    private (Figures Figures, long At)? _known;

    /// <summary>At most a few seconds old.</summary>
    /// <exception cref="StoreUnavailableException">The database cannot be asked.</exception>
    public async Task<Figures> GetAsync(CancellationToken cancellationToken)
    {
        await _reading.WaitAsync(cancellationToken);
        try
        {
            if (_known is not { } known || time.GetElapsedTime(known.At) >= FreshFor)
                _known = known = (await ReadAsync(cancellationToken), time.GetTimestamp());
            return known.Figures;
        }
        finally
        {
            _reading.Release();
        }
    }

    /// <summary>An operator has changed something, and looks for it at once.</summary>
    public async Task ForgetAsync()
    {
        await _reading.WaitAsync();
        _known = null;
        _reading.Release();
    }

    /// <inheritdoc/>
    public void Dispose() => _reading.Dispose();

    private async Task<Figures> ReadAsync(CancellationToken cancellationToken) => new(
        await positions.CountAsync(cancellationToken),
        (await store.ListWaitingAsync(null, 1, cancellationToken)).Select(row => (DateTimeOffset?)row.QueuedAt).FirstOrDefault(),
        await store.ListByStatusAsync(MessageStatus.Processing, null, 200, cancellationToken),
        await store.ListEndsAsync(MessageStatus.Complete, Day, MostEnds, cancellationToken),
        await store.ListEndsAsync(MessageStatus.Error, Day, MostEnds, cancellationToken),
        pool.Status,
        time.GetUtcNow());

    /// <summary>What was counted.</summary>
    internal sealed record Figures(
        int Waiting,
        DateTimeOffset? OldestQueuedAt,
        IReadOnlyList<Message> Painting,
        IReadOnlyList<RequestEnd> Complete,
        IReadOnlyList<RequestEnd> Errors,
        IReadOnlyList<ForgeBackendStatus> Forges,
        DateTimeOffset At)
    {
        public int Healthy => Forges.Count(forge => forge.Healthy == true && !forge.Paused);

        public double? Median(string forge)
        {
            var seconds = Complete.Where(end => end.Backend == forge).Select(end => end.Seconds).OfType<double>().Order().ToList();
            return seconds.Count == 0 ? null : seconds[seconds.Count / 2];
        }
    }
}
