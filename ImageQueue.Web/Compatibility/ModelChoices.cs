using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;

namespace ImageQueue.Web.Compatibility;

/// <summary>What a request of another API runs with; neither: the default.</summary>
internal readonly record struct ModelChoice(string? Model, string? Checkpoint);

/// <summary>Maps the model names of other APIs to the models that are offered here.</summary>
internal sealed class ModelChoices(ForgeModels models, BackendPool pool)
{
    /// <summary>The names that a call may send: the configured models, else the checkpoints of the healthy backends.</summary>
    public IReadOnlyList<string> Names => models.All.Count > 0
        ? [.. models.All.Select(model => model.Name)]
        :
        [
            .. pool.Status.Where(backend => backend.Healthy == true)
                .SelectMany(backend => backend.Capabilities.Checkpoints.Names)
                .Distinct(StringComparer.OrdinalIgnoreCase),
        ];

    /// <summary>The model or checkpoint of this name; null when there is none.</summary>
    public ModelChoice? Find(string? name)
    {
        if (string.IsNullOrWhiteSpace(name))
            return default(ModelChoice);
        if (models.Find(name) is { } model)
            return new(model.Name, null);
        return models.TakesCheckpoints && pool.Status.Any(backend => backend.Capabilities.HasModel(name) == true) ? new(null, name) : null;
    }
}
