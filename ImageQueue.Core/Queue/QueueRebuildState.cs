namespace ImageQueue.Core.Queue;

/// <summary>
/// Whether the queue is being rebuilt from the rows: meanwhile new rows wait for the rebuild to come to them, so that they do not
/// overtake older ones, and who waits is told by the rows.
/// </summary>
public sealed class QueueRebuildState
{
    private readonly TaskCompletionSource _done = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile bool _isUnderWay;

    /// <summary>Whether it is.</summary>
    public bool IsUnderWay
    {
        get => _isUnderWay;
        set => _isUnderWay = value;
    }

    /// <summary>Comes true when this process's start has done what it does about the queue.</summary>
    public Task Done => _done.Task;

    /// <summary>The start has done it.</summary>
    internal void SetDone() => _done.TrySetResult();
}
