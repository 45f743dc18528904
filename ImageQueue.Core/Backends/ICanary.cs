using ImageQueue.Core.Forge;

namespace ImageQueue.Core.Backends;

/// <summary>Generates a tiny image, outside the queue, that tells a bad backend from a bad request.</summary>
public interface ICanary
{
    /// <summary>Generates it and drops it. No deadline of its own.</summary>
    /// <param name="taskId">Names the task at the backend.</param>
    /// <exception cref="ForgeException">No image came, or none that decodes.</exception>
    Task RunAsync(ForgeBackend backend, string taskId, ForgeCapabilities capabilities, CancellationToken cancellationToken);
}
