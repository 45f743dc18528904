namespace ImageQueue.Core.Queue;

/// <summary>Who waits, in order, at one moment.</summary>
public sealed class QueueSnapshot
{
    private readonly QueueIndex.View _line;
    private readonly IReadOnlyList<string> _behind;

    /// <param name="inOrder">Hangfire ids, next to run first, each once; for a few.</param>
    /// <param name="takenAt">When this was true.</param>
    public QueueSnapshot(IReadOnlyList<string> inOrder, DateTimeOffset takenAt)
        : this(LineOf(inOrder), [], takenAt)
    {
    }

    /// <param name="line">Those whose place in Hangfire's queue is known.</param>
    /// <param name="behind">Those that this process has just put there, in that order.</param>
    /// <param name="takenAt">When this was true.</param>
    internal QueueSnapshot(QueueIndex.View line, IReadOnlyList<string> behind, DateTimeOffset takenAt)
    {
        _line = line;
        _behind = behind;
        TakenAt = takenAt;
    }

    /// <summary>Whether Hangfire has answered; where it has not, nothing is known of who waits, and stored positions are the best there is.</summary>
    public bool IsKnown { get; private init; } = true;

    /// <summary>How many wait.</summary>
    public int Count => _line.Count + _behind.Count;

    /// <summary>When this was true, UTC.</summary>
    public DateTimeOffset TakenAt { get; }

    /// <summary>Hangfire ids, next to run first; made as they are asked for.</summary>
    public IEnumerable<string> InOrder => _line.InOrder().Concat(_behind);

    /// <summary>Nothing is known.</summary>
    public static QueueSnapshot Unknown(DateTimeOffset at) => new([], at) { IsKnown = false };

    /// <summary>1 = next to run; null when the job is not waiting, as far as is known.</summary>
    public int? PositionOf(string hangfireJobId)
    {
        if (_line.PositionOf(hangfireJobId) is { } position)
            return position;
        for (var index = 0; index < _behind.Count; index++)
        {
            if (string.Equals(_behind[index], hangfireJobId, StringComparison.Ordinal))
                return _line.Count + index + 1;
        }

        return null;
    }

    /// <summary>Who is at the position.</summary>
    public string At(int position)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(position, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(position, Count);
        return position <= _line.Count ? _line.At(position) : _behind[position - _line.Count - 1];
    }

    private static QueueIndex.View LineOf(IReadOnlyList<string> inOrder)
    {
        var line = new QueueIndex();
        for (var i = 0; i < inOrder.Count; i++)
            line.Add(JobKey.Parse(inOrder[i]), i + 1);
        return line.Now;
    }
}
