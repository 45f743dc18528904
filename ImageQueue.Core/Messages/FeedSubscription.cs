namespace ImageQueue.Core.Messages;

/// <summary>One watcher of one conversation; see <see cref="MessageFeed.WatchAsync"/>. For one reader at a time.</summary>
public sealed class FeedSubscription : IDisposable
{
    private readonly MessageFeed.Watcher _watcher;
    private readonly IFeedStore _store;
    private readonly SemaphoreSlim _catchUps;
    private readonly TimeProvider _time;

    /// <summary>Revisions delivered out of order, by message; they come once more in order.</summary>
    private readonly Dictionary<long, long> _ahead = [];

    private bool _isBehind = true;

    internal FeedSubscription(MessageFeed.Watcher watcher, IFeedStore store, SemaphoreSlim catchUps, TimeProvider time, long since) =>
        (_watcher, _store, _catchUps, _time, Seen) = (watcher, store, catchUps, time, since);

    /// <summary>
    /// The newest revision delivered in order; at first, the one that the watcher started from. Nothing up to it is missing.
    /// </summary>
    public long Seen { get; private set; }

    /// <summary>
    /// The next changes, in revision order: first the newest state of each message that changed since the start, then each change as it
    /// comes. A slow watcher gets the newest state of each message and misses those between; it never misses the newest. While the
    /// database is away nothing comes; it comes afterwards. Behind a transaction that stays open changes come out of order, but the states
    /// of one message always in order.
    /// </summary>
    /// <param name="wait">How long to wait for one.</param>
    /// <returns>Empty when nothing changed for <paramref name="wait"/>.</returns>
    public async Task<IReadOnlyList<MessageChange>> NextAsync(TimeSpan wait, CancellationToken cancellationToken)
    {
        var started = _time.GetTimestamp();
        while (true)
        {
            var left = Left(wait, started);
            var wasBehind = _isBehind;
            var changes = wasBehind ? await CatchUpAsync(left, cancellationToken) : await TakeAsync(left, cancellationToken);

            // Changes written during catch-up come a second time, from the feed; so do those delivered out of order.
            var unseen = changes.Where(IsUnseen).OrderBy(change => change.Message.Revision).ToList();
            Note(changes, unseen);
            if (unseen.Count > 0)
                return unseen;

            if (left == TimeSpan.Zero || (changes.Count == 0 && !wasBehind && !_isBehind))
                return [];
        }
    }

    /// <summary>
    /// Takes back changes that could not be delivered yet. Nothing is held for a reader that is this slow but <see cref="Seen"/>: they are
    /// read again when it asks for the next ones.
    /// </summary>
    public void TakeBack(IEnumerable<MessageChange> undelivered)
    {
        foreach (var change in undelivered)
        {
            Seen = Math.Min(Seen, change.Message.Revision - 1);
            _ahead.Remove(change.Message.Id);
        }

        _watcher.Drop();
        _isBehind = true;
    }

    /// <inheritdoc/>
    public void Dispose() => _watcher.Dispose();

    private bool IsUnseen(MessageChange change) =>
        change.Message.Revision > Seen && !(_ahead.TryGetValue(change.Message.Id, out var given) && given >= change.Message.Revision);

    private void Note(IReadOnlyCollection<MessageChange> taken, List<MessageChange> given)
    {
        foreach (var change in taken)
            Seen = Math.Max(Seen, change.ResumeFrom);
        foreach (var change in given.Where(change => change.Message.Revision > change.ResumeFrom))
            _ahead[change.Message.Id] = change.Message.Revision;
        foreach (var (id, revision) in _ahead)
        {
            if (revision <= Seen)
                _ahead.Remove(id); // A dictionary allows it while it is enumerated.
        }
    }

    private TimeSpan Left(TimeSpan wait, long started)
    {
        var left = wait - _time.GetElapsedTime(started);
        return left > TimeSpan.Zero ? left : TimeSpan.Zero;
    }

    private async Task<IReadOnlyCollection<MessageChange>> TakeAsync(TimeSpan wait, CancellationToken cancellationToken)
    {
        (var changes, _isBehind) = await _watcher.TakeAsync(wait, cancellationToken);
        return changes;
    }

    private async Task<IReadOnlyCollection<MessageChange>> CatchUpAsync(TimeSpan wait, CancellationToken cancellationToken)
    {
        try
        {
            await _catchUps.WaitAsync(cancellationToken);
            try
            {
                var changes = await _store.ChangesSinceAsync(Seen, _watcher.ConversationId, MessageFeed.PageSize, cancellationToken);
                _isBehind = changes.Count == MessageFeed.PageSize || changes.Sum(change => change.Size) >= IFeedStore.PageCharacters;
                return changes;
            }
            finally
            {
                _catchUps.Release();
            }
        }
        catch (StoreUnavailableException)
        {
            // The feed's reader has logged it.
            await Task.Delay(wait < MessageFeed.PollInterval ? wait : MessageFeed.PollInterval, _time, cancellationToken);
            return [];
        }
    }
}
