namespace ImageQueue.Core.Hosting;

/// <summary>Wakes waiters. It carries nothing: waiters read what changed from its source.</summary>
public sealed class AsyncSignal
{
    private TaskCompletionSource _raised = New();

    /// <summary>Completes at the next <see cref="Raise"/>. Take it before reading, so that no change falls between.</summary>
    public Task Next => Volatile.Read(ref _raised).Task;

    /// <summary>Wakes all waiters.</summary>
    public void Raise() => Interlocked.Exchange(ref _raised, New()).TrySetResult();

    private static TaskCompletionSource New() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
