namespace ImageQueue.Core.Queue;

/// <summary>
/// Whether the queue is being rebuilt from the rows: meanwhile new rows wait for the rebuild to come to them, so that they do not
/// overtake older ones, and who waits is told by the rows.
/// </summary>
public sealed class QueueRebuilding
{
    private volatile bool _isUnderWay;

    /// <summary>Whether it is.</summary>
    public bool IsUnderWay
    {
        get => _isUnderWay;
        set => _isUnderWay = value;
    }
}
