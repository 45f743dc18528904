namespace ImageQueue.Web.Simulator;

/// <summary>A txt2img or img2img request with Forge's defaults: wrong types are errors, unknown keys are not.</summary>
/// <remarks>Source: <c>modules/api/models.py</c> (fields come from <c>modules/processing.py</c>).</remarks>
internal sealed record SimulatorRequest
{
    private SimulatorRequest(BodyFields fields, SimulatorCall call)
    {
        Call = call;
        Prompt = fields.Text("prompt") ?? "";
        NegativePrompt = fields.Text("negative_prompt") ?? "";
        Seed = fields.Integer("seed") ?? -1;
        Steps = fields.Count("steps") ?? 50;
        CfgScale = fields.Number("cfg_scale") ?? 7;
        DistilledCfgScale = fields.Number("distilled_cfg_scale") ?? 3.5;
        Width = fields.Count("width") ?? 512;
        Height = fields.Count("height") ?? 512;
        BatchSize = fields.Count("batch_size") ?? 1;
        NIter = fields.Count("n_iter") ?? 1;
        SamplerName = fields.Text("sampler_name");
        Scheduler = fields.Text("scheduler");
        SendImages = fields.Flag("send_images") ?? true;
        SaveImages = fields.Flag("save_images") ?? false;
        OverrideSettings = fields.Object("override_settings");
        OverrideSettingsRestoreAfterwards = fields.Flag("override_settings_restore_afterwards") ?? true;
        ForceTaskId = fields.Text("force_task_id");
        NullField = fields.FirstNull("prompt", "seed", "steps", "width", "height", "cfg_scale", "batch_size", "n_iter");
        if (call == SimulatorCall.ImageToImage)
        {
            Image = fields.Texts("init_images") is { } images ? images is [var first, ..] ? first : "" : null;
            DenoisingStrength = fields.Number("denoising_strength") ?? 0.75;
            Mask = fields.Text("mask");
            MaskBlur = fields.Count("mask_blur") ?? 4;
            InpaintingFill = fields.Count("inpainting_fill") ?? 0;
            NullField ??= fields.FirstNull("denoising_strength");
        }
        else if (call == SimulatorCall.Upscale)
        {
            Image = fields.Text("image", notNull: true) ?? "";
            Upscaler = fields.Text("upscaler_1", notNull: true) ?? SimulatorCatalogue.NoUpscaler;
            UpscalingResize = fields.Number("upscaling_resize") ?? 2;
            NullField = null; // It has none of those fields.
            Steps = 1; // Far less work than an image of that size.
        }
    }

    public SimulatorCall Call { get; }
    public string Prompt { get; }
    public string NegativePrompt { get; }
    public long Seed { get; }
    public int Steps { get; }
    public double CfgScale { get; }
    public double DistilledCfgScale { get; }
    public int Width { get; init; }
    public int Height { get; init; }
    public int BatchSize { get; }
    public int NIter { get; }
    public string? SamplerName { get; }
    public string? Scheduler { get; }
    public bool SendImages { get; }
    public bool SaveImages { get; }
    public JsonElement? OverrideSettings { get; }
    public bool OverrideSettingsRestoreAfterwards { get; }
    public string? ForceTaskId { get; }

    /// <summary>Base64 of the image to start from, or to upscale.</summary>
    public string? Image { get; }

    public double? DenoisingStrength { get; }

    /// <summary>Base64 of a mask: white is generated anew.</summary>
    public string? Mask { get; }

    public int MaskBlur { get; }
    public int InpaintingFill { get; }
    public string Upscaler { get; } = SimulatorCatalogue.NoUpscaler;
    public double UpscalingResize { get; }

    /// <summary>The first field that was sent as null and passes validation, though generating fails on it.</summary>
    public string? NullField { get; }

    /// <summary>Reads a body.</summary>
    /// <returns>The request, or the errors of FastAPI's 422.</returns>
    public static (SimulatorRequest? Request, IReadOnlyList<object> Errors) Read(
        ReadOnlyMemory<byte> body, SimulatorCall call = SimulatorCall.TextToImage)
    {
        var fields = new BodyFields(body);
        var request = new SimulatorRequest(fields, call);
        return (fields.Errors.Count == 0 ? request : null, fields.Errors);
    }
}

/// <summary>The endpoints that make an image.</summary>
internal enum SimulatorCall
{
    /// <summary><c>txt2img</c>.</summary>
    TextToImage,

    /// <summary><c>img2img</c>.</summary>
    ImageToImage,

    /// <summary><c>extra-single-image</c>.</summary>
    Upscale,
}
