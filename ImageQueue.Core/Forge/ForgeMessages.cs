using System.Text.Json.Serialization;

namespace ImageQueue.Core.Forge;

/// <summary>Request bodies, by the names of Forge's <c>modules/api/models.py</c>.</summary>
internal static class ForgeMessages
{
    private static readonly JsonSerializerOptions WithoutNulls = new() { DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull };

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
            new
            {
                prompt = request.Prompt,
                negative_prompt = request.NegativePrompt,
                width = request.Width,
                height = request.Height,
                steps = request.Steps,
                cfg_scale = request.CfgScale,
                distilled_cfg_scale = request.DistilledCfgScale,
                sampler_name = request.Sampler,
                scheduler = capabilities.Scheduler ? request.Scheduler : null,
                seed = request.Seed ?? -1,
                send_images = true,
                save_images = false,

                // Options for this request only. An option that Forge does not know makes it answer 500, so no others are sent.
                override_settings = request.Checkpoint is null ? null : new
                {
                    sd_model_checkpoint = request.Checkpoint,

                    // Each time, even when there are none: those of the previous request would stay.
                    forge_additional_modules =
                        capabilities.Modules ?? request.AdditionalModules.Count > 0 ? request.AdditionalModules : null,
                },
                override_settings_restore_afterwards = request.Checkpoint is null || isShared ? (bool?)null : false,
                force_task_id = taskId,
                denoising_strength = request.Source?.Asked.Strength,
                resize_mode = request.Source is null ? (int?)null : 0, // As it is, to the size that was asked for.
                mask_blur = isInpaint ? 4 : (int?)null,
                inpainting_fill = isInpaint ? 1 : (int?)null, // The source's own pixels.
                inpaint_full_res = isInpaint ? false : (bool?)null,
            },
            WithoutNulls);
    }

    /// <summary>The body of extra-single-image without its image.</summary>
    public static byte[] Upscale(string upscaler, int factor) =>
        JsonSerializer.SerializeToUtf8Bytes(new { upscaler_1 = upscaler, upscaling_resize = factor });

    /// <summary>The body of <c>/internal/progress</c>.</summary>
    /// <param name="seenPreview">The preview that the caller already has; -1 for none.</param>
    public static byte[] InternalProgress(string taskId, bool withPreview, long seenPreview) =>
        JsonSerializer.SerializeToUtf8Bytes(new { id_task = taskId, id_live_preview = seenPreview, live_preview = withPreview });
}
