using ImageQueue.Core.Messages;

namespace ImageQueue.Core.Queue;

/// <summary>Where a waiting message stands, live: the stored position is a copy for those who read the table.</summary>
public sealed class QueuePositions(IQueueOrder order)
{
    /// <summary>The live position of each message that waits, by message id.</summary>
    public async ValueTask<LivePositions> GetAsync(CancellationToken cancellationToken) => new(await order.GetAsync(cancellationToken));
}

/// <summary>Positions of one moment.</summary>
public readonly struct LivePositions(QueueSnapshot snapshot)
{
    /// <summary>When this was true, UTC.</summary>
    public DateTimeOffset AsOf => snapshot.TakenAt;

    /// <summary>1 = next; 0 = not waiting.</summary>
    public int Of(Message message)
    {
        if (message.Status != MessageStatus.Queued)
            return 0;
        // Not in the snapshot: on its way into Hangfire, or just taken out of it. What was stored last is the best that is known.
        return message.HangfireJobId is { } job && snapshot.PositionOf(job) is { } live ? live : Math.Max(1, message.QueuePosition);
    }
}
