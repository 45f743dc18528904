namespace ImageQueue.Core.Forge;

/// <summary>
/// Settings under <c>Forge:Models:{name}</c>: a model that a request can name; a setting left out is as in <c>Forge:Defaults</c>.
/// </summary>
/// <remarks>The checkpoint is required; <c>NegativePrompt</c>, <c>Seed</c> and <c>Model</c> are a request's own and refused here.</remarks>
public sealed record ForgeModelOptions : GenerationSettings
{
    /// <summary>Shown to users. Default: the name.</summary>
    public string? Title { get; init; }

    /// <summary>Names of the backends that have it. Default: all.</summary>
    public IList<string> Backends { get; init; } = [];
}
