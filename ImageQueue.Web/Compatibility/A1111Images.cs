using System.Text.Json.Serialization;
using ImageQueue.Core.Requests;
using ImageQueue.Web.Errors;

namespace ImageQueue.Web.Compatibility;

/// <summary>The body of <c>POST /sdapi/v1/txt2img</c>, and with an image of <c>img2img</c>. Fields that are not here are ignored.</summary>
/// <remarks>A1111 and Forge <c>modules/api/models.py</c>, <c>StableDiffusionTxt2ImgProcessingAPI</c> and <c>Img2Img</c>.</remarks>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Skip)]
internal sealed record A1111ImageBody
{
    public string? Prompt { get; init; }

    public string? NegativePrompt { get; init; }

    /// <summary>-1: random.</summary>
    public long? Seed { get; init; }

    public string? SamplerName { get; init; }

    /// <summary>An older name of <see cref="SamplerName"/>.</summary>
    public string? SamplerIndex { get; init; }

    public string? Scheduler { get; init; }

    public int? BatchSize { get; init; }

    public int? NIter { get; init; }

    public int? Steps { get; init; }

    public decimal? CfgScale { get; init; }

    /// <summary>Forge's.</summary>
    public decimal? DistilledCfgScale { get; init; }

    /// <summary>Pixels; rounded down to a multiple of 8, as A1111's latents are.</summary>
    public int? Width { get; init; }

    /// <summary>Pixels; rounded down to a multiple of 8.</summary>
    public int? Height { get; init; }

    /// <summary>Of which <c>sd_model_checkpoint</c> alone is used.</summary>
    public Dictionary<string, JsonElement>? OverrideSettings { get; init; }

    /// <summary>Names the task for <c>/internal/progress</c>; a repeated call with the same name joins the first.</summary>
    public string? ForceTaskId { get; init; }

    /// <summary>Ignored, with a log line.</summary>
    public Dictionary<string, JsonElement>? AlwaysonScripts { get; init; }

    /// <summary>Whether the answer holds the images. Default: true.</summary>
    public bool? SendImages { get; init; }

    /// <summary>Base64; the first is used. Of img2img.</summary>
    public IReadOnlyList<byte[]>? InitImages { get; init; }

    /// <summary>0..1; 0.75 as at A1111. Of img2img.</summary>
    public decimal? DenoisingStrength { get; init; }

    /// <summary>Base64; white is generated anew. Of img2img.</summary>
    public byte[]? Mask { get; init; }

    /// <summary>1: black is generated anew.</summary>
    public int? InpaintingMaskInvert { get; init; }

    /// <summary>The image that the call starts from.</summary>
    /// <exception cref="ProblemException">There is none, or the strength is not valid.</exception>
    public CallSource ToSource()
    {
        if (InitImages is not [var image, ..])
            throw new ProblemException(ProblemCodes.NotFound, "Init image not found. Send it in init_images, as base64.");
        if (DenoisingStrength is < 0 or > 1)
            throw CallSource.InvalidField("denoising_strength", "denoising_strength must be between 0 and 1.");
        return new(image, Mask is not null && InpaintingMaskInvert == 1 ? CallSource.Invert(Mask) : Mask, DenoisingStrength ?? 0.75m);
    }

    /// <summary>The checkpoint that the call names; null: the caller's.</summary>
    public string? Checkpoint =>
        OverrideSettings?.TryGetValue("sd_model_checkpoint", out var value) == true && value.ValueKind == JsonValueKind.String
            ? value.GetString()
            : null;

    /// <exception cref="ProblemException">A field is not valid.</exception>
    public ImageRequest ToRequest(ModelChoice model, string? idempotencyKey)
    {
        var rules = new RequestRules();
        rules.Range("batch_size", BatchSize, 1, ImageCalls.MaxImages);
        rules.Range("n_iter", NIter, 1, ImageCalls.MaxImages);
        var count = (BatchSize ?? 1) * (NIter ?? 1);
        if (count > ImageCalls.MaxImages)
            rules.Add("n_iter", $"batch_size times n_iter must be at most {ImageCalls.MaxImages}, not {count}.");
        if (rules.Errors.Count > 0)
            throw new ProblemException(ApiProblem.Unprocessed(rules.Errors));
        return new()
        {
            ConversationId = "",
            Username = "",
            Prompt = Prompt ?? "",
            NegativePrompt = NegativePrompt,
            Width = Width / 8 * 8,
            Height = Height / 8 * 8,
            Steps = Steps,
            CfgScale = CfgScale,
            DistilledCfgScale = DistilledCfgScale,
            Sampler = NullIfBlank(SamplerName) ?? NullIfBlank(SamplerIndex),
            Scheduler = NullIfBlank(Scheduler),
            Seed = Seed,
            Count = count,
            Model = model.Model,
            Checkpoint = model.Checkpoint,
            IdempotencyKey = idempotencyKey,
        };
    }

    private static string? NullIfBlank(string? text) => string.IsNullOrWhiteSpace(text) ? null : text;
}

/// <summary>The answer to <c>txt2img</c>; <c>Info</c> is JSON in a text, as A1111 sends it.</summary>
internal sealed record A1111Images(IReadOnlyList<string> Images, A1111ImageBody Parameters, string Info)
{
    /// <summary>What A1111's <c>Processed.js()</c> writes, of the fields that clients read.</summary>
    /// <param name="messages">Complete messages, in the order of the images.</param>
    public static string InfoOf(IReadOnlyList<Message> messages)
    {
        var first = messages[0];
        var seeds = messages.Select(SeedOf).ToArray();
        var prompts = messages.Select(message => message.Prompt ?? "").ToArray();
        var settings = GenerationSettings.Of(first);
        var negative = settings.NegativePrompt ?? "";
        return JsonSerializer.Serialize(
            new
            {
                prompt = prompts[0],
                all_prompts = prompts,
                negative_prompt = negative,
                all_negative_prompts = messages.Select(_ => negative),
                seed = seeds[0],
                all_seeds = seeds,
                width = Number(first, "width") ?? settings.Width,
                height = Number(first, "height") ?? settings.Height,
                sampler_name = settings.Sampler,
                cfg_scale = settings.CfgScale,
                steps = settings.Steps,
                batch_size = messages.Count,
                sd_model_name = ModelOf(first),
                index_of_first_image = 0,
                infotexts = messages.Select(InfotextOf),
                job_timestamp = first.QueuedAt?.ToString("yyyyMMddHHmmss", CultureInfo.InvariantCulture),
                version = "ImageQueue",
            },
            CompatibilityJson.Options);
    }

    /// <summary>The name under which the model was asked for, else the one that the backend reports.</summary>
    private static string? ModelOf(Message message) =>
        GenerationSettings.Of(message) is var settings && (settings.Model ?? settings.Checkpoint) is { } asked
            ? asked
            : Reported(message, "model") is { ValueKind: JsonValueKind.String } model ? model.GetString() : null;

    private static long SeedOf(Message message) => Number(message, "seed") ?? GenerationSettings.Of(message).Seed ?? -1;

    private static long? Number(Message message, string name) =>
        Reported(message, name) is { ValueKind: JsonValueKind.Number } value && value.TryGetInt64(out var number) ? number : null;

    private static JsonElement? Reported(Message message, string name) =>
        message.Metadata.TryGetProperty(MetadataFields.Result, out var result)
        && result.ValueKind == JsonValueKind.Object
        && result.TryGetProperty(name, out var value)
            ? value
            : null;

    /// <summary>The text that A1111 keeps in its images (<c>modules/infotext_utils.py</c> reads it back).</summary>
    private static string InfotextOf(Message message)
    {
        var settings = GenerationSettings.Of(message);
        var negative = settings.NegativePrompt is { } text ? $"\nNegative prompt: {text}" : "";
        return string.Create(
            CultureInfo.InvariantCulture,
            $"{message.Prompt}{negative}\nSteps: {settings.Steps}, Sampler: {settings.Sampler}, Schedule type: {settings.Scheduler}, "
                + $"CFG scale: {settings.CfgScale}, Seed: {SeedOf(message)}, "
                + $"Size: {Number(message, "width")}x{Number(message, "height")}, Model: {ModelOf(message)}");
    }
}
