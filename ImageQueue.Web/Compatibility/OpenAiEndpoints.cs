using System.Text.Json.Serialization;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Requests;
using ImageQueue.Web.Api;
using ImageQueue.Web.Auth;
using ImageQueue.Web.Errors;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Mvc;

namespace ImageQueue.Web.Compatibility;

/// <summary>OpenAI's images API under <c>/v1</c>: each call becomes requests in the queue.</summary>
/// <remarks>https://platform.openai.com/docs/api-reference/images</remarks>
internal static class OpenAiEndpoints
{
    public const string Path = "/v1";

    /// <summary>The name of its OpenAPI document, and the first part of its conversations' ids.</summary>
    public const string Name = "openai";

    /// <summary>A request must have a prompt.</summary>
    private const string VariationPrompt = "a variation of this image";

    public static void MapOpenAi(this IEndpointRouteBuilder app)
    {
        var api = app.MapGroup(Path).WithGroupName(Name).WithTags("OpenAI").RequireAuthorization(Access.Submit)
            .WithMetadata(new AnyKeyLocallyAttribute());
        api.MapPost("/images/generations", GenerateAsync).WithName("createImage").WithSummary("Generate images")
            .Accepts<OpenAiImageBody>("application/json").Produces<OpenAiImages>().WithMetadata(new StreamAttribute());
        api.MapPost("/images/edits", (HttpContext http, SourceCalls calls, OpenAiCalls openAi, OpenAiResults results) =>
                EditAsync(http, calls, openAi, results, otherwise: null)).WithName("createImageEdit").WithSummary("Edit an image")
            .AcceptsForm().Produces<OpenAiImages>()
            .WithMetadata(new StreamAttribute()).WithMetadata(new RequestSizeLimitAttribute(OpenAiForms.MaxBody));
        // OpenAI's variations have no prompt; a form may bring one all the same.
        api.MapPost("/images/variations", (HttpContext http, SourceCalls calls, OpenAiCalls openAi, OpenAiResults results) =>
                EditAsync(http, calls, openAi, results, VariationPrompt)).WithName("createImageVariation").WithSummary("Vary an image")
            .AcceptsForm().Produces<OpenAiImages>()
            .WithMetadata(new StreamAttribute()).WithMetadata(new RequestSizeLimitAttribute(OpenAiForms.MaxBody));
        api.MapGet("/models", (ModelChoices models) => new OpenAiModels("list", [.. NamesOf(models).Select(OpenAiModel.Of)]))
            .WithName("listOpenAiModels").WithSummary("List models");
        api.MapGet("/models/{**id}", GetModel).WithName("getOpenAiModel").WithSummary("Get a model");
    }

    private static IEnumerable<string> NamesOf(ModelChoices models) => models.Names is { Count: > 0 } names ? names : ["default"];

    private static Ok<OpenAiModel> GetModel(string id, ModelChoices models) =>
        NamesOf(models).FirstOrDefault(name => name.Equals(id, StringComparison.OrdinalIgnoreCase)) is { } name
            ? TypedResults.Ok(OpenAiModel.Of(name))
            : throw UnknownModel(id, models);

    internal static ProblemException UnknownModel(string name, ModelChoices models) => new(
        ProblemCodes.UnknownModel,
        $"The model '{name}' does not exist here. Send one of these, or leave model out: {string.Join(", ", NamesOf(models))}.",
        status: StatusCodes.Status404NotFound);

    private static async Task GenerateAsync(HttpContext http, ImageCalls calls, OpenAiCalls openAi, OpenAiResults results)
    {
        var body = await CompatibilityJson.ReadAsync<OpenAiImageBody>(http.Request, http.RequestAborted);
        var (caller, request) = openAi.Read(http, body);
        await using var call = await calls.SubmitAsync(caller, request, http.RequestAborted);
        await results.WriteAsync(http, call, body, "image_generation");
    }

    /// <param name="otherwise">The prompt of a form without one; null: there must be one.</param>
    private static async Task EditAsync(HttpContext http, SourceCalls calls, OpenAiCalls openAi, OpenAiResults results, string? otherwise)
    {
        var (body, start) = await OpenAiForms.ReadAsync(http.Request, http.RequestAborted);
        if (otherwise is not null && string.IsNullOrWhiteSpace(body.Prompt))
            body = body with { Prompt = otherwise };
        var (caller, request) = openAi.Read(http, body);
        await using var call = await calls.SubmitAsync(caller, start, request, http.RequestAborted);
        await results.WriteAsync(http, call, body, "image_edit");
    }
}

/// <summary>Reads what calls for images have in common: the caller and the model.</summary>
internal sealed class OpenAiCalls(Callers callers, ModelChoices models, IOptions<CompatibilityOptions> options)
{
    /// <summary>Whose the call is, and its request.</summary>
    /// <exception cref="ProblemException">A field is not valid.</exception>
    public (Caller Caller, ImageRequest Request) Read(HttpContext http, OpenAiImageBody body)
    {
        if (models.Find(body.Model) is not { } model)
        {
            model = options.Value.OpenAi.UnknownModels == UnknownModels.Refuse
                ? throw OpenAiEndpoints.UnknownModel(body.Model ?? "", models)
                : default;
        }

        return (callers.Of(http, OpenAiEndpoints.Name, body.User), body.ToRequest(model, ImageCalls.KeyOf(http)));
    }
}

/// <summary>A list of models.</summary>
internal sealed record OpenAiModels(string Object, IReadOnlyList<OpenAiModel> Data);

/// <summary>A model, as OpenAI's API lists it.</summary>
internal sealed record OpenAiModel(string Id, string Object, long Created, string OwnedBy)
{
    /// <summary>When a model was made is not known here: 0.</summary>
    public static OpenAiModel Of(string name) => new(name, "model", Created: 0, "imagequeue");
}

/// <summary>The answer to a call for images.</summary>
internal sealed record OpenAiImages(long Created, IReadOnlyList<OpenAiImage> Data, OpenAiUsage Usage);

/// <summary>An image: its bytes in base64, or its address.</summary>
internal sealed record OpenAiImage(string? B64Json, string? Url, string? RevisedPrompt);

/// <summary>Tokens, which nothing here counts: 0.</summary>
internal sealed record OpenAiUsage(int TotalTokens, int InputTokens, int OutputTokens, OpenAiInputTokens InputTokensDetails)
{
    /// <summary>No tokens.</summary>
    public static OpenAiUsage None { get; } = new(0, 0, 0, new(0, 0));
}

/// <summary>The parts of <see cref="OpenAiUsage.InputTokens"/>.</summary>
internal sealed record OpenAiInputTokens(int TextTokens, int ImageTokens);

/// <summary>An image as an event: a preview with its index, or the whole one with its usage.</summary>
internal sealed record OpenAiEvent(
    string Type, string B64Json, long CreatedAt, string Size, string Quality, string Background, string OutputFormat)
{
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public int? PartialImageIndex { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public OpenAiUsage? Usage { get; init; }
}

/// <summary>Writes the images of a call, at its end or as events.</summary>
internal sealed class OpenAiResults(
    CallAnswer answers, CallWaits waits, ImageLocator images, ImageFiles files, WatcherTokens tokens, IMessageStore store,
    TimeProvider time)
{
    /// <summary>As long as OpenAI's addresses are good for.</summary>
    private static readonly TimeSpan UrlLifetime = TimeSpan.FromHours(1);

    /// <param name="events">The first part of the events' names.</param>
    public Task WriteAsync(HttpContext http, ImageCall call, OpenAiImageBody body, string events) => body.Stream == true
        ? StreamAsync(http, call, body, events)
        : answers.WriteAsync(http, call, async cancellationToken => await OfAsync(http, call.Messages, body, cancellationToken));

    /// <summary>The answer once all requests have ended.</summary>
    /// <exception cref="ProblemException">One of them has no image.</exception>
    private async Task<OpenAiImages> OfAsync(
        HttpContext http, IReadOnlyList<Message> messages, OpenAiImageBody body, CancellationToken cancellationToken)
    {
        var data = new List<OpenAiImage>(messages.Count);
        foreach (var message in messages)
        {
            data.Add(body.WantsUrl && message.ImageUrl is not null
                ? new(null, await UrlOfAsync(http.Request, message, cancellationToken), message.Prompt)
                : new(Convert.ToBase64String(await ReadAsync(message, body, cancellationToken)), null, message.Prompt));
        }

        return new(time.GetUtcNow().ToUnixTimeSeconds(), data, OpenAiUsage.None);
    }

    /// <summary>
    /// The absolute address of a complete message's image, good for an hour. It needs no header: it carries a token for that image alone.
    /// </summary>
    private async Task<string> UrlOfAsync(HttpRequest request, Message message, CancellationToken cancellationToken)
    {
        var owner = (await store.FindConversationAsync(message.ConversationId, cancellationToken))?.Username ?? "";
        var (token, _) = tokens.Issue(new WatcherToken(message.ConversationId, owner, message.JobId ?? ""), UrlLifetime);
        return $"{request.Scheme}://{request.Host}{request.PathBase}{message.ImageUrl}{QueryString.Create("access_token", token)}";
    }

    /// <summary>
    /// Writes Server-Sent Events: previews while an image is generated, each image when it is complete, and an error in its place.
    /// </summary>
    private async Task StreamAsync(HttpContext http, ImageCall call, OpenAiImageBody body, string events)
    {
        var stop = http.RequestAborted;
        http.Response.ContentType = "text/event-stream";
        http.Response.Headers.CacheControl = "no-cache";
        http.Response.Headers["X-Accel-Buffering"] = "no"; // nginx gathers an answer until it is whole otherwise.
        await http.Response.Body.FlushAsync(stop);
        var previews = call.Messages.ToDictionary(message => message.Id, _ => (Sent: 0, Last: Array.Empty<byte>()));
        var isDone = new HashSet<long>();
        try
        {
            await WriteEndedAsync(call.Messages);
            await foreach (var changes in call.ChangesAsync(waits, stop))
            {
                if (changes.Count == 0)
                {
                    // A comment (WHATWG HTML, 9.2.6): clients pass over it, and proxies see that the connection lives.
                    await http.Response.WriteAsync(": waiting\n\n", stop);
                    await http.Response.Body.FlushAsync(stop);
                }

                var partial = changes.Where(
                    message => message.PreviewUrl is not null && previews[message.Id].Sent < (body.PartialImages ?? 0));
                foreach (var message in partial)
                    await WritePreviewAsync(message);
                await WriteEndedAsync(changes);
            }
        }
        catch (ProblemException e)
        {
            await WriteErrorAsync(e);
        }

        async Task WritePreviewAsync(Message message)
        {
            var (sent, last) = previews[message.Id];
            if (files.ReadPreview(message.JobId ?? "") is not { } jpeg || jpeg.AsSpan().SequenceEqual(last))
                return; // A row changes more often than its preview.
            var image = EventOf("partial_image", message, ImageFormats.Convert(jpeg, body.Format, body.OutputCompression));
            await WriteAsync(image.Type, image with { PartialImageIndex = sent });
            previews[message.Id] = (sent + 1, jpeg);
        }

        async Task WriteEndedAsync(IEnumerable<Message> messages)
        {
            foreach (var message in messages.Where(message => MessageWait.HasEnded(message) && isDone.Add(message.Id)))
            {
                try
                {
                    var image = EventOf("completed", message, await ReadAsync(message, body, stop));
                    await WriteAsync(image.Type, image with { Usage = OpenAiUsage.None });
                }
                catch (ProblemException e)
                {
                    await WriteErrorAsync(e); // The other images go on.
                }
            }
        }

        Task WriteErrorAsync(ProblemException e) => WriteAsync(
            "error", new { type = "error", error = (ProblemShapes.BodyOf(e.Problem, http) as OpenAiErrorBody)?.Error });

        OpenAiEvent EventOf(string kind, Message message, byte[] image) => new(
            $"{events}.{kind}", Convert.ToBase64String(image), time.GetUtcNow().ToUnixTimeSeconds(), SizeOf(message), "auto", "opaque",
            body.Format);

        async Task WriteAsync<T>(string name, T data)
        {
            await http.Response.WriteAsync($"event: {name}\ndata: {JsonSerializer.Serialize(data, CompatibilityJson.Options)}\n\n", stop);
            await http.Response.Body.FlushAsync(stop);
        }
    }

    private static string SizeOf(Message message)
    {
        var settings = GenerationSettings.Of(message);
        return string.Create(CultureInfo.InvariantCulture, $"{settings.Width}x{settings.Height}");
    }

    private async Task<byte[]> ReadAsync(Message message, OpenAiImageBody body, CancellationToken cancellationToken) =>
        ImageFormats.Convert(await images.ReadAsync(message, cancellationToken), body.Format, body.OutputCompression);
}
