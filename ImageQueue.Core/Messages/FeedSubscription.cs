namespace ImageQueue.Core.Messages;

/// <summary>One watcher of one conversation; see <see cref="MessageFeed.WatchAsync"/>. For one reader at a time.</summary>
public sealed class FeedSubscription : IDisposable
{
    private readonly MessageFeed.Watcher _watcher;
    private readonly IMessageStore _store;
    private readonly TimeProvider _time;
    private bool _isBehind = true;

    internal FeedSubscription(MessageFeed.Watcher watcher, IMessageStore store, TimeProvider time, long since)
    {
        _watcher = watcher;
        _store = store;
        _time = time;
        Seen = since;
    }

    /// <summary>The newest revision that was given; at first, what the watcher said to have seen.</summary>
    public long Seen { get; private set; }

    /// <summary>
    /// The next changes, in revision order: first the newest state of all that changed since the watcher last looked, then
    /// each change as it comes. A watcher that is slow gets the newest state of each message and misses the ones between;
    /// it never misses the newest. While the database is away nothing comes; it comes afterwards.
    /// </summary>
    /// <param name="wait">How long to wait for one.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <returns>Empty when nothing changed for <paramref name="wait"/>.</returns>
    public async Task<IReadOnlyList<MessageChange>> NextAsync(TimeSpan wait, CancellationToken cancellationToken)
    {
        var started = _time.GetTimestamp();
        while (true)
        {
            var left = Left(wait, started);
            var wasBehind = _isBehind;
            var changes = wasBehind ? await CatchUpAsync(left, cancellationToken) : await TakeAsync(left, cancellationToken);

            // What was written while catching up comes a second time, from the feed.
            var unseen = changes.Where(change => change.Message.Revision > Seen).OrderBy(change => change.Message.Revision).ToList();
            if (unseen.Count > 0)
            {
                Seen = unseen[^1].Message.Revision;
                return unseen;
            }

            if (left == TimeSpan.Zero || (changes.Count == 0 && !wasBehind && !_isBehind))
                return [];
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _watcher.Dispose();

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
            var changes = await _store.ChangesSinceAsync(Seen, _watcher.ConversationId, MessageFeed.PageSize, cancellationToken);
            _isBehind = changes.Count == MessageFeed.PageSize;
            return changes;
        }
        catch (StoreUnavailableException)
        {
            // The feed's own reader has said so in the log.
            await Task.Delay(wait < MessageFeed.PollInterval ? wait : MessageFeed.PollInterval, _time, cancellationToken);
            return [];
        }
    }
}
