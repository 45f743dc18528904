using System.Text.Json.Serialization;

namespace ImageQueue.Core.Forge;

/// <summary>Request bodies, by the names of Forge's <c>modules/api/models.py</c>.</summary>
internal static class ForgeMessages
{
    /// <summary>
    /// The body of txt2img, and of img2img without its images. What is null in the request is left out: Forge answers an explicit null
    /// with 422.
    /// </summary>
    /// <param name="isShared">
    /// Whether the backend restores its own model afterwards. That unloads ours with each request, so only where people use it too.
    /// </param>
    public static byte[] Generate(string taskId, GenerationRequest request, ForgeCapabilities capabilities, bool isShared)
    {
        var isInpaint = request.Task == ForgeTask.Inpaint;
        return JsonSerializer.SerializeToUtf8Bytes(
            new GenerationBody
            {
                Prompt = request.Prompt,
                NegativePrompt = request.NegativePrompt,
                Width = request.Width,
                Height = request.Height,
                Steps = request.Steps,
                CfgScale = request.CfgScale,
                DistilledCfgScale = request.DistilledCfgScale,
                SamplerName = request.Sampler,
                Scheduler = capabilities.Scheduler ? request.Scheduler : null,
                Seed = request.Seed ?? -1,
                OverrideSettings = request.Checkpoint is null
                    ? null
                    : new OverrideSettingsBody
                    {
                        Checkpoint = request.Checkpoint,

                        // Each time, even when there are none: those of the previous request would stay.
                        AdditionalModules = capabilities.Modules ?? request.AdditionalModules.Count > 0 ? request.AdditionalModules : null,
                    },
                RestoreAfterwards = request.Checkpoint is null || isShared ? null : false,
                TaskId = taskId,
                DenoisingStrength = request.Source?.Asked.Strength,
                ResizeMode = request.Source is null ? null : 0, // As it is, to the size that was asked for.
                MaskBlur = isInpaint ? 4 : null,
                InpaintingFill = isInpaint ? 1 : null, // The source's own pixels.
                InpaintFullResolution = isInpaint ? false : null,
            },
            ForgeJson.Default.GenerationBody);
    }

    /// <summary>The body of extra-single-image without its image.</summary>
    public static byte[] Upscale(string upscaler, int factor) =>
        JsonSerializer.SerializeToUtf8Bytes(new { upscaler_1 = upscaler, upscaling_resize = factor });

    /// <summary>The body of <c>/internal/progress</c>.</summary>
    /// <param name="seenPreview">The preview that the caller already has; -1 for none.</param>
    public static byte[] InternalProgress(string taskId, bool withPreview, long seenPreview) =>
        JsonSerializer.SerializeToUtf8Bytes(new { id_task = taskId, id_live_preview = seenPreview, live_preview = withPreview });
}

/// <summary>A txt2img or img2img request.</summary>
internal sealed record GenerationBody
{
    [JsonPropertyName("prompt")] public required string Prompt { get; init; }
    [JsonPropertyName("negative_prompt")] public string? NegativePrompt { get; init; }
    [JsonPropertyName("width")] public int? Width { get; init; }
    [JsonPropertyName("height")] public int? Height { get; init; }
    [JsonPropertyName("steps")] public int? Steps { get; init; }
    [JsonPropertyName("cfg_scale")] public decimal? CfgScale { get; init; }
    [JsonPropertyName("distilled_cfg_scale")] public decimal? DistilledCfgScale { get; init; }
    [JsonPropertyName("sampler_name")] public string? SamplerName { get; init; }
    [JsonPropertyName("scheduler")] public string? Scheduler { get; init; }
    [JsonPropertyName("seed")] public long? Seed { get; init; }
    [JsonPropertyName("send_images")] public bool SendImages { get; init; } = true;
    [JsonPropertyName("save_images")] public bool SaveImages { get; init; }
    [JsonPropertyName("override_settings")] public OverrideSettingsBody? OverrideSettings { get; init; }
    [JsonPropertyName("override_settings_restore_afterwards")] public bool? RestoreAfterwards { get; init; }
    [JsonPropertyName("force_task_id")] public required string TaskId { get; init; }
    [JsonPropertyName("denoising_strength")] public decimal? DenoisingStrength { get; init; }
    [JsonPropertyName("resize_mode")] public int? ResizeMode { get; init; }
    [JsonPropertyName("mask_blur")] public int? MaskBlur { get; init; }
    [JsonPropertyName("inpainting_fill")] public int? InpaintingFill { get; init; }
    [JsonPropertyName("inpaint_full_res")] public bool? InpaintFullResolution { get; init; }
}

/// <summary>Options for one request only. An option that Forge does not know makes it answer 500, so no others are sent.</summary>
internal sealed record OverrideSettingsBody
{
    [JsonPropertyName("sd_model_checkpoint")] public required string Checkpoint { get; init; }
    [JsonPropertyName("forge_additional_modules")] public IReadOnlyList<string>? AdditionalModules { get; init; }
}

[JsonSourceGenerationOptions(DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(GenerationBody))]
internal sealed partial class ForgeJson : JsonSerializerContext;
