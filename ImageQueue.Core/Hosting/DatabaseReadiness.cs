namespace ImageQueue.Core.Hosting;

/// <summary>Whether the database has answered and has its tables: what works on it by itself waits for that.</summary>
public sealed class DatabaseReadiness
{
    private readonly TaskCompletionSource _ready = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Completes when it has.</summary>
    public Task Ready => _ready.Task;

    /// <summary>Says that it has.</summary>
    public void Set() => _ready.TrySetResult();
}
