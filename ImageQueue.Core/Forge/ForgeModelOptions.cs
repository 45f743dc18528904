namespace ImageQueue.Core.Forge;

/// <summary>Settings under <c>Forge:Models:{name}</c>: a model that a request may ask for by that name. What is left out is as <c>Forge:Defaults</c> says.</summary>
public sealed class ForgeModelOptions
{
    /// <summary>What people read. Default: the name.</summary>
    public string? Title { get; set; }

    /// <summary>Checkpoint, as Forge calls it. Required.</summary>
    public string? Checkpoint { get; set; }

    /// <summary>Forge's <c>forge_additional_modules</c> (VAE, text encoders) of this checkpoint. Default none: those of another model do not fit.</summary>
    public IList<string> AdditionalModules { get; init; } = [];

    /// <summary>Sampler.</summary>
    public string? Sampler { get; set; }

    /// <summary>Scheduler.</summary>
    public string? Scheduler { get; set; }

    /// <summary>Sampling steps, 1..150.</summary>
    public int? Steps { get; set; }

    /// <summary>Classifier-free guidance, 0..30.</summary>
    public decimal? CfgScale { get; set; }

    /// <summary>Distilled guidance (Flux), 0..30.</summary>
    public decimal? DistilledCfgScale { get; set; }

    /// <summary>Pixels, a multiple of 8 from 64 to 2048.</summary>
    public int? Width { get; set; }

    /// <summary>Pixels, a multiple of 8 from 64 to 2048.</summary>
    public int? Height { get; set; }

    /// <summary>Names of the backends that have it. Default: all.</summary>
    public IList<string> Backends { get; init; } = [];
}
