using ImageQueue.Core.Backends;

namespace ImageQueue.Web.Compatibility;

/// <summary>The lists of A1111's API, from what the backends list.</summary>
internal sealed class A1111Lists(IForgeCatalogue catalogue)
{
    private static readonly string[] Paths =
    [
        "/sdapi/v1/txt2img", "/sdapi/v1/options", "/sdapi/v1/sd-models", "/sdapi/v1/samplers", "/sdapi/v1/schedulers", "/sdapi/v1/progress",
        "/sdapi/v1/interrupt", "/sdapi/v1/skip", "/sdapi/v1/memory", "/internal/ping", "/internal/progress", "/internal/pending-tasks",
    ];

    private static readonly string[] RequestFields =
    [
        "prompt", "negative_prompt", "seed", "sampler_name", "scheduler", "steps", "cfg_scale", "distilled_cfg_scale", "width",
        "height", "batch_size", "n_iter", "override_settings", "force_task_id", "send_images",
    ];

    public IEnumerable<object> Samplers => (catalogue.Samplers ?? [])
        .Where(name => !name.StartsWith("k_", StringComparison.Ordinal))
        .Select(name => new { name, aliases = Array.Empty<string>(), options = new Dictionary<string, string>() });

    public IEnumerable<object> Schedulers => (catalogue.Schedulers ?? [])
        .Select(label => new { name = label, label, aliases = (string[]?)null, default_rho = -1.0, need_inner_model = false });

    public IEnumerable<object> Upscalers => catalogue.Lists.Upscalers.Select(name =>
        new { name, model_name = name, model_path = (string?)null, model_url = (string?)null, scale = 4.0 });

    public IEnumerable<object> LatentUpscaleModes => catalogue.Lists.LatentUpscaleModes.Select(name => new { name });

    public IEnumerable<object> Vaes => catalogue.Lists.Vaes.Select(name => new { model_name = name, filename = name });

    public IEnumerable<object> Loras => catalogue.Lists.Loras.Select(name =>
        new { name, alias = name, path = name, metadata = new Dictionary<string, string>() });

    public object Embeddings => new
    {
        loaded = catalogue.Lists.Embeddings.ToDictionary(
            name => name, _ => new { step = (int?)null, sd_checkpoint = (string?)null, sd_checkpoint_name = (string?)null }),
        skipped = new Dictionary<string, object>(),
    };

    public static object Model(string name) =>
        new { title = name, model_name = name, hash = (string?)null, sha256 = (string?)null, filename = name, config = (string?)null };

    public static Dictionary<string, object> Options(string model) => new()
    {
        ["samples_format"] = "png",
        ["sd_model_checkpoint"] = model,
        ["sd_vae"] = "Automatic",
        ["sd_checkpoint_hash"] = "",
        ["CLIP_stop_at_last_layers"] = 1,
        ["live_previews_enable"] = true,
        ["show_progress_every_n_steps"] = 10,
        ["enable_pnginfo"] = false,
        ["return_grid"] = false,
    };

    /// <summary>This process's memory; it has no GPU.</summary>
    public static object Memory()
    {
        var total = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        var used = Environment.WorkingSet;
        return new { ram = new { free = Math.Max(0, total - used), used, total }, cuda = new { error = "unavailable" } };
    }

    /// <summary>The paths, and the fields by which clients tell what a server can do.</summary>
    public static object OpenApi() => new
    {
        openapi = "3.1.0",
        info = new { title = "ImageQueue", version = "1" },
        paths = Paths.ToDictionary(path => path, _ => new Dictionary<string, object>()),
        components = new
        {
            schemas = new
            {
                StableDiffusionProcessingTxt2Img = new
                {
                    type = "object",
                    properties = RequestFields.ToDictionary(name => name, _ => new Dictionary<string, object>()),
                },
            },
        },
    };
}
