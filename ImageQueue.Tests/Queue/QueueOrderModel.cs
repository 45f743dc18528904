namespace ImageQueue.Tests.Queue;

/// <summary>
/// What an order has to be, naively: one sorted list that is searched anew at each step. A job waits at the first of its entries.
/// Under fair share a user's k-th waiting request is in round k, and joins a round at its end.
/// </summary>
/// <param name="isFair">Whether the users' requests come in turn.</param>
/// <param name="keepsEntries">Whether entries of deleted jobs stay and count again when the job is requeued, as on SQL Server.</param>
internal sealed class QueueOrderModel(bool isFair, bool keepsEntries)
{
    private const int LastRound = 20;

    private readonly SortedSet<Entry> _entries = [];
    private readonly Dictionary<string, string> _users = new(StringComparer.Ordinal);
    private readonly HashSet<string> _waits = new(StringComparer.Ordinal);
    private int _last;

    public List<string> Waiting => [.. First().Select(entry => entry.Job)];

    public void Submit(string job, string user)
    {
        _users[job] = user;
        AddLast(job);
    }

    public void Cancel(string job)
    {
        _waits.Remove(job);
        if (!keepsEntries)
            _entries.RemoveWhere(entry => entry.Job == job);
        MoveUp(_users[job]);
    }

    /// <summary>An operator requeues an ended job.</summary>
    public void Requeue(string job)
    {
        if (!keepsEntries)
        {
            AddLast(job);
            return;
        }

        _waits.Add(job);
        _entries.Add(new Entry(1, ++_last, job));
    }

    public Entry Claim(string job)
    {
        // Those before it are of jobs that do not wait: dequeued, they are gone.
        var claimed = _entries.First(entry => entry.Job == job);
        _entries.RemoveWhere(entry => entry.CompareTo(claimed) <= 0);
        _waits.Remove(job);
        MoveUp(_users[job]);
        return claimed;
    }

    public void GiveBack(Entry entry)
    {
        _entries.Add(entry);
        _waits.Add(entry.Job);
    }

    public void MoveToFront(string job)
    {
        _entries.Remove(First().First(entry => entry.Job == job));
        var before = _entries.TakeWhile(entry => entry.Round == 0).ToList();
        _entries.ExceptWith(before);
        foreach (var front in before.Select(entry => entry.Job).Prepend(job))
            _entries.Add(new Entry(0, ++_last, front));
        MoveUp(_users[job]);
    }

    /// <summary>A new process: rows that are not in their rounds are put there.</summary>
    public void Restart()
    {
        if (isFair)
            Move([.. First().Where(entry => entry.Round > 0)], (now, round) => now != round);
    }

    private void AddLast(string job)
    {
        var waiting = First().Count(entry => entry.Round > 0 && _users[entry.Job] == _users[job]);
        _waits.Add(job);
        _entries.Add(new Entry(isFair ? Math.Min(waiting + 1, LastRound) : 1, ++_last, job));
    }

    private void MoveUp(string user)
    {
        if (isFair)
            Move([.. First().Where(entry => entry.Round > 0 && _users[entry.Job] == user)], (now, round) => now > round);
    }

    private void Move(List<Entry> entries, Func<int, int, bool> isDue)
    {
        var seen = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (var entry in entries)
        {
            var before = seen.GetValueOrDefault(_users[entry.Job]);
            seen[_users[entry.Job]] = before + 1;
            var round = Math.Min(before + 1, LastRound);
            if (!isDue(entry.Round, round))
                continue;
            _entries.Remove(entry);
            _entries.Add(new Entry(round, ++_last, entry.Job));
        }
    }

    /// <summary>The first entry of each waiting job, in order.</summary>
    private List<Entry> First() =>
        [.. _entries.Where(entry => _waits.Contains(entry.Job)).DistinctBy(entry => entry.Job)];

    internal readonly record struct Entry(int Round, int Number, string Job) : IComparable<Entry>
    {
        public int CompareTo(Entry other) => (Round, Number).CompareTo((other.Round, other.Number));
    }
}
