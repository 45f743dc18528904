namespace ImageQueue.Core.Messages;

/// <summary>
/// What the feed remembers of a transaction that stays open: since when it holds changes back, and which of them were told ahead.
/// For one reader; what others ask is asked under the feed's lock.
/// </summary>
internal sealed class OpenTransactionGap
{
    /// <summary>Most times that are remembered for clients that come back.</summary>
    private const int MaxPast = 100;

    private readonly Dictionary<long, MessageChange> _ahead = [];
    private readonly Queue<(long From, long To)> _past = new();
    private long _since;

    /// <summary>The revision from which on the order is not final; null when all of it is.</summary>
    public long? At { get; private set; }

    /// <summary>Whether that has been so for longer than <see cref="MessageFeed.HeldBackPatience"/>.</summary>
    public bool IsLong { get; private set; }

    /// <summary>What was told ahead of the order and is not in it yet: each message's newest.</summary>
    public IEnumerable<MessageChange> Ahead => _ahead.Values;

    public void Note(long? at, TimeProvider time)
    {
        if (at != At)
        {
            if (_ahead.Count > 0)
                _past.Enqueue((At!.Value, _ahead.Values.Max(change => change.Message.Revision))); // Told ahead of something.
            while (_past.Count > MaxPast)
                _past.Dequeue();
            (At, IsLong, _since) = (at, false, time.GetTimestamp());
            _ahead.Clear();
        }

        IsLong = At is not null && (IsLong || time.GetElapsedTime(_since) >= MessageFeed.HeldBackPatience);
    }

    public bool Knows(ChangedRow row) => _ahead.TryGetValue(row.Id, out var told) && told.Message.Revision >= row.Revision;

    public void Add(MessageChange change) => _ahead[change.Message.Id] = change;

    /// <summary>
    /// Where a client goes on that gives back a revision: one that it was told ahead of the order says nothing of what that
    /// transaction has brought since.
    /// </summary>
    public long InOrder(long revision)
    {
        foreach (var (from, to) in _past)
        {
            if (revision >= from && revision <= to)
                return from - 1;
        }

        return revision;
    }
}
