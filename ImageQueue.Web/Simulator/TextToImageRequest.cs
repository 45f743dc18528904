using System.Text.Json;

namespace ImageQueue.Web.Simulator;

/// <summary>A txt2img request with Forge's defaults, read and checked as pydantic does: wrong types are errors, unknown keys are not.</summary>
/// <remarks>Source: <c>modules/api/models.py</c> (fields come from <c>modules/processing.py</c>).</remarks>
internal sealed record TextToImageRequest
{
    public string Prompt { get; private init; } = "";
    public string NegativePrompt { get; private init; } = "";
    public long Seed { get; private init; } = -1;
    public int Steps { get; private init; } = 50;
    public double CfgScale { get; private init; } = 7;
    public double DistilledCfgScale { get; private init; } = 3.5;
    public int Width { get; private init; } = 512;
    public int Height { get; private init; } = 512;
    public int BatchSize { get; private init; } = 1;
    public int NIter { get; private init; } = 1;
    public string? SamplerName { get; private init; }
    public string? Scheduler { get; private init; }
    public bool SendImages { get; private init; } = true;
    public bool SaveImages { get; private init; }
    public JsonElement? OverrideSettings { get; private init; }
    public bool OverrideSettingsRestoreAfterwards { get; private init; } = true;
    public string? ForceTaskId { get; private init; }

    /// <summary>The first field that was sent as null although the painting needs it: pydantic lets it pass, and the painting then fails.</summary>
    public string? NullField { get; private init; }

    /// <summary>Reads a body.</summary>
    /// <returns>The request, or the errors of FastAPI's 422.</returns>
    public static (TextToImageRequest? Request, IReadOnlyList<object> Errors) Read(ReadOnlyMemory<byte> body)
    {
        var (document, errors) = PydanticFields.Parse(body);
        if (document is null)
        {
            return (null, errors);
        }

        using (document)
        {
            var fields = new PydanticFields(document.RootElement);
            if (document.RootElement.ValueKind != JsonValueKind.Object)
            {
                return (null, fields.Errors);
            }

            var request = new TextToImageRequest
            {
                Prompt = fields.Text("prompt") ?? "",
                NegativePrompt = fields.Text("negative_prompt") ?? "",
                Seed = fields.Integer("seed") ?? -1,
                Steps = (int)(fields.Integer("steps", int.MaxValue) ?? 50),
                CfgScale = fields.Number("cfg_scale") ?? 7,
                DistilledCfgScale = fields.Number("distilled_cfg_scale") ?? 3.5,
                Width = (int)(fields.Integer("width", int.MaxValue) ?? 512),
                Height = (int)(fields.Integer("height", int.MaxValue) ?? 512),
                BatchSize = (int)(fields.Integer("batch_size", int.MaxValue) ?? 1),
                NIter = (int)(fields.Integer("n_iter", int.MaxValue) ?? 1),
                SamplerName = fields.Text("sampler_name") ?? fields.Text("sampler_index"),
                Scheduler = fields.Text("scheduler"),
                SendImages = fields.Flag("send_images") ?? true,
                SaveImages = fields.Flag("save_images") ?? false,
                OverrideSettings = fields.Object("override_settings"),
                OverrideSettingsRestoreAfterwards = fields.Flag("override_settings_restore_afterwards") ?? true,
                ForceTaskId = fields.Text("force_task_id"),
                NullField = fields.FirstNull("prompt", "seed", "steps", "width", "height", "cfg_scale", "batch_size", "n_iter"),
            };
            return fields.Errors.Count == 0 ? (request, []) : (null, fields.Errors);
        }
    }
}
