namespace ImageQueue.Core.Queue;

/// <summary>Who waits, in order, at one moment: first those that workers hold, then those in Hangfire's queue.</summary>
public sealed class QueueSnapshot
{
    private readonly IReadOnlyList<string> _held;
    private readonly WaitingLine.View _line;

    /// <param name="inOrder">Hangfire ids, next to run first, each once; for a few.</param>
    /// <param name="takenAt">When this was true.</param>
    public QueueSnapshot(IReadOnlyList<string> inOrder, DateTimeOffset takenAt)
        : this(inOrder, default, takenAt)
    {
    }

    internal QueueSnapshot(IReadOnlyList<string> held, WaitingLine.View line, DateTimeOffset takenAt)
    {
        _held = held;
        _line = line;
        TakenAt = takenAt;
    }

    /// <summary>How many wait.</summary>
    public int Count => _held.Count + _line.Count;

    /// <summary>When this was true, UTC.</summary>
    public DateTimeOffset TakenAt { get; }

    /// <summary>Hangfire ids, next to run first; made as they are asked for.</summary>
    public IEnumerable<string> InOrder => _held.Concat(_line.InOrder());

    /// <summary>The first of those that no worker holds; null when nobody waits in Hangfire's queue.</summary>
    public string? FirstInQueue => _line.Count > 0 ? _line.At(1) : null;

    /// <summary>1 = next to run; null when the job is not waiting.</summary>
    public int? PositionOf(string hangfireJobId)
    {
        for (var index = 0; index < _held.Count; index++)
        {
            if (string.Equals(_held[index], hangfireJobId, StringComparison.Ordinal))
                return index + 1;
        }

        return _line.PositionOf(hangfireJobId) + _held.Count;
    }

    /// <summary>Who is at the position.</summary>
    public string At(int position)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(position, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(position, Count);
        return position <= _held.Count ? _held[position - 1] : _line.At(position - _held.Count);
    }
}
