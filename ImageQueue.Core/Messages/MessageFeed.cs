using System.Collections.Immutable;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Messages;

/// <summary>
/// Turns row changes into events for whoever watches. One reader serves all watchers of this process: woken at once by this
/// process's writes, by a short poll for those of others. No reading while nobody watches.
/// </summary>
public sealed class MessageFeed(IMessageStore store, MessageSignal signal, TimeProvider time, ILogger<MessageFeed> logger) : BackgroundService
{
    /// <summary>How long a write by another process may go unseen.</summary>
    internal static readonly TimeSpan PollInterval = TimeSpan.FromMilliseconds(500);

    /// <summary>Rows that are read at once, and the most that is kept for one watcher.</summary>
    internal const int PageSize = 500;

    /// <summary>Stands for all conversations: none has this id.</summary>
    private const string Everything = "";

    private readonly Lock _lock = new();
    private readonly Dictionary<string, ImmutableArray<Watcher>> _watchers = new(StringComparer.Ordinal);
    private readonly MessageSignal _watched = new();
    private long? _read;
    private bool _isAway;

    /// <summary>How many watch.</summary>
    internal int WatcherCount
    {
        get
        {
            lock (_lock)
                return _watchers.Values.Sum(watchers => watchers.Length);
        }
    }

    /// <summary>Begins to watch a conversation: when this returns, no later change will be missed. Dispose the result to end it.</summary>
    /// <param name="conversationId">The conversation, which need not have come to exist yet; null: all of them.</param>
    /// <param name="sinceRevision">What the watcher has seen already; null: only what comes from now on.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="StoreUnavailableException">The database does not answer.</exception>
    public async Task<FeedSubscription> WatchAsync(string? conversationId, long? sinceRevision, CancellationToken cancellationToken)
    {
        // Registered before the newest revision is read, and the reader begins no later than there: what is written from here
        // on is handed over, or found by the subscription's own first reading, or both.
        var watcher = Register(conversationId ?? Everything);
        try
        {
            var latest = await store.LatestRevisionAsync(cancellationToken);
            BeginReading(latest);
            // A revision that is yet to come was seen on another database: waiting for it would be silence.
            return new FeedSubscription(watcher, store, time, Math.Min(sinceRevision ?? latest, latest));
        }
        catch
        {
            watcher.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await FollowAsync(stoppingToken);
            }
            catch (Exception e) when (e is not OperationCanceledException || !stoppingToken.IsCancellationRequested)
            {
                // Said once: a database can be away for hours.
                logger.Log(
                    _isAway ? LogLevel.Debug : LogLevel.Warning, e, "Changes could not be read; watchers get them as soon as the database answers again.");
                _isAway = true;
                await Task.Delay(PollInterval, time, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private async Task FollowAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            var firstWatcher = _watched.Next;
            if (Position() is not { } position)
            {
                await firstWatcher.WaitAsync(cancellationToken);
                continue;
            }

            var written = signal.Next;
            await ReadAsync(position, cancellationToken);
            await written.WaitAsync(PollInterval, time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            cancellationToken.ThrowIfCancellationRequested();
        }
    }

    private async Task ReadAsync(long position, CancellationToken cancellationToken)
    {
        while (true)
        {
            var changes = await store.ChangesSinceAsync(position, null, PageSize, cancellationToken);
            foreach (var change in changes)
                Dispatch(change);
            if (changes.Count > 0)
                Advance(position = changes[^1].Message.Revision);
            if (_isAway)
                logger.LogInformation("Changes are read again.");
            _isAway = false;
            if (changes.Count < PageSize)
                return;
        }
    }

    /// <summary>How far the reader is; null when there is nothing to read for.</summary>
    private long? Position()
    {
        lock (_lock)
        {
            if (_watchers.Count == 0)
                _read = null; // Whoever comes next says where to begin.
            return _read;
        }
    }

    private void BeginReading(long revision)
    {
        lock (_lock)
            _read ??= revision;
        _watched.Raise();
    }

    private void Advance(long revision)
    {
        lock (_lock)
            _read = revision;
    }

    private void Dispatch(MessageChange change)
    {
        foreach (var watcher in WatchersOf(change.Message.ConversationId))
            watcher.Offer(change);
        foreach (var watcher in WatchersOf(Everything))
            watcher.Offer(change);
    }

    private ImmutableArray<Watcher> WatchersOf(string conversationId)
    {
        lock (_lock)
            return _watchers.GetValueOrDefault(conversationId, []);
    }

    private Watcher Register(string key)
    {
        var watcher = new Watcher(this, key);
        lock (_lock)
            _watchers[key] = WatchersOf(key).Add(watcher);
        return watcher;
    }

    private void Unregister(Watcher watcher)
    {
        lock (_lock)
        {
            var left = WatchersOf(watcher.Key).Remove(watcher);
            if (left.IsEmpty)
                _watchers.Remove(watcher.Key);
            else
                _watchers[watcher.Key] = left;
        }
    }

    /// <summary>
    /// What one watcher has not taken yet: the newest state of each message, up to <see cref="PageSize"/> of them. Who falls
    /// further behind reads the rest for itself, so a watcher that takes nothing costs no more than that.
    /// </summary>
    internal sealed class Watcher(MessageFeed feed, string key) : IDisposable
    {
        private readonly Lock _lock = new();
        private readonly SemaphoreSlim _offered = new(0, 1);
        private Dictionary<long, MessageChange> _pending = [];
        private bool _isBehind;

        /// <summary>Under what it is registered.</summary>
        public string Key => key;

        /// <summary>What it watches; null: everything.</summary>
        public string? ConversationId => key.Length == 0 ? null : key;

        public void Offer(MessageChange change)
        {
            lock (_lock)
            {
                if (!_isBehind)
                    _pending[change.Message.Id] = change;
                if (_pending.Count > PageSize)
                    (_pending, _isBehind) = ([], true);
                if (_offered.CurrentCount == 0)
                    _offered.Release();
            }
        }

        /// <returns>What was offered, in no order; <c>IsBehind</c> when it was too much to be kept.</returns>
        public async Task<(IReadOnlyCollection<MessageChange> Changes, bool IsBehind)> TakeAsync(TimeSpan wait, CancellationToken cancellationToken)
        {
            if (!await _offered.WaitAsync(wait, cancellationToken))
                return ([], false);
            lock (_lock)
            {
                // What was offered since the wait ended is taken too, and its signal with it: it would wake for nothing.
                _offered.Wait(0, CancellationToken.None);
                var taken = (_pending.Values, _isBehind);
                (_pending, _isBehind) = ([], false);
                return taken;
            }
        }

        public void Dispose() => feed.Unregister(this);
    }
}
