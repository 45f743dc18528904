using System.Collections.Concurrent;
using System.Collections.Immutable;

namespace ImageQueue.Core.Queue;

/// <summary>
/// Jobs in line: some join at the tail, any may leave. A job's position is its place number, less the head's, less how many
/// between them have left; so a change costs next to nothing however long the line is, and so does a view of it.
/// </summary>
/// <remarks>One writer at a time; views may be read meanwhile by anyone.</remarks>
internal sealed class WaitingLine
{
    // Shared with views, which find no one in it who has left or joined after them: see View.PositionOf.
    private readonly ConcurrentDictionary<Guid, int> _places;

    // The job at each place, from place _first on; views hold on to the array that was current when they were taken.
    private Guid[] _jobs;
    private int _first;
    private int _head;
    private int _tail;

    // Places between head and tail whose job has left. Immutable, so that a view shares it.
    private ImmutableSortedSet<int> _gone = [];

    /// <param name="inOrder">Hangfire ids, each once.</param>
    public WaitingLine(IReadOnlyCollection<string> inOrder)
    {
        _places = new ConcurrentDictionary<Guid, int>(concurrencyLevel: 1, Math.Max(31, inOrder.Count));
        _jobs = new Guid[Math.Max(64, inOrder.Count + (inOrder.Count / 8))];
        foreach (var job in inOrder)
            Join(job);
    }

    public bool Contains(string hangfireJobId) => _places.ContainsKey(JobKey.Parse(hangfireJobId));

    /// <summary>Puts the job at the tail, unless it is in the line already.</summary>
    public void Join(string hangfireJobId)
    {
        var key = JobKey.Parse(hangfireJobId);
        if (_tail - _first == _jobs.Length)
            MakeRoom();
        // The array first: who finds the place may look there.
        _jobs[_tail - _first] = key;
        if (_places.TryAdd(key, _tail))
            _tail++;
    }

    /// <summary>Takes the job out, if it is there.</summary>
    public void Leave(string hangfireJobId)
    {
        if (!_places.TryRemove(JobKey.Parse(hangfireJobId), out var place))
            return;
        if (place != _head)
        {
            _gone = _gone.Add(place);
            return;
        }

        for (_head++; !_gone.IsEmpty && _gone[0] == _head; _head++)
            _gone = _gone.Remove(_head);
    }

    /// <summary>The first few in line.</summary>
    public IEnumerable<string> First(int count) => ViewWithout([]).InOrder().Take(count);

    /// <summary>The line as it is now, without some.</summary>
    public View ViewWithout(IReadOnlyList<string> others)
    {
        var gone = _gone;
        foreach (var job in others)
        {
            if (JobKey.TryParse(job, out var key) && _places.TryGetValue(key, out var place))
                gone = gone.Add(place);
        }

        return new View(_places, _jobs, _first, _head, _tail, gone);
    }

    /// <summary>Leaves out the places before the head, and doubles what is left if that is not enough.</summary>
    private void MakeRoom()
    {
        var used = _tail - _head;
        var jobs = new Guid[used > _jobs.Length / 2 ? _jobs.Length * 2 : _jobs.Length];
        Array.Copy(_jobs, _head - _first, jobs, 0, used);
        (_jobs, _first) = (jobs, _head);
    }

    /// <summary>The line at one moment. Only those who have left since may be forgotten; nobody else moves.</summary>
    public readonly struct View(ConcurrentDictionary<Guid, int> places, Guid[] jobs, int first, int head, int tail, ImmutableSortedSet<int> gone)
    {
        public int Count => gone is null ? 0 : tail - head - gone.Count;

        /// <summary>1 = first; null when the job is not in line.</summary>
        public int? PositionOf(string hangfireJobId)
        {
            if (gone is null || !JobKey.TryParse(hangfireJobId, out var key) || !places.TryGetValue(key, out var place) || place < head || place >= tail)
                return null;
            if (gone.IsEmpty)
                return place - head + 1;
            var before = gone.IndexOf(place);
            return before >= 0 ? null : place - head + 1 - ~before;
        }

        /// <summary>Who is at the position.</summary>
        public string At(int position)
        {
            // How many have left before that one: the first so many that those who stay before the next to have left suffice.
            var (low, high) = (0, gone.Count);
            while (low < high)
            {
                var middle = (low + high) / 2;
                if (gone[middle] - head - middle >= position)
                    high = middle;
                else
                    low = middle + 1;
            }

            return JobKey.Format(jobs[head - first + position - 1 + low]);
        }

        public IEnumerable<string> InOrder()
        {
            if (gone is null)
                yield break;
            using var left = gone.GetEnumerator();
            var next = left.MoveNext() ? left.Current : int.MaxValue;
            for (var place = head; place < tail; place++)
            {
                if (place != next)
                    yield return JobKey.Format(jobs[place - first]);
                else
                    next = left.MoveNext() ? left.Current : int.MaxValue;
            }
        }
    }
}
