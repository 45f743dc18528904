namespace ImageQueue.Core.Messages;

/// <summary>
/// Tracks an open transaction that holds back later changes: since when, and which changes were delivered out of order. For one reader;
/// others call it under the feed's lock.
/// </summary>
internal sealed class OpenTransactionGap
{
    /// <summary>Past gaps that are kept for reconnecting clients.</summary>
    private const int MaxPast = 100;

    /// <summary>How long one open transaction may hold back later changes before they are delivered out of order.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);

    private readonly Dictionary<long, MessageChange> _ahead = [];
    private readonly Queue<(long From, long To)> _past = new();
    private long _since;

    /// <summary>The revision from which on the order is not final; null when there is no gap.</summary>
    public long? At { get; private set; }

    /// <summary>Whether the gap is older than <see cref="Patience"/>.</summary>
    public bool IsLong { get; private set; }

    /// <summary>The newest change of each message that was delivered out of order and not yet in order.</summary>
    public IEnumerable<MessageChange> Ahead => _ahead.Values;

    public void Note(long? at, TimeProvider time)
    {
        if (at != At)
        {
            if (_ahead.Count > 0)
                _past.Enqueue((At!.Value, _ahead.Values.Max(change => change.Message.Revision)));
            while (_past.Count > MaxPast)
                _past.Dequeue();
            (At, IsLong, _since) = (at, false, time.GetTimestamp());
            _ahead.Clear();
        }

        IsLong = At is not null && (IsLong || time.GetElapsedTime(_since) >= Patience);
    }

    public bool Knows(ChangedRow row) => _ahead.TryGetValue(row.Id, out var known) && known.Message.Revision >= row.Revision;

    public void Add(MessageChange change) => _ahead[change.Message.Id] = change;

    /// <summary>
    /// Where a client with this revision resumes: before the gap, if the revision was delivered out of order, since that says nothing of
    /// the changes that the open transaction brought later.
    /// </summary>
    public long InOrder(long revision) =>
        _past.Where(gap => revision >= gap.From && revision <= gap.To).Select(gap => gap.From - 1).FirstOrDefault(revision);
}
