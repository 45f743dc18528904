using Hangfire.States;
using Hangfire.Storage;
using ImageQueue.Core.Queue;

namespace ImageQueue.Tests.Queue;

/// <summary>
/// A job queue as Hangfire keeps it on SQL Server, in memory: rows by queue and rising number, a dequeued one marked, the rows of
/// deleted jobs left where they are.
/// </summary>
internal sealed class FakeQueueRows : IQueueRows
{
    private readonly Lock _lock = new();
    private readonly SortedSet<long> _places = [];
    private readonly Dictionary<long, (string Job, bool IsTaken)> _rows = [];
    private readonly Dictionary<string, string> _states = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string?> _users = new(StringComparer.Ordinal);
    private long _lastNumber;
    private long _lastJob;

    /// <summary>How many times rows were read, and how many of them.</summary>
    public int Reads { get; private set; }

    public int RowsRead { get; private set; }

    /// <summary>Rows that were moved between rounds, by statement.</summary>
    public List<int> Moved { get; } = [];

    public Exception? Failure { get; set; }

    /// <summary>Awaited by each read before it looks.</summary>
    public Task Gate { get; set; } = Task.CompletedTask;

    public IReadOnlyDictionary<string, string> States => _states;

    /// <summary>All rows, those of deleted jobs too.</summary>
    public int Count => _rows.Count;

    /// <summary>Adds a job and its row.</summary>
    /// <param name="row">The row's number, where it is not the next: written earlier, committed now.</param>
    /// <param name="queue">Hangfire's queue.</param>
    /// <param name="user">Whose request it is.</param>
    public string Add(long? row = null, string queue = ImageJobs.QueueName, string? user = null)
    {
        lock (_lock)
        {
            var job = (++_lastJob).ToString(CultureInfo.InvariantCulture);
            _states[job] = EnqueuedState.StateName;
            _users[job] = user;
            Insert(QueuePlace.Of(QueuePlace.RoundOf(queue), row ?? ++_lastNumber), job);
            _lastNumber = Math.Max(_lastNumber, row ?? 0);
            return job;
        }
    }

    /// <summary>Leaves a number out, for a row that is not committed yet.</summary>
    public long Reserve() => Interlocked.Increment(ref _lastNumber);

    public void SetState(string job, string state)
    {
        lock (_lock)
            _states[job] = state;
    }

    /// <summary>An operator requeues a job: another row, in the first round.</summary>
    public void Requeue(string job)
    {
        lock (_lock)
        {
            _states[job] = EnqueuedState.StateName;
            Insert(QueuePlace.Of(1, ++_lastNumber), job);
        }
    }

    /// <summary>Dequeues the first that will run.</summary>
    public IFetchedJob Fetch()
    {
        lock (_lock)
        {
            while (_places.FirstOrDefault(place => !_rows[place].IsTaken) is not 0 and var first)
            {
                var job = _rows[first].Job;
                // One that is processing already is a second entry, whose claim is refused.
                if (_states[job] != EnqueuedState.StateName)
                {
                    Delete(first);
                    continue;
                }

                _rows[first] = (job, true);
                return new Fetched(this, first, job);
            }
        }

        throw new InvalidOperationException("Nothing waits.");
    }

    public async Task<QueuePage> ReadAsync(long after, long upTo, int count, CancellationToken cancellationToken)
    {
        await Gate;
        lock (_lock)
        {
            Reads++;
            if (Failure is not null)
                throw Failure;
            var rows = (after < upTo ? _places.GetViewBetween(after + 1, upTo) : [])
                .Select(place => (Place: place, Row: _rows[place]))
                .Where(at => !at.Row.IsTaken && _states[at.Row.Job] == EnqueuedState.StateName)
                .Take(count)
                .Select(at => new QueueRow(at.Place, JobKey.Parse(at.Row.Job), _users[at.Row.Job])).ToList();
            RowsRead += rows.Count;
            return rows.Count < count ? new QueuePage(rows, upTo, IsLast: true) : new QueuePage(rows, rows[^1].Place, IsLast: false);
        }
    }

    public Task<bool> TryMoveToFrontAsync(string hangfireJobId, long place, CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            if (!_rows.TryGetValue(place, out var entry) || entry.IsTaken || entry.Job != hangfireJobId)
                return Task.FromResult(false);
            Delete(place);
            var before = _places.TakeWhile(other => other < 0).Where(other => !_rows[other].IsTaken).ToList();
            foreach (var front in before.Select(other => _rows[other].Job).Prepend(entry.Job).ToList())
                Insert(QueuePlace.Of(0, ++_lastNumber), front);
            before.ForEach(Delete);
            return Task.FromResult(true);
        }
    }

    public Task<IReadOnlyList<(Guid Job, long Place)>> MoveAsync(IReadOnlyList<QueueMove> moves, CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            if (Failure is not null)
                throw Failure;
            var moved = new List<(Guid, long)>();
            foreach (var move in moves)
            {
                if (!_rows.TryGetValue(move.Place, out var entry) || entry.IsTaken || JobKey.Parse(entry.Job) != move.Job)
                    continue;
                Delete(move.Place);
                var place = QueuePlace.Of(move.Round, ++_lastNumber);
                Insert(place, entry.Job);
                moved.Add((move.Job, place));
            }

            Moved.Add(moved.Count);
            return Task.FromResult<IReadOnlyList<(Guid, long)>>(moved);
        }
    }

    public bool TryGiveBack(string hangfireJobId)
    {
        lock (_lock)
        {
            foreach (var (place, entry) in _rows.Where(row => row.Value.Job == hangfireJobId).ToList())
            {
                _rows[place] = (entry.Job, false);
                return true;
            }
        }

        return false;
    }

    private void Insert(long place, string job)
    {
        _places.Add(place);
        _rows.Add(place, (job, false));
    }

    private void Delete(long place)
    {
        _places.Remove(place);
        _rows.Remove(place);
    }

    private sealed class Fetched(FakeQueueRows rows, long place, string job) : IFetchedJob
    {
        public string JobId => job;

        public void RemoveFromQueue()
        {
            lock (rows._lock)
                rows.Delete(place);
        }

        public void Requeue()
        {
            lock (rows._lock)
                rows._rows[place] = (job, false);
        }

        public void Dispose()
        {
            // Removed or given back by the test.
        }
    }
}

internal static class QueueOrderExtensions
{
    /// <summary>Enqueues a request of an unknown user.</summary>
    public static string Enqueue(this IQueueOrder order, Func<string> enqueue) => order.Enqueue(null, _ => enqueue());
}
