using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue.Eta;

namespace ImageQueue.Core.Queue;

/// <summary>
/// Where messages stand and when their images will be there, live: the stored position is a copy for those who read the table.
/// Decoration: where it cannot be had, the stored one answers, and nothing fails for it.
/// </summary>
public sealed class QueuePositions(IQueueOrder order, QueueRebuildState rebuilding, IQueueStore store, EtaEstimator eta, TimeProvider time)
{
    /// <summary>How long a count of the rows serves: while the queue is rebuilt, every submit asks.</summary>
    private static readonly TimeSpan CountIsFresh = TimeSpan.FromSeconds(1);

    private (int Count, long At)? _counted;

    /// <summary>The positions and estimates of this moment.</summary>
    public async ValueTask<LivePositions> GetAsync(CancellationToken cancellationToken) =>
        new(await order.GetAsync(cancellationToken), await eta.GetAsync(cancellationToken), time.GetUtcNow());

    /// <summary>How many wait: by Hangfire's queue, or by the rows while that is not known or being rebuilt.</summary>
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
    /// <summary>When this was true, UTC.</summary>
    public DateTimeOffset AsOf => snapshot.TakenAt;

    /// <summary>What an image took lately; null until there is anything to go by.</summary>
    public double? SecondsPerImage => eta.SecondsPerImage;

    /// <summary>1 = next; 0 = not waiting.</summary>
    public int Of(Message message)
    {
        ArgumentNullException.ThrowIfNull(message);
        if (message.Status != MessageStatus.Queued)
            return 0;
        // Not in the snapshot: on its way into Hangfire, or just taken out of it. What was stored last is the best that is known.
        return message.HangfireJobId is { } job && snapshot.PositionOf(job) is { } live ? live : Math.Max(1, message.QueuePosition);
    }

    /// <summary>Seconds until the image of a message that waits or is being generated is there; null until there is anything to go by.</summary>
    public double? EtaOf(Message message) => eta.Of(message, Of(message), now);
}
