using System.Collections.Immutable;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Telemetry;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Messages;

/// <summary>
/// Turns row changes into events for whoever watches. One reader serves all watchers of this process: woken at once by this
/// process's writes; for those of others it looks at a mark that costs next to nothing, often, and reads when that has changed. It
/// reads which rows changed, and then those that somebody watches; no reading while nobody watches.
/// </summary>
public sealed class MessageFeed(
    IFeedStore store, AsyncSignal signal, DatabaseReadiness readiness, TimeProvider time, ILogger<MessageFeed> logger, QueueMetrics? metrics = null)
    : PeriodicService(readiness, time, logger)
{
    /// <summary>Between two looks whether another process has written.</summary>
    internal static readonly TimeSpan PollInterval = TimeSpan.FromMilliseconds(66);

    /// <summary>
    /// So many looks that show nothing, and it is read all the same: a mark may miss what an open transaction holds back.
    /// </summary>
    internal const int LooksBeforeReading = 15;

    /// <summary>How soon to ask again a database that does not answer.</summary>
    internal static readonly TimeSpan AwayInterval = TimeSpan.FromMilliseconds(500);

    /// <summary>How soon to look again for what a transaction that is about to end holds back.</summary>
    internal static readonly TimeSpan HeldBackInterval = TimeSpan.FromMilliseconds(50);

    /// <summary>How long the same transaction may hold back others' changes before they are told ahead of it.</summary>
    internal static readonly TimeSpan HeldBackPatience = TimeSpan.FromSeconds(2);

    /// <summary>Rows that are read at once, and the most that is kept for one watcher.</summary>
    internal const int PageSize = 500;

    /// <summary>Most rows that are looked at ahead of a transaction; with more than these, the newest.</summary>
    private const int MaxAhead = 5000;

    /// <summary>Characters that are kept for one watcher.</summary>
    private const int MaxPendingCharacters = 64 * 1024;

    /// <summary>Pages of rows that are read for watchers that are behind at the same time.</summary>
    internal const int MaxCatchUps = 4;

    private readonly SemaphoreSlim _catchUps = new(MaxCatchUps, MaxCatchUps);
    private readonly Lock _lock = new();
    private readonly Dictionary<string, ImmutableArray<Watcher>> _watchers = new(StringComparer.Ordinal);
    private readonly AsyncSignal _watched = new();
    private readonly OpenTransactionGap _held = new();
    private ImmutableArray<Watcher> _watchersOfAll = [];
    private long? _read;

    /// <summary>How many watch.</summary>
    internal int WatcherCount
    {
        get
        {
            lock (_lock)
                return _watchers.Values.Sum(watchers => watchers.Length) + _watchersOfAll.Length;
        }
    }

    /// <summary>Whether the reader has noticed that nobody watches, and reads nothing.</summary>
    internal bool IsIdle
    {
        get
        {
            lock (_lock)
                return _read is null;
        }
    }

    /// <summary>Begins to watch a conversation: when this returns, no later change will be missed. Dispose the result to end it.</summary>
    /// <param name="conversationId">The conversation; null: all of them.</param>
    /// <param name="sinceRevision">What the watcher has seen already; null: only what comes from now on.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="StoreUnavailableException">The database does not answer.</exception>
    public async Task<FeedSubscription> WatchAsync(string? conversationId, long? sinceRevision, CancellationToken cancellationToken)
    {
        // Registered before the newest revision is read, and the reader begins no later than there: what is written from here
        // on is handed over, or found by the subscription's own first reading, or both.
        var watcher = Register(conversationId);
        try
        {
            var latest = await store.LatestRevisionAsync(cancellationToken);
            BeginReading(latest);
            // A revision that is yet to come was seen on another database, or ahead of the order: waiting for it would be silence.
            return new FeedSubscription(watcher, store, _catchUps, Time, Math.Min(InOrder(sinceRevision) ?? latest, latest));
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

    /// <summary>How soon to ask again a database that does not answer.</summary>
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

        // Both before the reading, so that no write falls between.
        var written = signal.Next;
        var mark = await store.ChangeMarkAsync(cancellationToken);
        await ReadAsync(position, cancellationToken);
        // What is held back for a moment is this process's own as a rule; a transaction that stays is looked past.
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
                // A row that was written again meanwhile is further on in the order by now, and will be come to there.
                foreach (var change in await ReadWatchedAsync(changes.Rows, cancellationToken))
                {
                    if (change.Message.Revision <= position)
                        Dispatch(change);
                }

                Advance(position);
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
    /// Revisions are given when a row is written and seen when its transaction ends. Below the lowest of all open transactions the
    /// order is final; one that stays open, of anybody in the database, would stop every watcher. So what is written beyond it is
    /// told ahead, marked with where the order stands: the order itself brings it again when that transaction has ended, with
    /// whatever that has written in between.
    /// </summary>
    private async Task LookAheadAsync(long? heldBackAt, CancellationToken cancellationToken)
    {
        var wasLong = _held.IsLong;
        lock (_lock)
            _held.Note(heldBackAt, Time);
        if (_held.At is not { } from || !_held.IsLong)
        {
            if (wasLong)
                Logger.LogInformation("Changes are read in order again.");
            return;
        }

        if (!wasLong)
        {
            Logger.LogWarning(
                "A transaction on the database has been open for more than {Seconds} s (revision {Revision}): changes after it are told ahead of those that it may bring. DBCC OPENTRAN shows whose it is.",
                HeldBackPatience.TotalSeconds,
                from);
        }

        var ahead = (await store.ListAheadAsync(from, MaxAhead, cancellationToken)).Where(row => !_held.Knows(row));
        foreach (var page in ahead.Chunk(PageSize))
        {
            foreach (var change in await ReadWatchedAsync(page, cancellationToken))
                DispatchAhead(change with { ResumeFrom = Math.Min(from - 1, change.Message.Revision) });
        }
    }

    /// <summary>How far the reader is; null when there is nothing to read for.</summary>
    private long? Position()
    {
        lock (_lock)
        {
            if (_watchers.Count == 0 && _watchersOfAll.IsEmpty)
            {
                _read = null; // Whoever comes next says where to begin.
                _held.Note(null, Time);
            }

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

    private long? InOrder(long? revision)
    {
        lock (_lock)
            return revision is { } seen ? _held.InOrder(seen) : null;
    }

    private void Dispatch(MessageChange change)
    {
        metrics?.RecordFeedLag(Time.GetUtcNow() - change.Message.UpdatedAt);
        foreach (var watcher in WatchersOf(change.Message.ConversationId))
            watcher.Offer(change);
    }

    private void DispatchAhead(MessageChange change)
    {
        lock (_lock)
            _held.Add(change);
        Dispatch(change);
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
    /// What one watcher has not taken yet: the newest state of each message, up to <see cref="PageSize"/> of them. Who falls
    /// further behind reads the rest for itself, so a watcher that takes nothing costs no more than that.
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

        /// <returns>What was offered, in no order; <c>IsBehind</c> when it was too much to be kept.</returns>
        public async Task<(
            IReadOnlyCollection<MessageChange> Changes, bool IsBehind)> TakeAsync(TimeSpan wait, CancellationToken cancellationToken)
        {
            if (!await _offered.WaitAsync(wait, cancellationToken))
                return ([], false);
            lock (_lock)
            {
                // What was offered since the wait ended is taken too, and its signal with it: it would wake for nothing.
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
