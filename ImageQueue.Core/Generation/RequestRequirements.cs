using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Messages;

namespace ImageQueue.Core.Generation;

/// <summary>Which Forge a stored request can use, and which it had better use.</summary>
internal static class RequestRequirements
{
    /// <param name="message">The request.</param>
    /// <param name="models">For the backends that have the model it was stored with.</param>
    /// <param name="failedAt">Names of the servers that have failed it: used only when nothing else is healthy.</param>
    public static BackendRequirements Of(Message message, ForgeModels models, IReadOnlyCollection<string> failedAt) =>
        new(
            models.RequestOf(message).Checkpoint,
            models.Find(GenerationSettings.Of(message).Model)?.Backends is { Count: > 0 } backends ? backends : null,
            failedAt);
}
