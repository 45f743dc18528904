using SkiaSharp;

namespace ImageQueue.Web.Simulator;

/// <summary>A request as the server understands it, its progress, and its answer.</summary>
/// <remarks>Source of the answer's <c>info</c>: <c>modules/processing.py</c>, Processed.js.</remarks>
internal sealed class SimulatedTask(
    SimulatorRequest request, SimulatedSource? source, SimulatorProfile profile, SimulatedModel model, DateTimeOffset now)
{
    private readonly (string? Sampler, string Scheduler) _found =
        SimulatorCatalogue.FindSampler(request.SamplerName, request.Scheduler, profile.HasSchedulers);

    private KeptPreview? _preview;

    public SimulatorRequest Request { get; } = request;

    /// <summary>The image to vary or upscale; null: a new one is made.</summary>
    public SimulatedSource? Source { get; } = source;

    public SimulatorProfile Profile { get; } = profile;
    public SimulatedModel Model { get; } = model;
    public long Seed { get; } = request.Seed < 0 ? Random.Shared.NextInt64(1L << 32) : request.Seed;
    public int Width { get; } = SideOf(request, request.Width, source?.Width);
    public int Height { get; } = SideOf(request, request.Height, source?.Height);
    public string Timestamp { get; } = now.ToString("yyyyMMddHHmmss", CultureInfo.InvariantCulture);

    public SKEncodedImageFormat Format { get; } = SimulatorCatalogue.Override(request.OverrideSettings, "samples_format") switch
    {
        "jpg" or "jpeg" => SKEncodedImageFormat.Jpeg,
        "webp" => SKEncodedImageFormat.Webp,
        _ => SKEncodedImageFormat.Png,
    };

    /// <summary>An error, where options are looked at.</summary>
    public string? UnknownOption { get; } = profile.TakesAnyOption
        ? null
        : request.OverrideSettings?.EnumerateObject().Select(option => option.Name).FirstOrDefault(
            name => !SimulatorCatalogue.OptionsOf(profile).ContainsKey(name));

    public string? UnknownSampler =>
        _found.Sampler is null && Request.SamplerName is { } name && Profile.FailsOnUnknownSampler ? name : null;

    public string? UnknownUpscaler => SimulatorCatalogue.UpscalerNames.Contains(Request.Upscaler) ? null : Request.Upscaler;

    private string Sampler => _found.Sampler ?? SimulatorCatalogue.DefaultSampler;

    /// <summary>
    /// Image to image samples the share of the steps that its strength says (<c>modules/sd_samplers_common.py</c>, setup_img2img_steps).
    /// </summary>
    public int Steps => Request.DenoisingStrength is { } strength
        ? Math.Max(1, (int)(Math.Clamp(strength, 0, 0.999) * Request.Steps))
        : Request.Steps;

    public string JobName => Request.Call switch
    {
        SimulatorCall.ImageToImage => "scripts_img2img",
        SimulatorCall.Upscale => "extras",
        _ => "scripts_txt2img",
    };

    public int Jobs => Request.NIter;
    public int BatchSize => Request.BatchSize;
    public long ImageCount => (long)Request.NIter * Request.BatchSize;

    /// <summary>Whether an interrupt cut it short.</summary>
    public bool Interrupted { get; set; }

    /// <summary>How far sampling was at the interrupt.</summary>
    public double Reached { get; set; }

    /// <summary>The finished share of the image of each job that came to its end.</summary>
    public List<double> Done { get; } = [];

    public SimulatedAnswer? Failure { get; set; }

    /// <summary>An upscaler gives any size; latents are an eighth of the size, and the rest is lost.</summary>
    private static int SideOf(SimulatorRequest request, int asked, int? source) =>
        request.Call == SimulatorCall.Upscale && source is { } side
            ? (int)Math.Clamp(side * (request.Upscaler == SimulatorCatalogue.NoUpscaler ? 1 : request.UpscalingResize), 0, int.MaxValue)
            : asked / 8 * 8;

    /// <summary>The images, and with several the grid before them, as <c>return_grid</c> has it.</summary>
    public IReadOnlyList<byte[]> Encode(SKEncodedImageFormat format, bool isBlack)
    {
        if (!Request.SendImages)
            return [];
        if (Request.Call == SimulatorCall.Upscale && Source is { } source && !isBlack)
            return [SceneRenderer.Resample(source, Width, Height, Request.Upscaler == SimulatorCatalogue.NearestUpscaler, format)];

        var images = Done.SelectMany((finished, job) => Enumerable.Range(job * BatchSize, BatchSize)
            .Select(n => isBlack
                ? SceneRenderer.Black(Width, Height, format)
                : SceneRenderer.Draw(Request.Prompt, Seed + n, Width, Height, finished, format, Start))).ToList();
        return images.Count > 1 ? [SceneRenderer.Grid(images, Width, Height), .. images] : images;
    }

    /// <summary>The live preview at a sampling step, drawn once.</summary>
    public byte[] Preview(int step)
    {
        if (_preview is { } kept && kept.Step == step)
            return kept.Jpeg;
        var jpeg = SceneRenderer.Preview(Request.Prompt, Seed, Width, Height, step / (double)Steps, Start);
        _preview = new KeptPreview(step, jpeg); // By reference: several requests may draw it at once.
        return jpeg;
    }

    /// <summary>Forge's 200.</summary>
    public SimulatedAnswer Answer(IReadOnlyList<byte[]> images) => Request.Call == SimulatorCall.Upscale
        ? SimulatedAnswer.Json(new
        {
            html_info = string.Create(
                CultureInfo.InvariantCulture,
                $"<p>Postprocess upscale by: {Request.UpscalingResize}, Postprocess upscaler: {Request.Upscaler}</p>"),
            image = images.Count > 0 ? images[0] : null,
        })
        : SimulatedAnswer.Json(new { images, parameters = Parameters(), info = Profile.HasInfo ? SimulatorJson.Text(Info()) : "" });

    private object Parameters() => new
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
        denoising_strength = Request.DenoisingStrength,
    };

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
            steps = Request.Steps,
            batch_size = BatchSize,
            restore_faces = false,
            face_restoration_model = (string?)null,
            sd_model_name = Profile.HasOneModel ? Model.Filename : Model.BareName, // sd-server names the file.
            sd_model_hash = Model.Hash,
            sd_vae_name = (string?)null,
            sd_vae_hash = (string?)null,
            seed_resize_from_w = -1,
            seed_resize_from_h = -1,
            denoising_strength = Request.DenoisingStrength,
            extra_generation_params = new { },
            index_of_first_image = Done.Count * BatchSize > 1 ? 1 : 0,
            infotexts = Enumerable.Range(0, count).Select(n => string.Create(
                CultureInfo.InvariantCulture,
                $"{Request.Prompt}\nSteps: {Request.Steps}, Sampler: {Sampler}, Schedule type: {_found.Scheduler}, "
                + $"CFG scale: {Request.CfgScale}, Distilled CFG Scale: {Request.DistilledCfgScale}, Seed: {Seed + n}, "
                + $"Size: {Width}x{Height}, Model hash: {Model.Hash}, Model: {Model.BareName}, Version: simulated")),
            styles = Array.Empty<string>(),
            job_timestamp = Timestamp,
            clip_skip = 1,
            is_using_inpainting_conditioning = false,
            version = "simulated",
        };
    }

    private SceneStart? Start => Source is null
        ? null
        : new(
            Source, Request.DenoisingStrength ?? 0, Math.Clamp(Request.MaskBlur, 0, 64),
            KeepsContent: Source.Mask is null || Request.InpaintingFill == 1);

    private sealed record KeptPreview(int Step, byte[] Jpeg);
}
