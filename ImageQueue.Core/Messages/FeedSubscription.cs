namespace ImageQueue.Core.Messages;

/// <summary>One watcher of one conversation; see <see cref="MessageFeed.WatchAsync"/>. For one reader at a time.</summary>
public sealed class FeedSubscription : IDisposable
{
    private readonly MessageFeed.Watcher _watcher;
    private long _seen;
    private bool _isReplayed;

    internal FeedSubscription(MessageFeed.Watcher watcher, long since)
    {
        _watcher = watcher;
        _seen = since;
    }

    /// <summary>
    /// The next changes, in revision order: first the newest state of all that changed since the watcher last looked, then
    /// each change as it comes. A watcher that is slow gets the newest state of each message and misses the ones between;
    /// it never misses the newest.
    /// </summary>
    /// <param name="wait">How long to wait for one.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <returns>Empty when nothing changed for <paramref name="wait"/>.</returns>
    public async Task<IReadOnlyList<MessageChange>> NextAsync(TimeSpan wait, CancellationToken cancellationToken)
    {
        while (true)
        {
            var changes = _isReplayed
                ? await _watcher.TakeAsync(wait, cancellationToken)
                : await _watcher.ReplayAsync(_seen, cancellationToken);
            if (changes.Count == 0 && _isReplayed)
                return [];
            _isReplayed |= changes.Count == 0;

            var unseen = changes.Where(change => change.Message.Revision > _seen).OrderBy(change => change.Message.Revision).ToList();
            if (unseen.Count == 0)
                continue;
            _seen = unseen[^1].Message.Revision;
            return unseen;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _watcher.Dispose();
}
