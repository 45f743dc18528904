namespace ImageQueue.Web.Simulator;

/// <summary>The simulated server's models, samplers, schedulers and options.</summary>
/// <remarks>Names as in Forge's <c>modules/sd_samplers*.py</c> and <c>modules/sd_schedulers.py</c>.</remarks>
internal static class SimulatorCatalogue
{
    public const string DefaultSampler = "Euler";

    public static IReadOnlyList<SimulatedModel> Models { get; } =
    [
        new(
            "flux1-dev-bnb-nf4-v2", "flux1-dev-bnb-nf4-v2.safetensors", "f0770152e4",
            "bea01d51bd0ad83ac1dd0f4a6d3e3a1b0c7f9d2e5a4b8c6d1e0f2a3b4c5d6e7f"),
        new(
            "flux1-schnell-fp8", "flux1-schnell-fp8.safetensors", "ead426278b",
            "ead426278b49030e9da5df862994f25ce94ab2ee4df38b556ddddb3db093bf72"),
        new(
            "flux_flux1-dev", "flux/flux1-dev.safetensors", "4610115bb0",
            "4610115bb0c89560703c892c59ac2742fa821e60ef5871b33493ba544683abd7"),
        new("sdxl-turbo", "sdxl-turbo.safetensors", "e869ac7d69", "e869ac7d6942cb327d68d5ed83a40447aadf20e0c3358d98b2cc9e270db0da26"),
    ];

    public static IReadOnlyList<string> SamplerNames { get; } =
        ["DPM++ 2M", "DPM++ SDE", "Euler a", "Euler", "LMS", "Heun", "DDIM", "UniPC", "LCM", "[Forge] Flux Realistic"];

    public static IEnumerable<object> Samplers => SamplerNames.Select(
        name => new { name, aliases = (string[])[$"k_{name.ToLowerInvariant().Replace(' ', '_')}"], options = new { } });

    private static IReadOnlyList<(string Name, string Label)> SchedulerNames { get; } =
    [
        ("automatic", "Automatic"), ("uniform", "Uniform"), ("karras", "Karras"),
        ("exponential", "Exponential"), ("sgm_uniform", "SGM Uniform"),
        ("kl_optimal", "KL Optimal"), ("simple", "Simple"), ("normal", "Normal"), ("ddim", "DDIM"), ("beta", "Beta"), ("turbo", "Turbo"),
    ];

    public static IEnumerable<object> Schedulers => SchedulerNames.Select(
        names => new { names.Name, names.Label, Aliases = (string[]?)null, DefaultRho = -1.0, NeedInnerModel = false });

    /// <summary>The upscaler that leaves an image as it is.</summary>
    public const string NoUpscaler = "None";

    /// <summary>The one that repeats pixels; all others resample with a cubic filter.</summary>
    public const string NearestUpscaler = "Nearest";

    public static IReadOnlyList<string> UpscalerNames { get; } =
        [NoUpscaler, "Lanczos", NearestUpscaler, "ESRGAN_4x", "R-ESRGAN 4x+", "R-ESRGAN 4x+ Anime6B", "SwinIR_4x"];

    public static IEnumerable<object> Upscalers => UpscalerNames.Select((name, i) => new
    {
        name,
        model_name = i < 3 ? null : name,
        model_path = i < 3 ? null : $"/models/ESRGAN/{name}.pth",
        model_url = (string?)null,
        scale = i == 0 ? 1.0 : 4.0,
    });

    public static IEnumerable<object> LatentUpscaleModes { get; } = new[]
    {
        "Latent", "Latent (antialiased)", "Latent (bicubic)", "Latent (bicubic antialiased)", "Latent (nearest)", "Latent (nearest-exact)",
    }.Select(name => new { name });

    public static IEnumerable<object> Loras { get; } = new[] { "add-detail", "film-grain", "pixel-art" }.Select(
        name => new { name, alias = name, path = $"/models/Lora/{name}.safetensors", metadata = new { } });

    /// <summary>VAEs, and in Forge text encoders with them (<c>sd-modules</c>).</summary>
    public static IEnumerable<object> Modules(SimulatorProfile profile) => (profile.HasModules
            ? ["ae.safetensors", "clip_l.safetensors", "t5xxl_fp8_e4m3fn.safetensors"]
            : (string[])["vae-ft-mse-840000.safetensors"])
        .Select(name => new { model_name = name, filename = $"/models/VAE/{name}" });

    /// <summary>Steps between two live previews: the default of A1111 and Forge.</summary>
    public const int StepsPerPreview = 10;

    private static string[] RequestFields { get; } =
    [
        "prompt", "negative_prompt", "seed", "steps", "cfg_scale", "width", "height", "batch_size", "n_iter", "sampler_name",
        "override_settings", "override_settings_restore_afterwards", "send_images", "save_images",
    ];

    private static string[] ImageFields { get; } = ["init_images", "denoising_strength", "mask", "mask_blur", "inpainting_fill"];

    /// <summary>A few of Forge's options; any other is a 500, as there.</summary>
    private static IReadOnlyDictionary<string, object?> Options { get; } = new Dictionary<string, object?>
    {
        ["samples_format"] = "png",
        ["sd_model_checkpoint"] = Models[0].Filename,
        ["sd_vae"] = "Automatic",
        ["CLIP_stop_at_last_layers"] = 1,
        ["live_previews_enable"] = true,
        ["live_previews_image_format"] = "jpeg",
        ["show_progress_every_n_steps"] = StepsPerPreview,
        ["return_grid"] = true,
        ["enable_pnginfo"] = true,
        ["eta_noise_seed_delta"] = 0,
        ["randn_source"] = "GPU",
    };

    /// <summary>The same and those that only Forge has.</summary>
    private static IReadOnlyDictionary<string, object?> ForgeOptions { get; } = new Dictionary<string, object?>(Options)
    {
        ["forge_additional_modules"] = Array.Empty<string>(),
        ["forge_preset"] = "flux",
    };

    public static IReadOnlyDictionary<string, object?> OptionsOf(SimulatorProfile profile) => profile.HasModules ? ForgeOptions : Options;

    /// <summary>The part of FastAPI's <c>/openapi.json</c> that says what a server can do.</summary>
    public static object OpenApi(SimulatorProfile profile, IEnumerable<string> paths) => new
    {
        openapi = "3.1.0",
        info = new { title = "FastAPI", version = "0.1.0" },
        paths = paths.ToDictionary(path => path, _ => new { }),
        components = new
        {
            schemas = new Dictionary<string, object>
            {
                ["StableDiffusionTxt2ImgProcessingAPI"] = Schema(profile, RequestFields),
                ["StableDiffusionImg2ImgProcessingAPI"] = Schema(profile, [.. RequestFields, .. ImageFields]),
            },
        },
    };

    private static object Schema(SimulatorProfile profile, IEnumerable<string> names) => new
    {
        type = "object",
        properties = names
            .Concat(profile.HasTaskIds ? ["force_task_id"] : [])
            .Concat(profile.HasSchedulers ? ["scheduler"] : [])
            .Concat(profile.HasModules ? ["distilled_cfg_scale"] : [])
            .ToDictionary(name => name, name => new { title = name }),
    };

    /// <summary>The model of this name, title or file; null when there is none.</summary>
    public static SimulatedModel? FindModel(string? name) =>
        name is null ? null : Models.FirstOrDefault(model => ((string[])
        [model.ModelName, model.Filename, model.TitleWithHash, model.Hash, model.BareName]).Contains(name));

    /// <summary>
    /// By exact names, with a scheduler behind the sampler's name or not; an unknown scheduler silently becomes Automatic
    /// (<c>modules/sd_samplers.py</c>, get_sampler_and_scheduler).
    /// </summary>
    /// <returns>The sampler, null when there is none of this name, and the scheduler.</returns>
    public static (string? Sampler, string Scheduler) FindSampler(string? sampler, string? scheduler, bool hasSchedulers)
    {
        if (hasSchedulers
            && sampler is not null
            && SchedulerNames.FirstOrDefault(
                names => sampler.EndsWith($" {names.Label}", StringComparison.Ordinal)) is { Label: { } behind })
        {
            (sampler, scheduler) = (sampler[..^(behind.Length + 1)], behind);
        }

        return (
            SamplerNames.FirstOrDefault(name => name == sampler),
            SchedulerNames.FirstOrDefault(names => names.Label == scheduler || names.Name == scheduler).Label ?? "Automatic");
    }

    /// <summary>A string among the overrides, or null.</summary>
    public static string? Override(JsonElement? overrides, string key) =>
        overrides is { } element && element.TryGetProperty(key, out var value) && value.ValueKind == JsonValueKind.String
            ? value.GetString()
            : null;
}

/// <summary>A checkpoint. Its title gains the hash once the file has been loaded and hashed (<c>modules/sd_models.py</c>).</summary>
internal sealed record SimulatedModel(string ModelName, string Filename, string Hash, string Sha256)
{
    public string TitleWithHash => $"{Filename} [{Hash}]";

    /// <summary>What <c>info</c> says: without folder and extension (name_for_extra).</summary>
    public string BareName => Path.GetFileNameWithoutExtension(Filename);
}
