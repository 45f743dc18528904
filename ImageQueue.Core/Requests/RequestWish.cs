using ImageQueue.Core.Forge;
using ImageQueue.Core.Messages;

namespace ImageQueue.Core.Requests;

/// <summary>Which Forge a stored request can use, and which it had better use.</summary>
internal static class RequestWish
{
    /// <param name="message">The request.</param>
    /// <param name="models">For the backends that have the model it was stored with.</param>
    /// <param name="failedAt">Names of the servers that have failed it: used only when nothing else is healthy.</param>
    public static ForgeWish Of(Message message, ForgeModels models, IReadOnlyCollection<string> failedAt) =>
        new(
            ImageRequest.FromMessage(message, models).Checkpoint,
            models.Find(ImageRequest.ModelOf(message))?.Backends is { Count: > 0 } backends ? backends : null,
            failedAt);
}
