using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;
using ImageQueue.Web.Auth;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;

namespace ImageQueue.Web.Api;

/// <summary>The models that images can be generated with.</summary>
[ApiController]
[Tags("Models")]
public sealed class ModelsController(ForgeModels models, IForgeCatalogue catalogue) : ControllerBase
{
    /// <summary>The models that a request may ask for. The first is generated with when a request names none.</summary>
    [HttpGet("/api/models", Name = "listModels")]
    [Authorize(Access.Overview)]
    [ProducesResponseType<ModelList>(StatusCodes.Status200OK, "application/json")]
    public ModelList Get()
    {
        var lists = catalogue.Lists;
        return new([.. models.All.Select(ModelResponse.From)])
        {
            Samplers = [.. catalogue.Samplers ?? []],
            Schedulers = [.. catalogue.Schedulers ?? []],
            Loras = lists.Loras,
            Upscalers = lists.Upscalers,
            Can =
            [
                .. Enum.GetValues<ForgeTask>().Where(task => catalogue.Can(task, []))
                    .Select(task => JsonNamingPolicy.SnakeCaseLower.ConvertName(task.ToString())),
            ],
        };
    }
}

/// <summary>The models that a request may ask for.</summary>
/// <param name="Models">The default first; empty where there is nothing to choose.</param>
public sealed record ModelList(IReadOnlyList<ModelResponse> Models)
{
    /// <summary>Samplers of the healthy backends; empty while not known.</summary>
    public IReadOnlyList<string> Samplers { get; init; } = [];

    /// <summary>Schedulers of the healthy backends; empty while not known.</summary>
    public IReadOnlyList<string> Schedulers { get; init; } = [];

    /// <summary>LoRAs of the healthy backends, for `&lt;lora:name:1&gt;` in a prompt.</summary>
    public IReadOnlyList<string> Loras { get; init; } = [];

    /// <summary>Upscalers of the healthy backends.</summary>
    public IReadOnlyList<string> Upscalers { get; init; } = [];

    /// <summary>What a backend can do, or may be able to: text_to_image, image_to_image, inpaint, upscale.</summary>
    public IReadOnlyList<string> Can { get; init; } = [];
}

/// <summary>A model and its defaults for what a request leaves out.</summary>
/// <param name="Name">What to send as model.</param>
/// <param name="Title">What to show people.</param>
/// <param name="Width">Pixels.</param>
/// <param name="Height">Pixels.</param>
/// <param name="Steps">Sampling steps.</param>
/// <param name="CfgScale">Classifier-free guidance.</param>
/// <param name="DistilledCfgScale">Distilled guidance (Flux).</param>
/// <param name="Sampler">As Forge calls it.</param>
/// <param name="Scheduler">As Forge calls it.</param>
public sealed record ModelResponse(
    string Name, string Title, int Width, int Height, int Steps, decimal CfgScale, decimal DistilledCfgScale, string Sampler,
    string Scheduler)
{
    internal static ModelResponse From(ForgeModel model) => new(
        model.Name, model.Title, model.Defaults.Width.GetValueOrDefault(), model.Defaults.Height.GetValueOrDefault(),
        model.Defaults.Steps.GetValueOrDefault(), model.Defaults.CfgScale.GetValueOrDefault(),
        model.Defaults.DistilledCfgScale.GetValueOrDefault(), model.Defaults.Sampler ?? "", model.Defaults.Scheduler ?? "");
}
