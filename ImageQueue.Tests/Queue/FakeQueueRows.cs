using System.Globalization;
using Hangfire.States;
using Hangfire.Storage;
using ImageQueue.Core.Queue;

namespace ImageQueue.Tests.Queue;

/// <summary>
/// A job queue as Hangfire keeps it in a database, in memory: rows by ascending number, a taken one marked, ghosts of jobs that
/// will not run left where they are.
/// </summary>
internal sealed class FakeQueueRows : IQueueRows
{
    private readonly Lock _lock = new();
    private readonly SortedDictionary<long, (string Job, bool IsTaken)> _rows = [];
    private readonly Dictionary<string, string> _states = new(StringComparer.Ordinal);
    private long _lastRow;
    private long _frontRow;
    private long _lastJob;

    /// <summary>How many times rows were read, and how many of them.</summary>
    public int Reads { get; private set; }

    public int RowsRead { get; private set; }

    public Exception? Failure { get; set; }

    /// <summary>Awaited by each read before it looks.</summary>
    public Task Gate { get; set; } = Task.CompletedTask;

    public IReadOnlyDictionary<string, string> States => _states;

    /// <summary>Adds a job and its row.</summary>
    /// <param name="row">The row's number, where it is not the next: written earlier, committed now.</param>
    public string Add(long? row = null)
    {
        lock (_lock)
        {
            var job = (++_lastJob).ToString(CultureInfo.InvariantCulture);
            _states[job] = EnqueuedState.StateName;
            _rows.Add(row ?? ++_lastRow, (job, false));
            _lastRow = Math.Max(_lastRow, row ?? 0);
            return job;
        }
    }

    /// <summary>Leaves a number out, for a row that is not committed yet.</summary>
    public long Reserve() => Interlocked.Increment(ref _lastRow);

    public void SetState(string job, string state)
    {
        lock (_lock)
            _states[job] = state;
    }

    /// <summary>An operator puts a job back into the queue: another row.</summary>
    public void Requeue(string job)
    {
        lock (_lock)
        {
            _states[job] = EnqueuedState.StateName;
            _rows.Add(++_lastRow, (job, false));
        }
    }

    /// <summary>Takes the first that will run.</summary>
    public IFetchedJob Fetch()
    {
        lock (_lock)
        {
            foreach (var (row, (job, isTaken)) in _rows.ToList())
            {
                if (isTaken)
                    continue;
                // One that is processing already is a second entry, whose claim is refused.
                if (_states[job] != EnqueuedState.StateName)
                {
                    _rows.Remove(row);
                    continue;
                }

                _rows[row] = (job, true);
                return new Fetched(this, row, job);
            }
        }

        throw new InvalidOperationException("Nothing waits.");
    }

    public async Task<QueuePage> ReadAsync(long after, int count, CancellationToken cancellationToken)
    {
        await Gate;
        lock (_lock)
        {
            Reads++;
            if (Failure is not null)
                throw Failure;
            var rows = _rows.Where(row => row.Key > after && !row.Value.IsTaken && Runs(row.Value.Job)).Take(count)
                .Select(row => (row.Key, JobKey.Parse(row.Value.Job))).ToList();
            RowsRead += rows.Count;
            return rows.Count < count ? new QueuePage(rows, long.MaxValue, IsLast: true) : new QueuePage(rows, rows[^1].Key, IsLast: false);
        }
    }

    public Task<bool> TryMoveToFrontAsync(string hangfireJobId, long place, CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            if (!_rows.TryGetValue(place, out var entry) || entry.IsTaken || entry.Job != hangfireJobId)
                return Task.FromResult(false);
            _rows.Remove(place);
            _rows.Add(--_frontRow, entry);
            return Task.FromResult(true);
        }
    }

    public bool TryGiveBack(string hangfireJobId)
    {
        lock (_lock)
        {
            foreach (var (row, entry) in _rows.Where(row => row.Value.Job == hangfireJobId).ToList())
            {
                _rows[row] = (entry.Job, false);
                return true;
            }
        }

        return false;
    }

    private bool Runs(string job) => _states[job] == EnqueuedState.StateName;

    private sealed class Fetched(FakeQueueRows rows, long row, string job) : IFetchedJob
    {
        public string JobId => job;

        public void RemoveFromQueue()
        {
            lock (rows._lock)
                rows._rows.Remove(row);
        }

        public void Requeue()
        {
            lock (rows._lock)
                rows._rows[row] = (job, false);
        }

        public void Dispose()
        {
            // Removed or given back by the test.
        }
    }
}
