using System.Text.Json;

namespace ImageQueue.Web.Simulator;

/// <summary>What the simulated server has: models, samplers, schedulers and options.</summary>
/// <remarks>Names as in Forge's <c>modules/sd_samplers*.py</c> and <c>modules/sd_schedulers.py</c>.</remarks>
internal static class SimulatorCatalogue
{
    public const string DefaultSampler = "Euler";
    public const string DefaultScheduler = "Simple";

    public static IReadOnlyList<SimulatedModel> Models { get; } =
    [
        new("flux1-dev-bnb-nf4-v2", "flux1-dev-bnb-nf4-v2.safetensors", "f0770152e4", "bea01d51bd0ad83ac1dd0f4a6d3e3a1b0c7f9d2e5a4b8c6d1e0f2a3b4c5d6e7f"),
        new("flux1-schnell-fp8", "flux1-schnell-fp8.safetensors", "ead426278b", "ead426278b49030e9da5df862994f25ce94ab2ee4df38b556ddddb3db093bf72"),
    ];

    public static IReadOnlyList<string> SamplerNames { get; } =
        ["DPM++ 2M", "DPM++ SDE", "Euler a", "Euler", "LMS", "Heun", "DDIM", "UniPC", "LCM", "[Forge] Flux Realistic"];

    public static IReadOnlyList<object> Samplers { get; } =
        [.. SamplerNames.Select(name => new { name, aliases = (string[])[$"k_{name.ToLowerInvariant().Replace(' ', '_')}"], options = new { } })];

    public static IReadOnlyList<object> Schedulers { get; } =
    [
        Scheduler("automatic", "Automatic"), Scheduler("uniform", "Uniform"), Scheduler("karras", "Karras"), Scheduler("exponential", "Exponential"),
        Scheduler("sgm_uniform", "SGM Uniform"), Scheduler("simple", "Simple"), Scheduler("normal", "Normal"), Scheduler("ddim", "DDIM"),
        Scheduler("beta", "Beta"), Scheduler("turbo", "Turbo"),
    ];

    /// <summary>After how many steps a new live preview is made: the default of A1111 and Forge.</summary>
    public const int StepsPerPreview = 10;

    private static string[] RequestFields { get; } =
    [
        "prompt", "negative_prompt", "seed", "steps", "cfg_scale", "width", "height", "batch_size", "n_iter", "sampler_name",
        "override_settings", "override_settings_restore_afterwards", "send_images", "save_images",
    ];

    /// <summary>A few of the options. Asking for one that is not there is an error of 500, as at Forge.</summary>
    public static IReadOnlyDictionary<string, object?> Options { get; } = new Dictionary<string, object?>
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
    public static IReadOnlyDictionary<string, object?> ForgeOptions { get; } = new Dictionary<string, object?>(Options)
    {
        ["forge_additional_modules"] = Array.Empty<string>(),
        ["forge_preset"] = "flux",
    };

    /// <summary>FastAPI's <c>/openapi.json</c>, as far as one would look into it to learn what a server can do.</summary>
    public static object OpenApi(SimulatorProfile profile, IEnumerable<string> paths) => new
    {
        openapi = "3.1.0",
        info = new { title = "FastAPI", version = "0.1.0" },
        paths = paths.ToDictionary(path => path, _ => new { }),
        components = new
        {
            schemas = new Dictionary<string, object>
            {
                ["StableDiffusionTxt2ImgProcessingAPI"] = new
                {
                    type = "object",
                    properties = RequestFields
                        .Concat(profile.HasTaskIds ? ["force_task_id"] : [])
                        .Concat(profile.HasSchedulers ? ["scheduler"] : [])
                        .Concat(profile.HasModules ? ["distilled_cfg_scale"] : [])
                        .ToDictionary(name => name, name => new { title = name }),
                },
            },
        },
    };

    /// <summary>The model of this name, title or file; null when there is none.</summary>
    public static SimulatedModel? FindModel(string? name) =>
        Models.FirstOrDefault(model => name is not null && (name == model.ModelName || name == model.Filename || name == model.TitleWithHash || name == model.Hash));

    /// <summary>The sampler of this name but for case; null when there is none.</summary>
    public static string? FindSampler(string? asked) => SamplerNames.FirstOrDefault(name => name.Equals(asked, StringComparison.OrdinalIgnoreCase));

    /// <summary>A string among the overrides, or null.</summary>
    public static string? Override(JsonElement? overrides, string key) =>
        overrides is { } element && element.TryGetProperty(key, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;

    private static object Scheduler(string name, string label) =>
        new { name, label, aliases = (string[]?)null, default_rho = -1.0, need_inner_model = false };
}

/// <summary>A checkpoint. Its title gains the hash once the file has been loaded and hashed (<c>modules/sd_models.py</c>).</summary>
internal sealed record SimulatedModel(string ModelName, string Filename, string Hash, string Sha256)
{
    public string TitleWithHash => $"{Filename} [{Hash}]";
}
