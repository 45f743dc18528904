using ImageQueue.Core.Queue.Eta;

namespace ImageQueue.Core.Queue;

/// <summary>Live positions and estimates; the stored position is a copy for readers of the table.</summary>
/// <remarks>Where the live position is not known the stored one answers: no request fails for it.</remarks>
public sealed class QueuePositions(IQueueOrder order, QueueRebuildState rebuilding, IQueueStore store, EtaEstimator eta, TimeProvider time)
{
    /// <summary>How long a count of the rows serves: during a rebuild every submit asks for it.</summary>
    private static readonly TimeSpan CountIsFresh = TimeSpan.FromSeconds(1);

    private (int Count, long At)? _counted;

    public async ValueTask<LivePositions> GetAsync(CancellationToken cancellationToken) =>
        new(await order.GetAsync(cancellationToken), await eta.GetAsync(cancellationToken), time.GetUtcNow());

    /// <summary>The number of waiting requests: by Hangfire's queue, or by the rows while that is unknown or being rebuilt.</summary>
    /// <exception cref="StoreUnavailableException">Neither can be asked.</exception>
    public async ValueTask<int> CountAsync(CancellationToken cancellationToken)
    {
        if (!rebuilding.IsUnderWay && await order.GetAsync(cancellationToken) is { IsKnown: true } snapshot)
            return snapshot.Count;
        if (_counted is { } known && time.GetElapsedTime(known.At) < CountIsFresh)
            return known.Count;
        var at = time.GetTimestamp();
        var count = await store.CountAsync(MessageStatus.Queued, cancellationToken);
        _counted = (count, at);
        return count;
    }
}

/// <summary>Positions and estimates of one moment.</summary>
public readonly struct LivePositions(QueueSnapshot snapshot, EtaBasis eta, DateTimeOffset now)
{
    /// <summary>When Hangfire's queue was read, UTC.</summary>
    public DateTimeOffset AsOf => snapshot.IsLive ? now : snapshot.TakenAt;

    /// <summary>The mean of the newest images; null until there is one.</summary>
    public double? SecondsPerImage => eta.SecondsPerImage;

    /// <summary>1 = next; 0 = not waiting.</summary>
    public int Of(Message message)
    {
        ArgumentNullException.ThrowIfNull(message);
        if (message.Status != MessageStatus.Queued)
            return 0;
        // Not in the snapshot: on its way into Hangfire, or just dequeued. The stored position is the best there is.
        return message.HangfireJobId is { } job && snapshot.PositionOf(job) is { } live ? live : Math.Max(1, message.QueuePosition);
    }

    /// <summary>Seconds until the image of a waiting or processing message is complete; null when that cannot be estimated.</summary>
    public double? EtaOf(Message message) => eta.Of(message, Of(message), now);
}
