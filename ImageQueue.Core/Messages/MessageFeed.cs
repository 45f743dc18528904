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

    private const int PageSize = 500;

    private IMessageStore Store => store;

    private readonly Lock _lock = new();
    private readonly Dictionary<string, ImmutableArray<Watcher>> _watchers = new(StringComparer.Ordinal);
    private readonly MessageSignal _watched = new();
    private long? _read;

    /// <summary>Begins to watch a conversation: when this returns, no later change will be missed. Dispose the result to end it.</summary>
    /// <param name="conversationId">The conversation.</param>
    /// <param name="sinceRevision">What the watcher has seen already; null: only what comes from now on.</param>
    /// <param name="cancellationToken">Gives up.</param>
    public async Task<FeedSubscription> WatchAsync(string conversationId, long? sinceRevision, CancellationToken cancellationToken)
    {
        // Registered before the baseline is read: what is written meanwhile is in the replay, or in the watcher, or in both.
        var watcher = Register(conversationId);
        try
        {
            return new FeedSubscription(watcher, sinceRevision ?? await store.LatestRevisionAsync(cancellationToken));
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
                await ReadAsync(stoppingToken);
            }
            catch (Exception e) when (e is not OperationCanceledException || !stoppingToken.IsCancellationRequested)
            {
                logger.LogWarning(e, "Changes could not be read; watchers get them as soon as the database answers again.");
                await Task.Delay(PollInterval, time, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private async Task ReadAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            var firstWatcher = _watched.Next;
            if (!IsWatched())
            {
                _read = null; // A watcher that comes later reads for itself what it missed.
                await firstWatcher.WaitAsync(cancellationToken);
                continue;
            }

            var written = signal.Next;
            _read ??= await store.LatestRevisionAsync(cancellationToken);
            while (await store.ChangesSinceAsync(_read.Value, null, PageSize, cancellationToken) is { Count: > 0 } changes)
            {
                foreach (var change in changes)
                    Dispatch(change);
                _read = changes[^1].Message.Revision;
            }

            await written.WaitAsync(PollInterval, time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            cancellationToken.ThrowIfCancellationRequested();
        }
    }

    private bool IsWatched()
    {
        lock (_lock)
            return _watchers.Count > 0;
    }

    private void Dispatch(MessageChange change)
    {
        foreach (var watcher in WatchersOf(change.Message.ConversationId))
            watcher.Offer(change);
    }

    private ImmutableArray<Watcher> WatchersOf(string conversationId)
    {
        lock (_lock)
            return _watchers.GetValueOrDefault(conversationId, []);
    }

    private Watcher Register(string conversationId)
    {
        var watcher = new Watcher(this, conversationId);
        lock (_lock)
            _watchers[conversationId] = WatchersOf(conversationId).Add(watcher);
        _watched.Raise();
        return watcher;
    }

    private void Unregister(Watcher watcher, string conversationId)
    {
        lock (_lock)
        {
            var left = WatchersOf(conversationId).Remove(watcher);
            if (left.IsEmpty)
                _watchers.Remove(conversationId);
            else
                _watchers[conversationId] = left;
        }
    }

    /// <summary>What one watcher has not taken yet: the newest state of each message, so its size is bounded by the conversation.</summary>
    internal sealed class Watcher(MessageFeed feed, string conversationId) : IDisposable
    {
        private readonly Lock _lock = new();
        private readonly SemaphoreSlim _offered = new(0, 1);
        private Dictionary<long, MessageChange> _pending = [];

        public async Task<IReadOnlyCollection<MessageChange>> ReplayAsync(long since, CancellationToken cancellationToken) =>
            await feed.Store.ChangesSinceAsync(since, conversationId, PageSize, cancellationToken);

        public void Offer(MessageChange change)
        {
            lock (_lock)
            {
                _pending[change.Message.Id] = change;
                if (_offered.CurrentCount == 0)
                    _offered.Release();
            }
        }

        public async Task<IReadOnlyCollection<MessageChange>> TakeAsync(TimeSpan wait, CancellationToken cancellationToken)
        {
            while (await _offered.WaitAsync(wait, cancellationToken))
            {
                lock (_lock)
                {
                    // What was offered between the last wait and its taking is gone already, and its signal is still here.
                    if (_pending.Count == 0)
                        continue;
                    var taken = _pending;
                    _pending = [];
                    return taken.Values;
                }
            }

            return [];
        }

        public void Dispose() => feed.Unregister(this, conversationId);
    }
}
