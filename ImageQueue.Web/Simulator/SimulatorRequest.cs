namespace ImageQueue.Web.Simulator;

/// <summary>A txt2img or img2img request with Forge's defaults: wrong types are errors, unknown keys are not.</summary>
/// <remarks>Source: <c>modules/api/models.py</c> (fields come from <c>modules/processing.py</c>).</remarks>
internal sealed class SimulatorRequest(BodyFields fields, SimulatorCall call)
{
    // In the order in which Forge names what is wrong.
    public SimulatorCall Call { get; } = call;
    public string Prompt { get; } = fields.Text("prompt") ?? "";
    public string NegativePrompt { get; } = fields.Text("negative_prompt") ?? "";
    public long Seed { get; } = fields.Integer("seed") ?? -1;

    /// <summary>An upscale is far less work than an image of that size; the field is checked all the same.</summary>
    public int Steps { get; } = (fields.Count("steps") ?? 50) switch { _ when call == SimulatorCall.Upscale => 1, var steps => steps };

    public double CfgScale { get; } = fields.Number("cfg_scale") ?? 7;
    public double DistilledCfgScale { get; } = fields.Number("distilled_cfg_scale") ?? 3.5;
    public int Width { get; } = fields.Count("width") ?? 512;
    public int Height { get; } = fields.Count("height") ?? 512;
    public int BatchSize { get; } = fields.Count("batch_size") ?? 1;
    public int NIter { get; } = fields.Count("n_iter") ?? 1;
    public string? SamplerName { get; } = fields.Text("sampler_name");
    public string? Scheduler { get; } = fields.Text("scheduler");
    public bool SendImages { get; } = fields.Flag("send_images") ?? true;
    public bool SaveImages { get; } = fields.Flag("save_images") ?? false;
    public JsonElement? OverrideSettings { get; } = fields.Object("override_settings");
    public bool OverrideSettingsRestoreAfterwards { get; } = fields.Flag("override_settings_restore_afterwards") ?? true;
    public string? ForceTaskId { get; } = fields.Text("force_task_id");

    /// <summary>The first field that was sent as null and passes validation, though generating fails on it.</summary>
    public string? NullField { get; } = call switch
    {
        SimulatorCall.Upscale => null, // It has none of these fields.
        SimulatorCall.ImageToImage => fields.FirstNull([.. NumbersAndPrompt, "denoising_strength"]),
        _ => fields.FirstNull(NumbersAndPrompt),
    };

    /// <summary>Base64 of the image to start from, or to upscale.</summary>
    public string? Image { get; } = call switch
    {
        SimulatorCall.ImageToImage => fields.Texts("init_images") is { } images ? images.FirstOrDefault("") : null,
        SimulatorCall.Upscale => fields.Text("image", notNull: true) ?? "",
        _ => null,
    };

    public double? DenoisingStrength { get; } = call == SimulatorCall.ImageToImage ? fields.Number("denoising_strength") ?? 0.75 : null;

    /// <summary>Base64 of a mask: white is generated anew.</summary>
    public string? Mask { get; } = call == SimulatorCall.ImageToImage ? fields.Text("mask") : null;

    public int MaskBlur { get; } = call == SimulatorCall.ImageToImage ? fields.Count("mask_blur") ?? 4 : 0;
    public int InpaintingFill { get; } = call == SimulatorCall.ImageToImage ? fields.Count("inpainting_fill") ?? 0 : 0;

    public string Upscaler { get; } =
        (call == SimulatorCall.Upscale ? fields.Text("upscaler_1", notNull: true) : null) ?? SimulatorCatalogue.NoUpscaler;

    public double UpscalingResize { get; } = call == SimulatorCall.Upscale ? fields.Number("upscaling_resize") ?? 2 : 0;

    private static string[] NumbersAndPrompt { get; } =
        ["prompt", "seed", "steps", "width", "height", "cfg_scale", "batch_size", "n_iter"];

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
