using ImageQueue.Core.Generation;
using ImageQueue.Web.Auth;
using Microsoft.AspNetCore.Mvc;

namespace ImageQueue.Web.Compatibility;

/// <summary>A1111's and Forge's API under <c>/sdapi/v1</c> and <c>/internal</c>: each call becomes requests in the queue.</summary>
/// <remarks>A1111 and Forge <c>modules/api/api.py</c> and <c>modules/progress.py</c>.</remarks>
internal static class A1111Endpoints
{
    public const string Path = "/sdapi/v1";

    public const string InternalPath = "/internal";

    /// <summary>The name of its OpenAPI document, and the first part of its conversations' ids.</summary>
    public const string Name = "a1111";

    /// <summary>A body may hold what is ignored here, such as ControlNet's images.</summary>
    private const int MaxBody = 32 * 1024 * 1024;

    /// <summary>An image and a mask of the largest upload, in base64.</summary>
    private const int MaxBodyWithImages = 56 * 1024 * 1024;

    public static void MapA1111(this IEndpointRouteBuilder app)
    {
        var all = app.MapGroup("").WithGroupName(Name).WithTags("A1111").RequireAuthorization(Access.Submit)
            .WithMetadata(new AnyKeyLocallyAttribute());
        var api = all.MapGroup(Path);
        api.MapPost("/txt2img", GenerateAsync).WithName("txt2img").WithSummary("Generate images from text")
            .Accepts<A1111ImageBody>("application/json").Produces<A1111Images>()
            .WithMetadata(new StreamAttribute()).WithMetadata(new RequestSizeLimitAttribute(MaxBody));
        api.MapPost("/img2img", ChangeAsync).WithName("img2img").WithSummary("Generate images from an image")
            .Accepts<A1111ImageBody>("application/json").Produces<A1111Images>()
            .WithMetadata(new StreamAttribute()).WithMetadata(new RequestSizeLimitAttribute(MaxBodyWithImages));
        api.MapPost("/extra-single-image", UpscaleAsync).WithName("upscale").WithSummary("Upscale an image")
            .Accepts<A1111UpscaleBody>("application/json").Produces<A1111Upscaled>()
            .WithMetadata(new StreamAttribute()).WithMetadata(new RequestSizeLimitAttribute(MaxBodyWithImages));
        api.MapGet(
            "/options",
            (HttpContext http, A1111Calls calls, ModelChoices models) =>
                A1111Lists.Options(calls.ModelOf(http) ?? models.Names.FirstOrDefault("default")))
            .WithSummary("Read the options");
        api.MapPost("/options", SetOptionsAsync).WithSummary("Choose the caller's model");
        api.MapGet("/sd-models", (ModelChoices models) => models.Names.Select(A1111Lists.Model)).WithSummary("List models");
        api.MapGet("/samplers", (A1111Lists lists) => lists.Samplers).WithSummary("List samplers");
        api.MapGet("/schedulers", (A1111Lists lists) => lists.Schedulers).WithSummary("List schedulers");
        api.MapGet("/memory", A1111Lists.Memory).WithSummary("Read the memory");
        api.MapGet("/cmd-flags", () => new Dictionary<string, object>()).WithSummary("Read the command line");
        api.MapGet("/scripts", () => new { txt2img = Array.Empty<string>(), img2img = Array.Empty<string>() }).WithSummary("List scripts");
        api.MapGet("/upscalers", (A1111Lists lists) => lists.Upscalers).WithSummary("List upscalers");
        api.MapGet("/latent-upscale-modes", (A1111Lists lists) => lists.LatentUpscaleModes).WithSummary("List latent upscale modes");
        api.MapGet("/sd-vae", (A1111Lists lists) => lists.Vaes).WithSummary("List VAEs");
        api.MapGet("/loras", (A1111Lists lists) => lists.Loras).WithSummary("List LoRAs");
        api.MapGet("/embeddings", (A1111Lists lists) => lists.Embeddings).WithSummary("List embeddings");
        foreach (var empty in (string[])["hypernetworks", "prompt-styles", "face-restorers"])
            api.MapGet($"/{empty}", () => Array.Empty<object>()).WithSummary($"List {empty}");
        api.MapGet("/progress", ProgressAsync).WithSummary("Read the progress of the caller's image");
        api.MapPost("/interrupt", InterruptAsync).WithSummary("Cancel the caller's images");
        api.MapPost("/skip", SkipAsync).WithSummary("Cancel the caller's image that is being generated");
        var inner = all.MapGroup(InternalPath);
        inner.MapGet("/ping", () => new Dictionary<string, object>()).WithSummary("Ping");
        inner.MapPost("/progress", TaskProgressAsync).Accepts<A1111TaskBody>("application/json").WithSummary("Read the progress of a task");
        inner.MapGet("/pending-tasks", PendingTasksAsync).WithSummary("List the caller's waiting tasks");
        // Clients, ImageQueue's own among them, look here for what a server can do.
        all.MapGet("/openapi.json", A1111Lists.OpenApi).ExcludeFromDescription();
    }

    private static async Task GenerateAsync(
        HttpContext http, ImageCalls calls, A1111Calls a1111, CallAnswer answers, ImageLocator images, ILogger<A1111ImageBody> logger)
    {
        var body = await ReadAsync(http, logger);
        await using var call = await calls.SubmitAsync(a1111.Of(http), a1111.Read(http, body), http.RequestAborted);
        await answers.WriteAsync(http, call, stop => AnswerAsync(call.Messages, body, images, stop));
    }

    private static async Task ChangeAsync(
        HttpContext http, SourceCalls calls, A1111Calls a1111, CallAnswer answers, ImageLocator images, ILogger<A1111ImageBody> logger)
    {
        var body = await ReadAsync(http, logger);
        await using var call = await calls.SubmitAsync(a1111.Of(http), body.ToSource(), a1111.Read(http, body), http.RequestAborted);
        var shown = body with { InitImages = null, Mask = null }; // As A1111 answers.
        await answers.WriteAsync(http, call, stop => AnswerAsync(call.Messages, shown, images, stop));
    }

    private static async Task UpscaleAsync(HttpContext http, SourceCalls calls, A1111Calls a1111, CallAnswer answers, ImageLocator images)
    {
        var body = await CompatibilityJson.ReadAsync<A1111UpscaleBody>(http.Request, http.RequestAborted);
        var request = A1111UpscaleBody.Request with { IdempotencyKey = ImageCalls.KeyOf(http) };
        await using var call = await calls.SubmitAsync(a1111.Of(http), body.ToSource(), request, http.RequestAborted);
        await answers.WriteAsync(http, call, async stop => new A1111Upscaled(
            Convert.ToBase64String(await images.ReadAsync(call.Messages[0], stop)),
            $"<p>Postprocess upscale by: {body.UpscalingResize ?? 2}</p>"));
    }

    private static async Task<A1111ImageBody> ReadAsync(HttpContext http, ILogger logger)
    {
        var body = await CompatibilityJson.ReadAsync<A1111ImageBody>(http.Request, http.RequestAborted);
        if (body.AlwaysonScripts is { Count: > 0 } scripts)
            logger.LogInformation("Scripts of a call are ignored: {Scripts}.", string.Join(", ", scripts.Keys));
        return body;
    }

    /// <summary>What was interrupted is left out, as A1111 does; what failed fails the call.</summary>
    private static async Task<object> AnswerAsync(
        IReadOnlyList<Message> messages, A1111ImageBody body, ImageLocator images, CancellationToken cancellationToken)
    {
        var encoded = new List<string>();
        var complete = messages.Where(message => message.Status is not (MessageStatus.Cancelled or MessageStatus.Deleted)).ToList();
        foreach (var message in complete)
        {
            var png = await images.ReadAsync(message, cancellationToken);
            if (body.SendImages != false)
                encoded.Add(Convert.ToBase64String(png));
        }

        return new A1111Images(encoded, body, A1111Images.InfoOf(complete is [] ? messages : complete));
    }

    private static async Task<object> SetOptionsAsync(HttpContext http, A1111Calls calls)
    {
        var options = await CompatibilityJson.ReadAsync<Dictionary<string, JsonElement>>(http.Request, http.RequestAborted);
        if (options.TryGetValue("sd_model_checkpoint", out var model) && model.ValueKind == JsonValueKind.String)
            calls.Choose(http, model.GetString());
        return new { };
    }

    private static Task<object> ProgressAsync(HttpContext http, A1111Task tasks, bool? skip_current_image) =>
        tasks.GlobalAsync(http, withImage: skip_current_image != true, http.RequestAborted);

    private static async Task<object> InterruptAsync(HttpContext http, A1111Task tasks)
    {
        await tasks.InterruptAsync(http, http.RequestAborted);
        return new { };
    }

    private static async Task<object> SkipAsync(HttpContext http, A1111Task tasks)
    {
        await tasks.SkipAsync(http, http.RequestAborted);
        return new { };
    }

    private static async Task<object> TaskProgressAsync(HttpContext http, A1111Task tasks)
    {
        var body = await CompatibilityJson.ReadAsync<A1111TaskBody>(http.Request, http.RequestAborted);
        return await tasks.ProgressAsync(http, body, http.RequestAborted);
    }

    private static async Task<object> PendingTasksAsync(HttpContext http, A1111Task tasks)
    {
        var waiting = await tasks.WaitingAsync(http, http.RequestAborted);
        return new { size = waiting.Count, tasks = waiting };
    }
}
