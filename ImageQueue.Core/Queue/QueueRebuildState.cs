namespace ImageQueue.Core.Queue;

/// <summary>
/// Whether the in-memory queue is being rebuilt from the message rows. Meanwhile the rebuild enqueues new rows too, so that they do
/// not overtake older ones, and waiting requests are counted by their rows.
/// </summary>
public sealed class QueueRebuildState
{
    private readonly TaskCompletionSource _done = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile bool _isUnderWay;

    public bool IsUnderWay
    {
        get => _isUnderWay;
        set => _isUnderWay = value;
    }

    /// <summary>Completes when this process's start has put unfinished requests back into the queue.</summary>
    public Task Done => _done.Task;

    internal void SetDone() => _done.TrySetResult();
}
