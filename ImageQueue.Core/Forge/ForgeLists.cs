namespace ImageQueue.Core.Forge;

/// <summary>What a backend has to choose from beyond checkpoints, samplers and schedulers, by name; empty where it does not say.</summary>
/// <remarks>Forge's <c>modules/api/api.py</c>, and its extension for LoRAs.</remarks>
public sealed record ForgeLists
{
    private const string DefaultUpscaler = "R-ESRGAN 4x+";

    /// <summary>Nothing is listed.</summary>
    public static ForgeLists None { get; } = new();

    /// <summary>For <c>&lt;lora:name:1&gt;</c> in a prompt.</summary>
    public IReadOnlyList<string> Loras { get; init; } = [];

    public IReadOnlyList<string> Upscalers { get; init; } = [];

    public IReadOnlyList<string> LatentUpscaleModes { get; init; } = [];

    /// <summary>VAEs; in Forge, with the text encoders (<c>sd-modules</c>).</summary>
    public IReadOnlyList<string> Vaes { get; init; } = [];

    /// <summary>Textual inversions.</summary>
    public IReadOnlyList<string> Embeddings { get; init; } = [];

    /// <summary>The one to use: Forge's best general one where it is listed, else the first that does anything.</summary>
    internal string Upscaler => Upscalers.FirstOrDefault(name => name == DefaultUpscaler)
        ?? Upscalers.FirstOrDefault(name => name != "None")
        ?? DefaultUpscaler;

    /// <summary>All that one of them has.</summary>
    internal static ForgeLists Union(IReadOnlyCollection<ForgeLists> lists)
    {
        return new ForgeLists
        {
            Loras = Of(list => list.Loras),
            Upscalers = Of(list => list.Upscalers),
            LatentUpscaleModes = Of(list => list.LatentUpscaleModes),
            Vaes = Of(list => list.Vaes),
            Embeddings = Of(list => list.Embeddings),
        };

        string[] Of(Func<ForgeLists, IReadOnlyList<string>> names) => [.. lists.SelectMany(names).Distinct(StringComparer.Ordinal)];
    }
}
