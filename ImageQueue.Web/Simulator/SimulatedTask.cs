using System.Globalization;
using SkiaSharp;

namespace ImageQueue.Web.Simulator;

/// <summary>A request as the server understands it, its progress, and its answer.</summary>
/// <remarks>Source of the answer's <c>info</c>: <c>modules/processing.py</c>, Processed.js.</remarks>
internal sealed record SimulatedTask
{
    private KeptPreview? _preview;

    public required TextToImageRequest Request { get; init; }
    public required long Seed { get; init; }
    public required int Width { get; init; }
    public required int Height { get; init; }
    public required SimulatedModel Model { get; init; }
    public required string Sampler { get; init; }
    public required string Scheduler { get; init; }
    public required string Timestamp { get; init; }
    public required SKEncodedImageFormat Format { get; init; }
    public required SimulatorProfile Profile { get; init; }
    public string? UnknownOption { get; init; }
    public string? UnknownSampler { get; init; }

    public int Steps => Request.Steps;
    public int Jobs => Request.NIter;
    public int BatchSize => Request.BatchSize;
    public long ImageCount => (long)Request.NIter * Request.BatchSize;

    /// <summary>Whether an interrupt cut it short.</summary>
    public bool Interrupted { get; set; }

    /// <summary>How far sampling was at the interrupt.</summary>
    public double Reached { get; set; }

    /// <summary>The finished share of the image of each job that came to its end.</summary>
    public List<double> Done { get; } = [];

    /// <summary>The answer when it failed.</summary>
    public SimulatedAnswer? Failure { get; init; }

    public static SimulatedTask Plan(TextToImageRequest request, SimulatorProfile profile, SimulatedModel model, DateTimeOffset now)
    {
        // An unknown option is an error, where options are looked at.
        var known = profile.HasModules ? SimulatorCatalogue.ForgeOptions : SimulatorCatalogue.Options;
        var unknown = profile.TakesAnyOption
            ? null
            : request.OverrideSettings?.EnumerateObject().Select(option => option.Name).FirstOrDefault(name => !known.ContainsKey(name));
        var (sampler, scheduler) = SimulatorCatalogue.FindSampler(request.SamplerName, request.Scheduler, profile.HasSchedulers);
        return new SimulatedTask
        {
            Request = request,
            Seed = request.Seed < 0 ? Random.Shared.NextInt64(1L << 32) : request.Seed,
            // Latents are an eighth of the size: the rest is lost.
            Width = request.Width / 8 * 8,
            Height = request.Height / 8 * 8,
            Profile = profile,
            Model = model,
            Sampler = sampler ?? SimulatorCatalogue.DefaultSampler,
            Scheduler = scheduler,
            UnknownSampler = sampler is null && request.SamplerName is { } name && profile.FailsOnUnknownSampler ? name : null,
            Timestamp = now.ToString("yyyyMMddHHmmss", CultureInfo.InvariantCulture),
            Format = SimulatorCatalogue.Override(request.OverrideSettings, "samples_format") switch
            {
                "jpg" or "jpeg" => SKEncodedImageFormat.Jpeg,
                "webp" => SKEncodedImageFormat.Webp,
                _ => SKEncodedImageFormat.Png,
            },
            UnknownOption = unknown,
        };
    }

    /// <summary>The images, and with several the grid before them, as <c>return_grid</c> has it.</summary>
    public IReadOnlyList<byte[]> Encode(SKEncodedImageFormat format, bool isBlack)
    {
        if (!Request.SendImages)
        {
            return [];
        }

        var images = Done.SelectMany((finished, job) => Enumerable.Range(job * BatchSize, BatchSize)
            .Select(n => isBlack
                ? SceneRenderer.Black(Width, Height, format)
                : SceneRenderer.Draw(Request.Prompt, Seed + n, Width, Height, finished, format))).ToList();
        return images.Count > 1 ? [SceneRenderer.Grid(images, Width, Height), .. images] : images;
    }

    /// <summary>The live preview at a sampling step, drawn once.</summary>
    public byte[] Preview(int step)
    {
        if (_preview is { } kept && kept.Step == step)
        {
            return kept.Jpeg;
        }

        var jpeg = SceneRenderer.Preview(Request.Prompt, Seed, Width, Height, step / (double)Steps);
        _preview = new KeptPreview(step, jpeg);
        return jpeg;
    }

    /// <summary>Forge's 200.</summary>
    public SimulatedAnswer Answer(IReadOnlyList<byte[]> images) => SimulatedAnswer.Json(new
    {
        images,
        parameters = new
        {
            prompt = Request.Prompt,
            negative_prompt = Request.NegativePrompt,
            seed = Request.Seed,
            batch_size = Request.BatchSize,
            n_iter = Request.NIter,
            steps = Request.Steps,
            cfg_scale = Request.CfgScale,
            distilled_cfg_scale = Request.DistilledCfgScale,
            width = Request.Width,
            height = Request.Height,
            override_settings = Request.OverrideSettings,
            override_settings_restore_afterwards = Request.OverrideSettingsRestoreAfterwards,
            sampler_name = Request.SamplerName,
            scheduler = Request.Scheduler,
            send_images = Request.SendImages,
            save_images = Request.SaveImages,
            force_task_id = Request.ForceTaskId,
        },
        info = Profile.HasInfo ? SimulatorJson.Text(Info()) : "",
    });

    private object Info()
    {
        var count = (int)Math.Clamp(ImageCount, 0, 1000);
        return new
        {
            prompt = Request.Prompt,
            all_prompts = Enumerable.Repeat(Request.Prompt, count),
            negative_prompt = Request.NegativePrompt,
            all_negative_prompts = Enumerable.Repeat(Request.NegativePrompt, count),
            seed = Seed,
            all_seeds = Enumerable.Range(0, count).Select(n => Seed + n),
            subseed = Seed,
            all_subseeds = Enumerable.Range(0, count).Select(n => Seed + n),
            subseed_strength = 0,
            width = Width,
            height = Height,
            sampler_name = Sampler,
            cfg_scale = Request.CfgScale,
            steps = Steps,
            batch_size = BatchSize,
            restore_faces = false,
            face_restoration_model = (string?)null,
            sd_model_name = Profile.HasOneModel ? Model.Filename : Model.BareName, // sd-server names the file.
            sd_model_hash = Model.Hash,
            sd_vae_name = (string?)null,
            sd_vae_hash = (string?)null,
            seed_resize_from_w = -1,
            seed_resize_from_h = -1,
            denoising_strength = (double?)null,
            extra_generation_params = new { },
            index_of_first_image = Done.Count * BatchSize > 1 ? 1 : 0,
            infotexts = Enumerable.Range(0, count).Select(n => string.Create(
                CultureInfo.InvariantCulture,
                $"{Request.Prompt}\nSteps: {Steps}, Sampler: {Sampler}, Schedule type: {Scheduler}, CFG scale: {Request.CfgScale}, "
                + $"Distilled CFG Scale: {Request.DistilledCfgScale}, Seed: {Seed + n}, Size: {Width}x{Height}, "
                + $"Model hash: {Model.Hash}, Model: {Model.BareName}, Version: simulated")),
            styles = Array.Empty<string>(),
            job_timestamp = Timestamp,
            clip_skip = 1,
            is_using_inpainting_conditioning = false,
            version = "simulated",
        };
    }

    private sealed record KeptPreview(int Step, byte[] Jpeg);
}
