using System.Collections.Concurrent;

namespace ImageQueue.Core.Queue;

/// <summary>
/// Jobs in line, by the place that each has: a number that rises with the line, below 0 for those who were moved to the front, and
/// with gaps where somebody has left. Kept in
/// blocks of which views share those that did not change, so a change costs next to nothing however long the line is.
/// </summary>
/// <remarks>One writer at a time; views may be read meanwhile by anyone.</remarks>
internal sealed class QueueIndex
{
    private const int BlockSize = 512;
    private const int SmallestBlock = 16;

    // Shared with views, which find no one in it who has left: see View.PositionOf.
    private readonly ConcurrentDictionary<Guid, long> _places = new(concurrencyLevel: 1, capacity: 31);
    private readonly List<Block> _blocks = [];
    private View? _view;

    /// <summary>How many are in line.</summary>
    public int Count => _places.Count;

    /// <summary>The last one's place; 0 when the line is empty.</summary>
    public long LastPlace => _blocks.Count == 0 ? 0 : _blocks[^1].Last;

    /// <summary>The line as it is now.</summary>
    public View Now => _view ??= new View(_places, _blocks);

    /// <summary>The job's place; null when it is not in line.</summary>
    public long? PlaceOf(Guid job) => _places.TryGetValue(job, out var place) ? place : null;

    /// <summary>Puts the job where its place is. A job that is in line already keeps the first of its places (Hangfire #2380).</summary>
    public void Add(Guid job, long place)
    {
        if (_places.TryGetValue(job, out var known))
        {
            if (known <= place)
                return;
            Remove(job);
        }

        _view = null;
        if (_blocks.Count == 0 || place > _blocks[^1].Last)
        {
            Append(job, place);
        }
        else
        {
            var index = IndexOf(place);
            _blocks.RemoveAt(index.Block);
            _blocks.InsertRange(index.Block, index.Of.With(index.Entry, job, place));
        }

        // After the block: who finds the place may look there.
        _places[job] = place;
    }

    /// <summary>Takes the job out.</summary>
    /// <returns>Where it stood; null when it was not in line.</returns>
    public long? Remove(Guid job)
    {
        if (!_places.TryRemove(job, out var place))
            return null;
        _view = null;
        var (block, of, entry) = IndexOf(place);
        if (of.Count == 1)
            _blocks.RemoveAt(block);
        else
            _blocks[block] = of.Without(entry);
        return place;
    }

    /// <summary>Makes a stretch of the line what it was read to be.</summary>
    /// <param name="after">Places above this one,</param>
    /// <param name="upTo">up to this one,</param>
    /// <param name="rows">are these, by ascending place.</param>
    public void Replace(long after, long upTo, IReadOnlyList<(long Place, Guid Job)> rows)
    {
        var read = new Dictionary<Guid, long>(rows.Count);
        foreach (var (place, job) in rows)
            read.TryAdd(job, place);
        foreach (var (place, job) in Between(after, upTo))
        {
            if (!read.TryGetValue(job, out var now) || now != place)
                Remove(job);
        }

        foreach (var (place, job) in rows)
            Add(job, place);
    }

    private List<(long Place, Guid Job)> Between(long after, long upTo)
    {
        var found = new List<(long, Guid)>();
        if (_blocks.Count == 0 || after >= LastPlace)
            return found;
        for (var block = after < 0 ? 0 : IndexOf(after + 1).Block; block < _blocks.Count && _blocks[block].Places[0] <= upTo; block++)
        {
            var of = _blocks[block];
            for (var i = 0; i < of.Count; i++)
            {
                if (of.Places[i] > after && of.Places[i] <= upTo)
                    found.Add((of.Places[i], of.Jobs[i]));
            }
        }

        return found;
    }

    private void Append(Guid job, long place)
    {
        if (_blocks.Count == 0 || _blocks[^1].Count == BlockSize)
            _blocks.Add(new Block(SmallestBlock));
        var last = _blocks[^1];
        if (last.Count == last.Places.Length)
            _blocks[^1] = last = last.Grown();
        last.Append(job, place);
    }

    /// <summary>The block that holds the place, or would; and where in it.</summary>
    private (int Block, Block Of, int Entry) IndexOf(long place)
    {
        var (low, high) = (0, _blocks.Count - 1);
        while (low < high)
        {
            var middle = (low + high) / 2;
            if (_blocks[middle].Last < place)
                low = middle + 1;
            else
                high = middle;
        }

        var found = Array.BinarySearch(_blocks[low].Places, 0, _blocks[low].Count, place);
        return (low, _blocks[low], found < 0 ? ~found : found);
    }

    /// <summary>Some neighbours in line. Only ever appended to, so that views may share it: they know how many were theirs.</summary>
    private sealed class Block(int capacity)
    {
        public long[] Places { get; private init; } = new long[capacity];

        public Guid[] Jobs { get; private init; } = new Guid[capacity];

        public int Count { get; private set; }

        public long Last => Places[Count - 1];

        public void Append(Guid job, long place)
        {
            (Places[Count], Jobs[Count]) = (place, job);
            Count++;
        }

        public Block Grown() => Copy(Math.Min(BlockSize, Places.Length * 2), 0, Count);

        public Block Without(int entry)
        {
            var copy = Copy(Places.Length, 0, entry);
            for (var i = entry + 1; i < Count; i++)
                copy.Append(Jobs[i], Places[i]);
            return copy;
        }

        public IEnumerable<Block> With(int entry, Guid job, long place)
        {
            var copy = Copy(Math.Min(BlockSize, Math.Max(SmallestBlock, Count + 1)), 0, entry);
            copy.Append(job, place);
            if (Count < BlockSize)
            {
                for (var i = entry; i < Count; i++)
                    copy.Append(Jobs[i], Places[i]);
                return [copy];
            }

            return entry == Count ? [copy] : [copy, Copy(BlockSize, entry, Count)];
        }

        private Block Copy(int capacity, int from, int to)
        {
            var copy = new Block(capacity) { Count = to - from };
            Array.Copy(Places, from, copy.Places, 0, to - from);
            Array.Copy(Jobs, from, copy.Jobs, 0, to - from);
            return copy;
        }
    }

    /// <summary>The line at one moment. Only those who have left since may be forgotten; nobody else moves.</summary>
    internal sealed class View
    {
        private readonly ConcurrentDictionary<Guid, long> _places;
        private readonly Block[] _blocks;

        // How many stand before each block, and behind the last one.
        private readonly int[] _before;

        internal View(ConcurrentDictionary<Guid, long> places, object blocks)
        {
            _places = places;
            _blocks = [.. (List<Block>)blocks];
            _before = new int[_blocks.Length + 1];
            for (var i = 0; i < _blocks.Length; i++)
                _before[i + 1] = _before[i] + _blocks[i].Count;
        }

        /// <summary>How many were in line.</summary>
        public int Count => _before[^1];

        /// <summary>1 = first; null when the job was not in line, or has left since.</summary>
        public int? PositionOf(string hangfireJobId)
        {
            if (!JobKey.TryParse(hangfireJobId, out var job) || !_places.TryGetValue(job, out var place))
                return null;
            var (low, high) = (0, _blocks.Length - 1);
            while (low < high)
            {
                var middle = (low + high) / 2;
                if (_blocks[middle].Places[_before[middle + 1] - _before[middle] - 1] < place)
                    low = middle + 1;
                else
                    high = middle;
            }

            if (low >= _blocks.Length)
                return null;
            var entry = Array.BinarySearch(_blocks[low].Places, 0, _before[low + 1] - _before[low], place);
            return entry >= 0 && _blocks[low].Jobs[entry] == job ? _before[low] + entry + 1 : null;
        }

        /// <summary>Who is at the position.</summary>
        public string At(int position)
        {
            var found = Array.BinarySearch(_before, position - 1);
            var block = found >= 0 ? found : ~found - 1;
            return JobKey.Format(_blocks[block].Jobs[position - 1 - _before[block]]);
        }

        /// <summary>All of them.</summary>
        public IEnumerable<string> InOrder()
        {
            for (var block = 0; block < _blocks.Length; block++)
            {
                for (var entry = 0; entry < _before[block + 1] - _before[block]; entry++)
                    yield return JobKey.Format(_blocks[block].Jobs[entry]);
            }
        }
    }
}
