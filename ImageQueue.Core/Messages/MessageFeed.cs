using System.Collections.Immutable;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Telemetry;

namespace ImageQueue.Core.Messages;

/// <summary>
/// Turns row changes into events for watchers. One reader serves all watchers of this process: this process's writes wake it at once;
/// for other processes' writes it polls a cheap mark and reads when that has changed. It reads which rows changed, then the watched ones;
/// without watchers it reads nothing.
/// </summary>
public sealed class MessageFeed(
    IFeedStore store, AsyncSignal signal, DatabaseReadiness readiness, TimeProvider time, ILogger<MessageFeed> logger,
    OpenTransactionReport report, QueueMetrics? metrics = null)
    : PeriodicService(readiness, time, logger)
{
    /// <summary>Between two polls of the mark.</summary>
    internal static readonly TimeSpan PollInterval = TimeSpan.FromMilliseconds(66);

    /// <summary>Polls without a change after which it reads all the same: the mark may miss rows behind an open transaction.</summary>
    internal const int LooksBeforeReading = 15;

    /// <summary>Retry interval while the database does not answer.</summary>
    internal static readonly TimeSpan AwayInterval = TimeSpan.FromMilliseconds(500);

    /// <summary>Poll interval while a short open transaction holds back rows.</summary>
    internal static readonly TimeSpan HeldBackInterval = TimeSpan.FromMilliseconds(50);

    /// <summary>Rows of one read, and most messages that are kept for one watcher.</summary>
    internal const int PageSize = 500;

    /// <summary>Most rows that are read past an open transaction, the newest of them.</summary>
    private const int MaxAhead = 5000;

    /// <summary>Characters that are kept for one watcher.</summary>
    private const int MaxPendingCharacters = 64 * 1024;

    /// <summary>
    /// Pages of rows that are read for watchers that are behind at the same time: half of the processors, at most four, so that replay
    /// leaves room for everything else.
    /// </summary>
    internal static readonly int MaxCatchUps = Math.Clamp(Environment.ProcessorCount / 2, 1, 4);

    private readonly SemaphoreSlim _catchUps = new(MaxCatchUps, MaxCatchUps);
    private readonly Lock _lock = new();
    private readonly Dictionary<string, ImmutableArray<Watcher>> _watchers = new(StringComparer.Ordinal);
    private readonly AsyncSignal _watched = new();
    private readonly OpenTransactionGap _held = new();
    private ImmutableArray<Watcher> _watchersOfAll = [];
    private long? _read;

    internal int WatcherCount
    {
        get
        {
            lock (_lock)
                return _watchers.Values.Sum(watchers => watchers.Length) + _watchersOfAll.Length;
        }
    }

    /// <summary>Whether the reader reads nothing, for want of watchers.</summary>
    internal bool IsIdle
    {
        get
        {
            lock (_lock)
                return _read is null;
        }
    }

    /// <summary>Watches a conversation: no change after this returns is missed. Dispose the result to end it.</summary>
    /// <param name="conversationId">The conversation; null: all of them.</param>
    /// <param name="sinceRevision">The last revision that the watcher has; null: only later changes.</param>
    /// <exception cref="StoreUnavailableException">The database does not answer.</exception>
    public async Task<FeedSubscription> WatchAsync(string? conversationId, long? sinceRevision, CancellationToken cancellationToken)
    {
        // Registered before the newest revision is read, and the reader starts there at the latest: later writes are dispatched, or found
        // by the subscription's own first read, or both.
        var watcher = Register(conversationId is null ? null : StoredName.Normalize(conversationId));
        try
        {
            var latest = await store.LatestRevisionAsync(cancellationToken);
            long since;
            lock (_lock)
            {
                _read ??= latest;
                since = sinceRevision is { } seen ? _held.InOrder(seen) : latest;
            }

            _watched.Raise();
            // A revision that is yet to come was seen on another database, or ahead of the order: waiting for it would be silence.
            return new FeedSubscription(watcher, store, _catchUps, Time, Math.Min(since, latest));
        }
        catch
        {
            watcher.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    protected override string Activity => "Reading row changes";

    /// <summary>None: a pass waits for changes itself.</summary>
    protected override TimeSpan Interval => TimeSpan.Zero;

    protected override TimeSpan MaxRetryDelay => AwayInterval;

    /// <inheritdoc/>
    protected override async Task RunPassAsync(CancellationToken cancellationToken)
    {
        var firstWatcher = _watched.Next;
        if (Position() is not { } position)
        {
            await firstWatcher.WaitAsync(cancellationToken);
            return;
        }

        // Both before the read, so that no write falls between.
        var written = signal.Next;
        var mark = await store.ChangeMarkAsync(cancellationToken);
        await ReadAsync(position, cancellationToken);
        // A short gap is usually a transaction of this process; a long one is read past.
        if (_held.At is not null && !_held.IsLong)
            await WaitAsync(written, HeldBackInterval, cancellationToken);
        else
            await WaitForNewsAsync(written, mark, cancellationToken);
    }

    private async Task WaitForNewsAsync(Task written, ChangeMark mark, CancellationToken cancellationToken)
    {
        for (var looks = 0; looks < LooksBeforeReading; looks++)
        {
            await WaitAsync(written, PollInterval, cancellationToken);
            if (written.IsCompleted || await store.ChangeMarkAsync(cancellationToken) != mark)
                return;
        }
    }

    private async Task WaitAsync(Task written, TimeSpan atMost, CancellationToken cancellationToken)
    {
        await written.WaitAsync(atMost, Time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        cancellationToken.ThrowIfCancellationRequested();
    }

    private async Task ReadAsync(long position, CancellationToken cancellationToken)
    {
        ChangedRows changes;
        do
        {
            changes = await store.ListChangesAsync(position, PageSize, cancellationToken);
            if (changes.Rows.Count > 0)
            {
                position = changes.Rows[^1].Revision;
                // A row written again meanwhile has a later revision by now and is dispatched there.
                foreach (var change in await ReadWatchedAsync(changes.Rows, cancellationToken))
                {
                    if (change.Message.Revision <= position)
                        Dispatch(change);
                }

                lock (_lock)
                    _read = position;
            }
        }
        while (changes.Rows.Count == PageSize);
        await LookAheadAsync(changes.HeldBackAt, cancellationToken);
    }

    private async Task<IReadOnlyList<MessageChange>> ReadWatchedAsync(IEnumerable<ChangedRow> rows, CancellationToken cancellationToken)
    {
        var ids = rows.Where(row => !WatchersOf(row.ConversationId).IsEmpty).Select(row => row.Id).ToList();
        return ids.Count == 0 ? [] : await store.ReadChangesAsync(ids, cancellationToken);
    }

    /// <summary>
    /// Revisions are assigned when a row is written and visible when its transaction ends. Below the lowest of all open transactions the
    /// order is final; one that stays open, anywhere in the database, would stop every watcher. So later changes are delivered out of
    /// order, marked with the revision before the gap, and once more in order when the transaction has ended, with its own writes.
    /// </summary>
    private async Task LookAheadAsync(long? heldBackAt, CancellationToken cancellationToken)
    {
        lock (_lock)
            _held.Note(heldBackAt, Time);
        report.Note(this, _held.IsLong ? _held.At : null);
        if (_held is not { IsLong: true, At: { } from })
            return;
        var ahead = (await store.ListAheadAsync(from, MaxAhead, cancellationToken)).Where(row => !_held.Knows(row));
        foreach (var page in ahead.Chunk(PageSize))
        {
            foreach (var read in await ReadWatchedAsync(page, cancellationToken))
            {
                var change = read with { ResumeFrom = Math.Min(from - 1, read.Message.Revision) };
                lock (_lock)
                    _held.Add(change);
                Dispatch(change);
            }
        }
    }

    /// <summary>The reader's position; null without watchers.</summary>
    private long? Position()
    {
        lock (_lock)
        {
            if (_watchers.Count == 0 && _watchersOfAll.IsEmpty)
            {
                _read = null; // The next watcher sets it.
                _held.Note(null, Time);
                report.Note(this, null);
            }

            return _read;
        }
    }

    private void Dispatch(MessageChange change)
    {
        metrics?.RecordFeedLag(Time.GetUtcNow() - change.Message.UpdatedAt);
        foreach (var watcher in WatchersOf(change.Message.ConversationId))
            watcher.Offer(change);
    }

    private ImmutableArray<Watcher> WatchersOf(string conversationId)
    {
        lock (_lock)
        {
            var watchers = _watchers.GetValueOrDefault(conversationId, []);
            return _watchersOfAll.IsEmpty ? watchers : watchers.AddRange(_watchersOfAll);
        }
    }

    private Watcher Register(string? conversationId)
    {
        var watcher = new Watcher(this, conversationId);
        lock (_lock)
        {
            if (conversationId is null)
                _watchersOfAll = _watchersOfAll.Add(watcher);
            else
                _watchers[conversationId] = _watchers.GetValueOrDefault(conversationId, []).Add(watcher);
            foreach (var change in _held.Ahead.Where(change => conversationId is null || change.Message.ConversationId == conversationId))
                watcher.Offer(change);
        }

        return watcher;
    }

    private void Unregister(Watcher watcher)
    {
        lock (_lock)
        {
            _watchersOfAll = _watchersOfAll.Remove(watcher);
            if (watcher.ConversationId is not { } conversation || !_watchers.TryGetValue(conversation, out var watchers))
                return;
            var left = watchers.Remove(watcher);
            if (left.IsEmpty)
                _watchers.Remove(conversation);
            else
                _watchers[conversation] = left;
        }
    }

    /// <summary>
    /// The changes that one watcher has not taken: the newest state of each message, up to <see cref="PageSize"/> of them. A watcher
    /// further behind reads the rest itself, so one that takes nothing costs no more.
    /// </summary>
    internal sealed class Watcher(MessageFeed feed, string? conversationId) : IDisposable
    {
        private readonly Lock _lock = new();
        private readonly SemaphoreSlim _offered = new(0, 1);
        private Dictionary<long, MessageChange> _pending = [];
        private bool _isBehind;
        private int _size;

        public string? ConversationId => conversationId;

        public void Offer(MessageChange change)
        {
            lock (_lock)
            {
                if (!_isBehind)
                {
                    _size += change.Size - (_pending.TryGetValue(change.Message.Id, out var earlier) ? earlier.Size : 0);
                    _pending[change.Message.Id] = change;
                }

                if (_pending.Count > PageSize || (_size > MaxPendingCharacters && _pending.Count > 1))
                    Clear(isBehind: true);
                if (_offered.CurrentCount == 0)
                    _offered.Release();
            }
        }

        /// <returns>The changes, in no order; <c>IsBehind</c> when there were too many to keep.</returns>
        public async Task<(
            IReadOnlyCollection<MessageChange> Changes, bool IsBehind)> TakeAsync(TimeSpan wait, CancellationToken cancellationToken)
        {
            if (!await _offered.WaitAsync(wait, cancellationToken))
                return ([], false);
            lock (_lock)
            {
                // Takes the changes offered since the wait ended, and their signal, which would wake the watcher for nothing.
                _offered.Wait(0, CancellationToken.None);
                var taken = (_pending.Values, _isBehind);
                Clear(isBehind: false);
                return taken;
            }
        }

        /// <summary>Holds nothing until the next <see cref="TakeAsync"/>.</summary>
        public void Drop()
        {
            lock (_lock)
                Clear(isBehind: true);
        }

        public void Dispose() => feed.Unregister(this);

        private void Clear(bool isBehind) => (_pending, _size, _isBehind) = ([], 0, isBehind);
    }
}
