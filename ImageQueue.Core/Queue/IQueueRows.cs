namespace ImageQueue.Core.Queue;

/// <summary>The rows of a queue that several processes share; <see cref="SqlServerQueueOrder"/> decides when to read them.</summary>
internal interface IQueueRows
{
    /// <summary>
    /// Waiting jobs by ascending place: those in front at places below 0, then round by round. Without deleted jobs' rows, and
    /// without those that a living worker has dequeued.
    /// </summary>
    /// <param name="after">Only places above this one.</param>
    /// <param name="upTo">The last place of the same round, or any.</param>
    /// <param name="count">At most so many.</param>
    Task<QueuePage> ReadAsync(long after, long upTo, int count, CancellationToken cancellationToken);

    /// <summary>Moves a waiting row before all others.</summary>
    /// <param name="hangfireJobId">The job.</param>
    /// <param name="place">Where it was read.</param>
    /// <returns>False when it is no longer there.</returns>
    Task<bool> TryMoveToFrontAsync(string hangfireJobId, long place, CancellationToken cancellationToken);

    /// <summary>Moves waiting rows to the ends of rounds, in this order.</summary>
    /// <returns>The new places of those that were moved; the others are no longer where they were read.</returns>
    Task<IReadOnlyList<(Guid Job, long Place)>> MoveAsync(IReadOnlyList<QueueMove> moves, CancellationToken cancellationToken);

    /// <summary>Returns a row that a dead worker dequeued, in its place.</summary>
    /// <returns>False when there is none.</returns>
    bool TryGiveBack(string hangfireJobId);
}

/// <summary>One waiting row.</summary>
/// <param name="Place">See <see cref="QueuePlace"/>.</param>
/// <param name="Job">The Hangfire id.</param>
/// <param name="User">Whose request it is; null when it was not asked for, or the job does not say.</param>
internal readonly record struct QueueRow(long Place, Guid Job, string? User);

/// <summary>A waiting row that belongs into another round.</summary>
internal readonly record struct QueueMove(Guid Job, long Place, int Round);

/// <summary>A stretch of the queue.</summary>
/// <param name="Rows">By ascending place.</param>
/// <param name="UpTo">The stretch ends here: up to this place nothing else waits.</param>
/// <param name="IsLast">Whether nothing waits behind it, up to the place that was asked for.</param>
internal sealed record QueuePage(IReadOnlyList<QueueRow> Rows, long UpTo, bool IsLast)
{
    /// <summary>Before every place.</summary>
    public const long Start = long.MinValue;
}
