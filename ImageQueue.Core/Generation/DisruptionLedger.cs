namespace ImageQueue.Core.Generation;

/// <summary>
/// What this process remembers of disrupted requests beside their rows: verdicts that were still open when the request went on, and
/// what the backends had completed when the request was first charged. A restart forgets it: at most one disruption goes uncharged.
/// </summary>
/// <param name="completedCounts">How many requests each backend has completed.</param>
internal sealed class DisruptionLedger(Func<IReadOnlyDictionary<string, long>> completedCounts)
{
    /// <summary>Entries of requests that ended elsewhere are dropped when there are more than this.</summary>
    private const int MaxEntries = 1000;

    private readonly Dictionary<long, Entry> _entries = [];
    private readonly Lock _lock = new();

    /// <summary>Remembers a verdict for the request's next attempt.</summary>
    public void Add(long messageId, string backend, Exception cause, Task<bool> verdict)
    {
        lock (_lock)
            Of(messageId).Open.Add((backend, cause, verdict));
    }

    /// <summary>A disruption whose canary has found the request at fault since; null when there is none.</summary>
    public AttemptOutcome? TakeDecided(long messageId)
    {
        lock (_lock)
        {
            if (!_entries.TryGetValue(messageId, out var entry))
                return null;
            entry.Open.RemoveAll(one => one.Verdict.IsCompleted && !IsRequestAtFault(one.Verdict));
            var decided = entry.Open.Find(one => one.Verdict.IsCompleted);
            entry.Open.Remove(decided);
            return decided.Cause is null
                ? null
                : new AttemptOutcome(AttemptResult.Disrupted, decided.Cause) { EarlierBackend = decided.Backend };
        }
    }

    /// <summary>The request's disruptions that are not charged yet, and may be.</summary>
    public int CountOpen(long messageId)
    {
        lock (_lock)
        {
            var open = _entries.GetValueOrDefault(messageId)?.Open ?? [];
            return open.Count(one => !one.Verdict.IsCompleted || IsRequestAtFault(one.Verdict));
        }
    }

    /// <summary>
    /// Whether the backend, or the one of the first charge, has completed requests since then. The first call begins to count.
    /// </summary>
    public bool HaveOthersCompleted(long messageId, string backend)
    {
        var counts = completedCounts();
        lock (_lock)
        {
            var entry = Of(messageId);
            if (entry.First is not { } first)
            {
                entry.First = (backend, counts);
                return false;
            }

            return HasGrown(backend) || HasGrown(first.Backend);

            bool HasGrown(string name) => counts.GetValueOrDefault(name) > first.Counts.GetValueOrDefault(name);
        }
    }

    /// <summary>The request is over.</summary>
    public void Forget(long messageId)
    {
        lock (_lock)
            _entries.Remove(messageId);
    }

    private static bool IsRequestAtFault(Task<bool> verdict) => verdict is { IsCompletedSuccessfully: true, Result: true };

    private Entry Of(long messageId)
    {
        if (_entries.TryGetValue(messageId, out var entry))
            return entry;
        if (_entries.Count >= MaxEntries)
            _entries.Remove(_entries.Keys.Min()); // The oldest request.
        return _entries[messageId] = new Entry();
    }

    private sealed class Entry
    {
        public List<(string Backend, Exception Cause, Task<bool> Verdict)> Open { get; } = [];

        public (string Backend, IReadOnlyDictionary<string, long> Counts)? First { get; set; }
    }
}
