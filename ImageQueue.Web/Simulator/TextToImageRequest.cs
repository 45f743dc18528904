using System.Text.Json;

namespace ImageQueue.Web.Simulator;

/// <summary>A txt2img request with Forge's defaults: wrong types are errors, unknown keys are not.</summary>
/// <remarks>Source: <c>modules/api/models.py</c> (fields come from <c>modules/processing.py</c>).</remarks>
internal sealed record TextToImageRequest
{
    private TextToImageRequest(BodyFields fields)
    {
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
    }

    public string Prompt { get; }
    public string NegativePrompt { get; }
    public long Seed { get; }
    public int Steps { get; }
    public double CfgScale { get; }
    public double DistilledCfgScale { get; }
    public int Width { get; }
    public int Height { get; }
    public int BatchSize { get; }
    public int NIter { get; }
    public string? SamplerName { get; }
    public string? Scheduler { get; }
    public bool SendImages { get; }
    public bool SaveImages { get; }
    public JsonElement? OverrideSettings { get; }
    public bool OverrideSettingsRestoreAfterwards { get; }
    public string? ForceTaskId { get; }

    /// <summary>The first field that was sent as null and passes validation, though generating fails on it.</summary>
    public string? NullField { get; }

    /// <summary>Reads a body.</summary>
    /// <returns>The request, or the errors of FastAPI's 422.</returns>
    public static (TextToImageRequest? Request, IReadOnlyList<object> Errors) Read(ReadOnlyMemory<byte> body)
    {
        var fields = new BodyFields(body);
        var request = new TextToImageRequest(fields);
        return (fields.Errors.Count == 0 ? request : null, fields.Errors);
    }
}
