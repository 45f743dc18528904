namespace ImageQueue.Core.Queue;

/// <summary>The waiting jobs in order, at one moment.</summary>
public sealed class QueueSnapshot
{
    private readonly QueueIndex.View _view;

    internal QueueSnapshot(QueueIndex.View view, DateTimeOffset takenAt) => (_view, TakenAt) = (view, takenAt);

    /// <summary>False when Hangfire has not answered yet: then stored positions are the best there is.</summary>
    public bool IsKnown { get; private init; } = true;

    /// <summary>Whether it stays true until the next one: this process alone changes the queue.</summary>
    internal bool IsLive { get; init; }

    public int Count => _view.Count;

    /// <summary>When Hangfire's queue was read, UTC.</summary>
    public DateTimeOffset TakenAt { get; }

    /// <summary>Hangfire ids, next to run first.</summary>
    public IEnumerable<string> InOrder => _view.InOrder();

    public static QueueSnapshot Unknown(DateTimeOffset at) => new(new QueueIndex().Now, at) { IsKnown = false };

    /// <summary>1 = next to run; null when the job does not wait, as far as is known.</summary>
    public int? PositionOf(string hangfireJobId) => _view.PositionOf(hangfireJobId);

    /// <param name="position">From 1 to <see cref="Count"/>.</param>
    public string At(int position)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(position, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(position, Count);
        return _view.At(position);
    }
}
