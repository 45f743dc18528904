using System.Text.Json.Nodes;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Messages;

namespace ImageQueue.Core.Requests;

/// <summary>What a chat user asks for, checked by <see cref="Check"/>. Null leaves a setting to the model, or to <c>Forge:Defaults</c>.</summary>
public sealed record ImageRequest
{
    /// <summary>Longest prompt, in UTF-16 code units after trimming.</summary>
    public const int MaxPromptLength = 4000;

    /// <summary>Longest username or conversation id, in UTF-16 code units.</summary>
    public const int MaxNameLength = 100;

    /// <summary>Longest <c>Idempotency-Key</c>, in characters.</summary>
    public const int MaxIdempotencyKeyLength = 200;

    /// <summary>The conversation, named by the chat app.</summary>
    public required string ConversationId { get; init; }

    /// <summary>The conversation's owner.</summary>
    public required string Username { get; init; }

    /// <summary>What to generate.</summary>
    public required string Prompt { get; init; }

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

    /// <summary>As Forge calls it.</summary>
    public string? Sampler { get; init; }

    /// <summary>As Forge calls it.</summary>
    public string? Scheduler { get; init; }

    /// <summary>-1 (Forge chooses) .. 4294967295.</summary>
    public long? Seed { get; init; }

    /// <summary>One of <c>Forge:Models</c>.</summary>
    public string? Model { get; init; }

    /// <summary>As Forge calls it; instead of <see cref="Model"/>.</summary>
    public string? Checkpoint { get; init; }

    /// <summary>The same key and request give the same message.</summary>
    public string? IdempotencyKey { get; init; }

    /// <summary>The request with its texts trimmed, and what is wrong with it: field to sentence, empty when nothing is.</summary>
    public (ImageRequest Request, IReadOnlyDictionary<string, string[]> Errors) Check()
    {
        var request = this with { Prompt = Prompt.Trim(), Username = Username.Trim(), NegativePrompt = NullIfBlank(NegativePrompt) };
        var rules = new RequestRules();
        rules.Name("conversation_id", request.ConversationId);
        rules.Name("username", request.Username);
        rules.Text("prompt", request.Prompt, MaxPromptLength);
        if (request.NegativePrompt is not null)
            rules.Text("negative_prompt", request.NegativePrompt, MaxPromptLength);
        rules.Size("width", request.Width);
        rules.Size("height", request.Height);
        rules.Range("steps", request.Steps, 1, 150);
        rules.Range("cfg_scale", request.CfgScale, 0, 30);
        rules.Range("distilled_cfg_scale", request.DistilledCfgScale, 0, 30);
        rules.Range("seed", request.Seed, -1, uint.MaxValue);
        rules.OptionalName("sampler", request.Sampler);
        rules.OptionalName("scheduler", request.Scheduler);
        rules.OptionalName("model", request.Model);
        rules.OptionalName("checkpoint", request.Checkpoint, 300);
        rules.OptionalName("Idempotency-Key", request.IdempotencyKey, MaxIdempotencyKeyLength);
        return (request, rules.Errors);
    }

    /// <summary>The message's <c>settings</c>: what was asked, and the model's defaults for what was not.</summary>
    public JsonObject ToSettings(ForgeModels models)
    {
        var model = models.Choose(Model, Checkpoint);
        var defaults = models.DefaultsOf(model);
        var settings = new JsonObject
        {
            ["width"] = Width ?? defaults.Width,
            ["height"] = Height ?? defaults.Height,
            ["steps"] = Steps ?? defaults.Steps,
            ["cfg_scale"] = CfgScale ?? defaults.CfgScale,
            ["distilled_cfg_scale"] = DistilledCfgScale ?? defaults.DistilledCfgScale,
            ["sampler"] = Sampler ?? defaults.Sampler,
            ["scheduler"] = Scheduler ?? defaults.Scheduler,
            ["seed"] = Seed ?? -1,
        };
        if (model is not null)
            settings["model"] = model.Name;
        if (NegativePrompt is not null)
            settings["negative_prompt"] = NegativePrompt;
        if ((Checkpoint ?? defaults.Checkpoint) is { } checkpoint)
            settings["checkpoint"] = checkpoint;
        return settings;
    }

    /// <summary>The name of the model that a stored message asks for; null when it asks for none.</summary>
    internal static string? ModelOf(Message message) =>
        message.Metadata.TryGetProperty(MetadataFields.Settings, out var settings)
        && settings.ValueKind == System.Text.Json.JsonValueKind.Object
        && settings.TryGetProperty("model", out var model)
        && model.ValueKind == System.Text.Json.JsonValueKind.String
            ? model.GetString()
            : null;

    /// <summary>What to send to Forge for a stored message. What is stored stays; the modules are those that its model has now.</summary>
    public static GenerationRequest FromMessage(Message message, ForgeModels models)
    {
        var settings = message.Metadata.TryGetProperty(MetadataFields.Settings, out var stored) && JsonObject.Create(stored) is { } known
            ? known
            : [];
        var defaults = models.DefaultsOf(models.Find(ModelOf(message)));
        return new GenerationRequest
        {
            Prompt = message.Prompt ?? "",
            NegativePrompt = (string?)settings["negative_prompt"],
            Width = (int?)settings["width"] ?? defaults.Width,
            Height = (int?)settings["height"] ?? defaults.Height,
            Steps = (int?)settings["steps"] ?? defaults.Steps,
            CfgScale = (decimal?)settings["cfg_scale"] ?? defaults.CfgScale,
            DistilledCfgScale = (decimal?)settings["distilled_cfg_scale"] ?? defaults.DistilledCfgScale,
            Sampler = (string?)settings["sampler"] ?? defaults.Sampler,
            Scheduler = (string?)settings["scheduler"] ?? defaults.Scheduler,
            Seed = (long?)settings["seed"] ?? -1,
            Checkpoint = (string?)settings["checkpoint"],
            AdditionalModules = [.. defaults.AdditionalModules],
        };
    }

    private static string? NullIfBlank(string? text) => string.IsNullOrWhiteSpace(text) ? null : text.Trim();
}
