using System.Collections.Concurrent;

namespace ImageQueue.Core.Queue;

/// <summary>
/// Waiting jobs by ascending place. Places may have gaps. The jobs are kept in blocks, and views share the blocks that did not
/// change, so a change costs next to nothing however long the queue is: a block is copied once after each view that has it.
/// </summary>
/// <remarks>One writer at a time; views may be read by any thread.</remarks>
internal sealed class QueueIndex
{
    private const int BlockSize = 512;
    private const int SmallestBlock = 16;

    // Shared with views, which do not find removed jobs: see View.PositionOf.
    private readonly ConcurrentDictionary<Guid, long> _places = new(concurrencyLevel: 1, capacity: 31);
    private readonly List<Block> _blocks = [];
    private View? _view;

    // Rises with each view: the blocks of earlier ones are shared.
    private int _epoch;

    /// <summary>0 when empty.</summary>
    public long LastPlace => _blocks.Count == 0 ? 0 : _blocks[^1].Last;

    public View Now
    {
        get
        {
            if (_view is not null)
                return _view;
            _epoch++;
            return _view = new View(_places, _blocks);
        }
    }

    /// <summary>In order; not to be changed meanwhile.</summary>
    public IEnumerable<(long Place, Guid Job)> Entries =>
        _blocks.SelectMany(block => Enumerable.Range(0, block.Count).Select(i => (block.Places[i], block.Jobs[i])));

    /// <summary>In order; not to be changed meanwhile.</summary>
    public IEnumerable<Guid> Jobs => Entries.Select(entry => entry.Job);

    public long? PlaceOf(Guid job) => _places.TryGetValue(job, out var place) ? place : null;

    /// <summary>Adds the job at its place. A job that is there already keeps the first of its places (Hangfire #2380).</summary>
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
            Append(_blocks.Count, job, place);
        else
            Insert(job, place);

        // After the block: a reader that finds the place may look there.
        _places[job] = place;
    }

    /// <returns>Its place; null when it was not there.</returns>
    public long? Remove(Guid job)
    {
        if (!_places.TryRemove(job, out var place))
            return null;
        _view = null;
        var (block, of, entry) = IndexOf(place);
        if (of.Count == 1)
            _blocks.RemoveAt(block);
        else
            Own(block).RemoveAt(entry);
        return place;
    }

    /// <summary>The last place up to this one; the lowest number there is when there is none.</summary>
    public long LastPlaceUpTo(long upTo)
    {
        if (_blocks.Count == 0 || _blocks[0].Places[0] > upTo)
            return long.MinValue;
        if (LastPlace <= upTo)
            return LastPlace;
        var (block, of, entry) = IndexOf(upTo);
        if (of.Places[entry] == upTo)
            return upTo;
        return entry > 0 ? of.Places[entry - 1] : _blocks[block - 1].Last;
    }

    /// <summary>Replaces a stretch of the queue by the rows that were read there.</summary>
    /// <param name="after">The stretch begins behind this place.</param>
    /// <param name="upTo">The last place of the stretch.</param>
    /// <param name="rows">By ascending place.</param>
    /// <returns>The jobs that are no longer there.</returns>
    public IReadOnlyList<Guid> Replace(long after, long upTo, IReadOnlyList<QueueRow> rows)
    {
        var read = new Dictionary<Guid, long>(rows.Count);
        foreach (var row in rows)
            read.TryAdd(row.Job, row.Place);
        var gone = new List<Guid>();
        foreach (var (place, job) in Between(after, upTo))
        {
            var isRead = read.TryGetValue(job, out var now);
            if (!isRead)
                gone.Add(job);
            if (!isRead || now != place)
                Remove(job);
        }

        foreach (var row in rows)
            Add(row.Job, row.Place);
        return gone;
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

    private void Insert(Guid job, long place)
    {
        var (block, of, entry) = IndexOf(place);
        if (entry > 0 && of.Count == BlockSize)
        {
            _blocks[block] = of.Copy(_epoch, entry, of.Count, BlockSize);
            _blocks.Insert(block, of.Copy(_epoch, 0, entry, BlockSize));
            entry = 0;
            block++;
        }

        if (entry == 0)
            Append(block, job, place);
        else
            Own(block).Insert(entry, job, place);
    }

    /// <summary>Adds to the end of the block before this one; to a new one, when that is full.</summary>
    private void Append(int block, Guid job, long place)
    {
        if (block == 0 || _blocks[block - 1].Count == BlockSize)
            _blocks.Insert(block++, new Block(_epoch, SmallestBlock));
        var last = _blocks[block - 1];
        if (last.Count == last.Places.Length)
            _blocks[block - 1] = last = last.Copy(_epoch, 0, last.Count, last.Count * 2);
        last.Append(job, place);
    }

    /// <summary>The block, to be changed: no view has it, and it has room unless it is full.</summary>
    private Block Own(int block)
    {
        var own = _blocks[block];
        return own.Epoch == _epoch && own.Count < own.Places.Length
            ? own
            : _blocks[block] = own.Copy(_epoch, 0, own.Count, Math.Max(SmallestBlock, own.Count * 2));
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

    /// <summary>
    /// Neighbouring jobs. To a block of an earlier epoch jobs are only appended, so views may share it: each knows how many of its jobs it
    /// has.
    /// </summary>
    private sealed class Block(int epoch, int capacity)
    {
        public int Epoch => epoch;

        public long[] Places { get; } = new long[capacity];

        public Guid[] Jobs { get; } = new Guid[capacity];

        public int Count { get; private set; }

        public long Last => Places[Count - 1];

        public void Append(Guid job, long place)
        {
            (Places[Count], Jobs[Count]) = (place, job);
            Count++;
        }

        /// <summary>There is room, and the epoch is the index's.</summary>
        public void Insert(int entry, Guid job, long place)
        {
            Move(entry, entry + 1);
            (Places[entry], Jobs[entry]) = (place, job);
            Count++;
        }

        /// <summary>The epoch is the index's.</summary>
        public void RemoveAt(int entry)
        {
            Move(entry + 1, entry);
            Count--;
        }

        public Block Copy(int newEpoch, int from, int to, int newCapacity)
        {
            var copy = new Block(newEpoch, Math.Min(BlockSize, newCapacity)) { Count = to - from };
            Array.Copy(Places, from, copy.Places, 0, to - from);
            Array.Copy(Jobs, from, copy.Jobs, 0, to - from);
            return copy;
        }

        private void Move(int from, int to)
        {
            Array.Copy(Places, from, Places, to, Count - from);
            Array.Copy(Jobs, from, Jobs, to, Count - from);
        }
    }

    /// <summary>The queue at one moment; jobs removed since may be missing.</summary>
    internal sealed class View
    {
        private readonly ConcurrentDictionary<Guid, long> _places;
        private readonly Block[] _blocks;

        // The number of jobs before each block, and in all.
        private readonly int[] _before;

        internal View(ConcurrentDictionary<Guid, long> places, object blocks)
        {
            _places = places;
            _blocks = [.. (List<Block>)blocks];
            _before = new int[_blocks.Length + 1];
            for (var i = 0; i < _blocks.Length; i++)
                _before[i + 1] = _before[i] + _blocks[i].Count;
        }

        public int Count => _before[^1];

        /// <summary>1 = first; null when the job was not there, or was removed since.</summary>
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

        public string At(int position)
        {
            var found = Array.BinarySearch(_before, position - 1);
            var block = found >= 0 ? found : ~found - 1;
            return JobKey.Format(_blocks[block].Jobs[position - 1 - _before[block]]);
        }

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
