using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Queue;

namespace ImageQueue.Core.Generation;

/// <summary>A canary of 64 x 64 pixels and one step, with the model of the next waiting request that the backend can serve.</summary>
internal sealed class Canary(IForgeClient forge, IQueueOrder order, IRequestStore store, ForgeModels models) : ICanary
{
    /// <summary>Marks it among a backend's requests.</summary>
    public const string Prompt = "a grey square (canary)";

    /// <summary>Waiting requests that are looked at for one whose model the backend has.</summary>
    private const int LookAhead = 10;

    public async Task RunAsync(ForgeBackend backend, string taskId, ForgeCapabilities capabilities, CancellationToken cancellationToken)
    {
        var request = await FindNextAsync(backend, capabilities, cancellationToken) ?? DefaultOf(capabilities);
        var image = await forge.GenerateAsync(
            backend, taskId, request with { Prompt = Prompt, NegativePrompt = null, Width = 64, Height = 64, Steps = 1, Seed = 1 },
            () => Task.CompletedTask, cancellationToken);
        ImageCheck.ToPng(image.Bytes);
    }

    private async Task<GenerationRequest?> FindNextAsync(
        ForgeBackend backend, ForgeCapabilities capabilities, CancellationToken cancellationToken)
    {
        try
        {
            foreach (var job in (await order.GetAsync(cancellationToken)).InOrder.Take(LookAhead))
            {
                if (await store.FindByHangfireJobAsync(job, cancellationToken) is not { } message)
                    continue;
                var requirements = BackendRequirements.Of(message, models, []);
                if (requirements.Backends?.Contains(backend.Name, StringComparer.OrdinalIgnoreCase) != false
                    && Has(capabilities, requirements.Checkpoint))
                {
                    return models.RequestOf(message);
                }
            }
        }
        catch (StoreUnavailableException)
        {
            // Which model comes next is a refinement; the default one tells as much of the backend.
        }

        return null;
    }

    private GenerationRequest DefaultOf(ForgeCapabilities capabilities)
    {
        var defaults = models.Complete(new GenerationSettings());
        var hasModel = Has(capabilities, defaults.Checkpoint);
        return new GenerationRequest(hasModel ? defaults : defaults with { Checkpoint = null, AdditionalModules = [] }) { Prompt = Prompt };
    }

    private static bool Has(ForgeCapabilities capabilities, string? checkpoint) =>
        checkpoint is null || capabilities.HasModel(checkpoint) != false;
}
