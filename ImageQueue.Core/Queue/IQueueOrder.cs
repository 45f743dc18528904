using System.Collections.Frozen;

namespace ImageQueue.Core.Queue;

/// <summary>The order in which waiting requests will run, derived from Hangfire's enqueued state; one snapshot serves all readers.</summary>
public interface IQueueOrder
{
    /// <summary>The newest snapshot; at most a second old, and never older than the last <see cref="Changed"/> of this process.</summary>
    ValueTask<QueueSnapshot> GetAsync(CancellationToken cancellationToken);

    /// <summary>Says that this process has changed the queue: the next reader gets a new snapshot.</summary>
    void Changed();

    /// <summary>Completes at the next <see cref="Changed"/>.</summary>
    Task NextChange { get; }
}

/// <summary>Who waits, in order, at one moment.</summary>
public sealed class QueueSnapshot
{
    private readonly FrozenDictionary<string, int> _ranks;

    /// <param name="inOrder">Hangfire ids, next to run first, each once.</param>
    /// <param name="takenAt">When this was true.</param>
    public QueueSnapshot(IReadOnlyList<string> inOrder, DateTimeOffset takenAt)
    {
        InOrder = inOrder;
        TakenAt = takenAt;
        _ranks = inOrder.Select((id, index) => KeyValuePair.Create(id, index + 1)).ToFrozenDictionary(StringComparer.Ordinal);
    }

    /// <summary>Hangfire ids, next to run first.</summary>
    public IReadOnlyList<string> InOrder { get; }

    /// <summary>How many wait.</summary>
    public int Count => InOrder.Count;

    /// <summary>When this was true, UTC.</summary>
    public DateTimeOffset TakenAt { get; }

    /// <summary>1 = next to run; null when the job is not waiting.</summary>
    public int? PositionOf(string hangfireJobId) => _ranks.TryGetValue(hangfireJobId, out var rank) ? rank : null;
}
