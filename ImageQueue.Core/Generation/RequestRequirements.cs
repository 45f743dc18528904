using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;

namespace ImageQueue.Core.Generation;

/// <summary>Which backends can serve a stored request.</summary>
internal static class RequestRequirements
{
    /// <param name="models">For the backends that have the model it was stored with.</param>
    /// <param name="failedBackends">Used only when nothing else is healthy.</param>
    public static BackendRequirements Of(Message message, ForgeModels models, IReadOnlyCollection<string> failedBackends) =>
        new(
            models.RequestOf(message).Checkpoint,
            models.Find(GenerationSettings.Of(message).Model)?.Backends is { Count: > 0 } backends ? backends : null, failedBackends)
        { Task = ForgeTasks.Of(ImageSource.Of(message)) };
}
