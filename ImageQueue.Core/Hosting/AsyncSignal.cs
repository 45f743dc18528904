namespace ImageQueue.Core.Hosting;

/// <summary>
/// Says that this process has written to the messages, so that whoever reads changes can read at once instead of at the next
/// poll. A nudge and nothing more: what changed is read from the rows.
/// </summary>
public sealed class AsyncSignal
{
    private TaskCompletionSource _raised = New();

    /// <summary>Completes at the next <see cref="Raise"/>. Take it before reading, so that no write falls between.</summary>
    public Task Next => Volatile.Read(ref _raised).Task;

    /// <summary>Wakes everyone who waits.</summary>
    public void Raise() => Interlocked.Exchange(ref _raised, New()).TrySetResult();

    private static TaskCompletionSource New() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
