using ImageQueue.Core.Messages;

namespace ImageQueue.Core.Queue;

/// <summary>Where messages stand and when their pictures will be there, live: the stored position is a copy for those who read the table.</summary>
public sealed class QueuePositions(IQueueOrder order, Eta eta, TimeProvider time)
{
    /// <summary>The positions and estimates of this moment.</summary>
    public async ValueTask<LivePositions> GetAsync(CancellationToken cancellationToken) =>
        new(await order.GetAsync(cancellationToken), await eta.GetAsync(cancellationToken), time.GetUtcNow());
}

/// <summary>Positions and estimates of one moment.</summary>
public readonly struct LivePositions(QueueSnapshot snapshot, EtaBasis eta, DateTimeOffset now)
{
    /// <summary>When this was true, UTC.</summary>
    public DateTimeOffset AsOf => snapshot.TakenAt;

    /// <summary>How many wait.</summary>
    public int Waiting => snapshot.Count;

    /// <summary>What a picture took lately; null until there is anything to go by.</summary>
    public double? SecondsPerImage => eta.SecondsPerImage;

    /// <summary>1 = next; 0 = not waiting.</summary>
    public int Of(Message message)
    {
        if (message.Status != MessageStatus.Queued)
            return 0;
        // Not in the snapshot: on its way into Hangfire, or just taken out of it. What was stored last is the best that is known.
        return message.HangfireJobId is { } job && snapshot.PositionOf(job) is { } live ? live : Math.Max(1, message.QueuePosition);
    }

    /// <summary>Seconds until the picture of a message that waits or is being painted is there; null until there is anything to go by.</summary>
    public double? EtaOf(Message message) => eta.Of(message, Of(message), now);
}
