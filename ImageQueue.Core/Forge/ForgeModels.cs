namespace ImageQueue.Core.Forge;

/// <summary>The models that requests may ask for by name (<c>Forge:Models</c>), and whether they may name checkpoints besides.</summary>
public sealed class ForgeModels
{
    private readonly GenerationDefaults _defaults;

    /// <summary>Reads the settings.</summary>
    public ForgeModels(ForgeOptions options)
    {
        All =
        [
            .. options.Models
                .Select(model => new ForgeModel(model.Key, model.Value, options.Defaults))
                .OrderByDescending(model => model.Name.Equals(options.DefaultModel, StringComparison.OrdinalIgnoreCase))
                .ThenBy(model => model.Name, StringComparer.Ordinal),
        ];
        TakesCheckpoints = options.AllowAnyCheckpoint ?? All.Count == 0;
        _defaults = options.Defaults;
    }

    /// <summary>All of them: the default first (<c>Forge:DefaultModel</c>), then by name. Empty where none is configured.</summary>
    public IReadOnlyList<ForgeModel> All { get; }

    /// <summary>Whether a request may name a checkpoint: as <c>Forge:AllowAnyCheckpoint</c> says; where it does not say, only if there is no list of models.</summary>
    public bool TakesCheckpoints { get; }

    /// <summary>The model of this name, in whatever case; null when there is none.</summary>
    public ForgeModel? Find(string? name) => All.FirstOrDefault(model => model.Name.Equals(name, StringComparison.OrdinalIgnoreCase));

    /// <summary>The model that a new request gets: the one it names, none when it names a checkpoint, else the first.</summary>
    public ForgeModel? Choose(string? name, string? checkpoint) =>
        name is not null ? Find(name) : checkpoint is null && All.Count > 0 ? All[0] : null;

    /// <summary>What a request of this model gets for what it leaves out; <c>Forge:Defaults</c> where there is no model.</summary>
    public GenerationDefaults DefaultsOf(ForgeModel? model) => model?.Defaults ?? _defaults;
}

/// <summary>One model.</summary>
public sealed class ForgeModel
{
    internal ForgeModel(string name, ForgeModelOptions options, GenerationDefaults defaults)
    {
        Name = name;
        Title = string.IsNullOrWhiteSpace(options.Title) ? name : options.Title;
        Backends = [.. options.Backends];
        Defaults = new GenerationDefaults
        {
            Width = options.Width ?? defaults.Width,
            Height = options.Height ?? defaults.Height,
            Steps = options.Steps ?? defaults.Steps,
            CfgScale = options.CfgScale ?? defaults.CfgScale,
            DistilledCfgScale = options.DistilledCfgScale ?? defaults.DistilledCfgScale,
            Sampler = options.Sampler ?? defaults.Sampler,
            Scheduler = options.Scheduler ?? defaults.Scheduler,
            Checkpoint = options.Checkpoint,
            AdditionalModules = [.. options.AdditionalModules],
        };
    }

    /// <summary>What requests call it.</summary>
    public string Name { get; }

    /// <summary>What people read.</summary>
    public string Title { get; }

    /// <summary>What a request gets for what it leaves out; checkpoint and modules are always these.</summary>
    public GenerationDefaults Defaults { get; }

    /// <summary>Names of the backends that have it; empty: all of them.</summary>
    public IReadOnlyList<string> Backends { get; }
}
