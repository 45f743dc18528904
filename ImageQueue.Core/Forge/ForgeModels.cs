namespace ImageQueue.Core.Forge;

/// <summary>The models that requests can name (<c>Forge:Models</c>), and whether they can name checkpoints besides.</summary>
public sealed class ForgeModels
{
    private readonly GenerationSettings _defaults;

    public ForgeModels(ForgeOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        All =
        [
            .. options.Models
                .Select(model => ForgeModel.Of(model.Key, model.Value, options.Defaults))
                .OrderByDescending(model => model.Name.Equals(options.DefaultModel, StringComparison.OrdinalIgnoreCase))
                .ThenBy(model => model.Name, StringComparer.Ordinal),
        ];
        TakesCheckpoints = options.AllowAnyCheckpoint ?? All.Count == 0;
        _defaults = options.Defaults;
    }

    /// <summary>The default first (<c>Forge:DefaultModel</c>), then by name; empty where none is configured.</summary>
    public IReadOnlyList<ForgeModel> All { get; }

    /// <summary>Whether a request can name a checkpoint: <c>Forge:AllowAnyCheckpoint</c>; unset, only where there are no models.</summary>
    public bool TakesCheckpoints { get; }

    /// <summary>The model of this name, in any case; null when there is none.</summary>
    public ForgeModel? Find(string? name) => All.FirstOrDefault(model => model.Name.Equals(name, StringComparison.OrdinalIgnoreCase));

    /// <summary>The model of a request that names this one, or none and no checkpoint; null when there is none.</summary>
    internal ForgeModel? Chosen(string? name) => name is not null ? Find(name) : All is [var first, ..] ? first : null;

    /// <summary>The settings to store for a new request: those it sent, then its model's, then <c>Forge:Defaults</c>.</summary>
    public GenerationSettings Complete(GenerationSettings sent)
    {
        ArgumentNullException.ThrowIfNull(sent);
        var model = sent.Model is null && sent.Checkpoint is not null ? null : Chosen(sent.Model);
        return sent.OrElse(model?.Defaults ?? _defaults) with { Model = model?.Name, Seed = sent.Seed ?? -1 };
    }

    /// <summary>What to send to Forge for a stored message. Stored settings stay; the modules are those that its model has now.</summary>
    public GenerationRequest RequestOf(Message message)
    {
        ArgumentNullException.ThrowIfNull(message);
        var stored = GenerationSettings.Of(message);
        var defaults = Find(stored.Model)?.Defaults ?? _defaults;
        return new GenerationRequest(
            stored.OrElse(defaults) with { Checkpoint = stored.Checkpoint, AdditionalModules = defaults.AdditionalModules })
        { Prompt = message.Prompt ?? "" };
    }
}

/// <summary>One model.</summary>
/// <param name="Name">What requests call it.</param>
/// <param name="Title">Shown to users.</param>
/// <param name="Defaults">What a request gets for the settings it leaves out.</param>
/// <param name="Backends">Names of the backends that have it; empty: all of them.</param>
public sealed record ForgeModel(string Name, string Title, GenerationSettings Defaults, IReadOnlyList<string> Backends)
{
    internal static ForgeModel Of(string name, ForgeModelOptions options, GenerationSettings defaults) => new(
        name,
        string.IsNullOrWhiteSpace(options.Title) ? name : options.Title,
        // Another model's modules do not fit.
        options.OrElse(defaults) with { Checkpoint = options.Checkpoint, AdditionalModules = options.AdditionalModules },
        [.. options.Backends]);
}
