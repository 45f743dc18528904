using ImageQueue.Core.Forge;

namespace ImageQueue.Tests.Forge;

/// <summary>Short forms of calls.</summary>
internal static class ForgeClientExtensions
{
    /// <summary>For tests that do not ask when the server is free.</summary>
    public static Task<ForgeImage> GenerateAsync(
        this IForgeClient client, ForgeBackend backend, string taskId, GenerationRequest request, CancellationToken cancellationToken) =>
        client.GenerateAsync(backend, taskId, request, () => Task.CompletedTask, cancellationToken);
}
