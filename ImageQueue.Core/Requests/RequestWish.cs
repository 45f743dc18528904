using ImageQueue.Core.Forge;
using ImageQueue.Core.Messages;

namespace ImageQueue.Core.Requests;

/// <summary>Which Forge a stored request can use, and which it had better use.</summary>
internal static class RequestWish
{
    /// <param name="message">The request.</param>
    /// <param name="options">For what the request leaves out.</param>
    /// <param name="failedAt">Names of the servers that have failed it: used only when nothing else is healthy.</param>
    public static ForgeWish Of(Message message, ForgeOptions options, IReadOnlyCollection<string> failedAt) =>
        new(ImageRequest.FromMessage(message, options.Defaults).Checkpoint, Backends: null, failedAt);
}
