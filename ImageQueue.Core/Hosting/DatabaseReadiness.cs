namespace ImageQueue.Core.Hosting;

/// <summary>Whether the database has answered and has its tables. Background services wait for it.</summary>
public sealed class DatabaseReadiness
{
    private readonly TaskCompletionSource _ready = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Completes when the database is ready.</summary>
    public Task Ready => _ready.Task;

    /// <summary>Reports that the database is ready.</summary>
    public void Set() => _ready.TrySetResult();
}
