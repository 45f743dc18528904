using Hangfire;
using Hangfire.InMemory;

namespace ImageQueue.Core.Webhooks;

/// <summary>
/// Up to where row changes have become deliveries. Where Hangfire's jobs are lost with the process, also up to where each receiver has
/// its events: the next process finds those of unfinished jobs again.
/// </summary>
internal sealed class WebhookPosition(JobStorage storage)
{
    private readonly bool _areJobsLost = storage is InMemoryStorage;
    private readonly Lock _lock = new();
    private readonly Dictionary<string, SortedDictionary<long, int>> _open = new(StringComparer.Ordinal);
    private Dictionary<string, long> _behind = new(StringComparer.Ordinal);
    private long _read;

    /// <summary>Up to where changes were read for all receivers.</summary>
    internal long Read
    {
        get
        {
            lock (_lock)
                return _behind.Count == 0 ? _read : Math.Min(_read, _behind.Values.Min());
        }
    }

    /// <summary>Continues where an earlier process was.</summary>
    /// <param name="note">Its note; null when there was none.</param>
    /// <param name="latest">Where to begin without a note: earlier changes are no news.</param>
    internal void Begin(string? note, long latest)
    {
        var stored = note is null ? new Stored(latest, []) : JsonSerializer.Deserialize<Stored>(note) ?? new Stored(latest, []);
        lock (_lock)
        {
            _read = stored.Read;
            _behind = new(stored.Behind ?? [], StringComparer.Ordinal);
            _open.Clear();
        }
    }

    /// <summary>Whether the receiver may not have the event of that revision yet.</summary>
    internal bool Misses(string receiver, long revision)
    {
        lock (_lock)
            return revision > (_behind.TryGetValue(receiver, out var position) ? Math.Min(position, _read) : _read);
    }

    /// <summary>A delivery is enqueued.</summary>
    internal void Open(string receiver, long revision)
    {
        if (!_areJobsLost)
            return;
        lock (_lock)
        {
            if (!_open.TryGetValue(receiver, out var open))
                _open[receiver] = open = [];
            open[revision] = open.GetValueOrDefault(revision) + 1;
        }
    }

    /// <summary>A delivery has ended.</summary>
    internal void Close(string receiver, long revision)
    {
        lock (_lock)
        {
            if (!_open.TryGetValue(receiver, out var open) || !open.TryGetValue(revision, out var count))
                return;
            if (count > 1)
                open[revision] = count - 1;
            else
                open.Remove(revision);
            if (open.Count == 0)
                _open.Remove(receiver);
        }
    }

    /// <summary>All changes up to there have become deliveries.</summary>
    internal void Advance(long revision)
    {
        lock (_lock)
        {
            foreach (var (receiver, position) in _behind)
            {
                if (revision >= _read)
                    _behind.Remove(receiver); // Allowed while enumerating.
                else
                    _behind[receiver] = Math.Max(position, revision);
            }

            _read = Math.Max(_read, revision);
        }
    }

    /// <summary>Where the next process continues.</summary>
    internal string ToNote()
    {
        lock (_lock)
        {
            var behind = new Dictionary<string, long>(_behind, StringComparer.Ordinal);
            foreach (var (receiver, open) in _open)
                behind[receiver] = Math.Min(open.Keys.First() - 1, behind.GetValueOrDefault(receiver, long.MaxValue));
            return JsonSerializer.Serialize(new Stored(_read, behind.Count == 0 ? null : behind));
        }
    }

    private sealed record Stored(long Read, Dictionary<string, long>? Behind);
}
