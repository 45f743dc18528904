using System.Text.Json.Nodes;
using System.Text.Json.Serialization;

namespace ImageQueue.Core.Messages;

/// <summary>The parameters of one image: a body carries them, a model offers them, a row stores them, Forge gets them.</summary>
/// <remarks>A new parameter needs a line in <see cref="OrElse"/>, <see cref="Check"/>, <see cref="ToJson"/> and <see cref="Of"/>.</remarks>
public record GenerationSettings
{
    /// <summary>What to avoid.</summary>
    public string? NegativePrompt { get; init; }

    /// <summary>64..2048 pixels, a multiple of 8.</summary>
    public int? Width { get; init; }

    /// <summary>64..2048 pixels, a multiple of 8.</summary>
    public int? Height { get; init; }

    /// <summary>1..150.</summary>
    public int? Steps { get; init; }

    /// <summary>0..30.</summary>
    public decimal? CfgScale { get; init; }

    /// <summary>0..30.</summary>
    public decimal? DistilledCfgScale { get; init; }

    /// <summary>As Forge calls it, such as Euler.</summary>
    public string? Sampler { get; init; }

    /// <summary>As Forge calls it, such as Simple.</summary>
    public string? Scheduler { get; init; }

    /// <summary>-1 (Forge chooses) .. 4294967295.</summary>
    public long? Seed { get; init; }

    /// <summary>A name from GET /api/models. Default: the first of them.</summary>
    public string? Model { get; init; }

    /// <summary>As Forge calls it; instead of model, and only where Forge:AllowAnyCheckpoint allows it.</summary>
    public string? Checkpoint { get; init; }

    /// <summary>
    /// Forge's <c>forge_additional_modules</c> (VAE, text encoders) of the checkpoint; a setting, never part of a request.
    /// </summary>
    [JsonIgnore]
    public IReadOnlyList<string> AdditionalModules { get; init; } = [];

    /// <summary>These settings, and the defaults for those that are null.</summary>
    public GenerationSettings OrElse(GenerationSettings defaults)
    {
        ArgumentNullException.ThrowIfNull(defaults);
        return new GenerationSettings
        {
            NegativePrompt = NegativePrompt ?? defaults.NegativePrompt,
            Width = Width ?? defaults.Width,
            Height = Height ?? defaults.Height,
            Steps = Steps ?? defaults.Steps,
            CfgScale = CfgScale ?? defaults.CfgScale,
            DistilledCfgScale = DistilledCfgScale ?? defaults.DistilledCfgScale,
            Sampler = Sampler ?? defaults.Sampler,
            Scheduler = Scheduler ?? defaults.Scheduler,
            Seed = Seed ?? defaults.Seed,
            Model = Model ?? defaults.Model,
            Checkpoint = Checkpoint ?? defaults.Checkpoint,
            AdditionalModules = AdditionalModules.Count > 0 ? AdditionalModules : defaults.AdditionalModules,
        };
    }

    /// <summary>Adds a sentence for each value outside its limits.</summary>
    /// <param name="rules">Gets the sentences.</param>
    /// <param name="nameOf">A property's name as the sender knows it.</param>
    internal void Check(RequestRules rules, Func<string, string> nameOf)
    {
        if (NegativePrompt is not null)
            rules.Text(nameOf(nameof(NegativePrompt)), NegativePrompt, RequestRules.MaxPromptLength);
        rules.Size(nameOf(nameof(Width)), Width);
        rules.Size(nameOf(nameof(Height)), Height);
        rules.Range(nameOf(nameof(Steps)), Steps, 1, 150);
        rules.Range(nameOf(nameof(CfgScale)), CfgScale, 0, 30);
        rules.Range(nameOf(nameof(DistilledCfgScale)), DistilledCfgScale, 0, 30);
        rules.Range(nameOf(nameof(Seed)), Seed, -1, uint.MaxValue);
        rules.OptionalName(nameOf(nameof(Sampler)), Sampler);
        rules.OptionalName(nameOf(nameof(Scheduler)), Scheduler);
        rules.OptionalName(nameOf(nameof(Model)), Model);
        rules.OptionalName(nameOf(nameof(Checkpoint)), Checkpoint, 300);
    }

    /// <summary>As a row stores them; null settings are left out.</summary>
    public JsonObject ToJson() => JsonFields.Of(
        ("width", Width), ("height", Height), ("steps", Steps), ("cfg_scale", CfgScale), ("distilled_cfg_scale", DistilledCfgScale),
        ("sampler", Sampler), ("scheduler", Scheduler), ("seed", Seed), ("model", Model), ("negative_prompt", NegativePrompt),
        ("checkpoint", Checkpoint));

    /// <summary>As an image message stores them; a value of another type counts as absent.</summary>
    public static GenerationSettings Of(Message message)
    {
        ArgumentNullException.ThrowIfNull(message);
        return message.Metadata.Object(MetadataFields.Settings) is { } json
            ? new()
            {
                NegativePrompt = json.Text("negative_prompt"),
                Width = json.Int32("width"),
                Height = json.Int32("height"),
                Steps = json.Int32("steps"),
                CfgScale = json.Decimal("cfg_scale"),
                DistilledCfgScale = json.Decimal("distilled_cfg_scale"),
                Sampler = json.Text("sampler"),
                Scheduler = json.Text("scheduler"),
                Seed = json.Int64("seed"),
                Model = json.Text("model"),
                Checkpoint = json.Text("checkpoint"),
            }
            : new();
    }
}
