using System.Text.Json.Serialization;
using ImageQueue.Core.Requests;
using ImageQueue.Web.Errors;

namespace ImageQueue.Web.Compatibility;

/// <summary>The body of <c>POST /v1/images/generations</c>. Fields that are not here are ignored.</summary>
/// <remarks>https://platform.openai.com/docs/api-reference/images/create</remarks>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Skip)]
internal sealed record OpenAiImageBody
{
    /// <summary>The longest side that <see cref="ParseSize"/> reads; what is allowed is the request's to say.</summary>
    private const int MaxDigits = 5;

    private static readonly string[] OutputFormats = ["png", "jpeg", "webp"];

    /// <summary>A model of <c>GET /v1/models</c>.</summary>
    public string? Model { get; init; }

    /// <summary>Required.</summary>
    public string? Prompt { get; init; }

    /// <summary>1..10.</summary>
    public int? N { get; init; }

    /// <summary><c>auto</c>, or width x height such as <c>1024x1024</c>.</summary>
    public string? Size { get; init; }

    /// <summary><c>url</c> or <c>b64_json</c>. Default: as OpenAI has it, url for dall-e models and b64_json for all others.</summary>
    public string? ResponseFormat { get; init; }

    /// <summary><c>png</c>, <c>jpeg</c> or <c>webp</c>; of b64_json.</summary>
    public string? OutputFormat { get; init; }

    /// <summary>0..100; of jpeg and webp.</summary>
    public int? OutputCompression { get; init; }

    /// <summary>The end user: the owner of the conversation.</summary>
    public string? User { get; init; }

    /// <summary>Whether the answer is Server-Sent Events.</summary>
    public bool? Stream { get; init; }

    /// <summary>0..3 previews; with stream.</summary>
    public int? PartialImages { get; init; }

    /// <summary>ImageQueue's own: makes an image reproducible. Several images get seed, seed + 1, ...</summary>
    public long? Seed { get; init; }

    /// <summary>ImageQueue's own.</summary>
    public string? NegativePrompt { get; init; }

    /// <summary>ImageQueue's own.</summary>
    public int? Steps { get; init; }

    /// <summary>Whether the answer holds addresses of images.</summary>
    public bool WantsUrl =>
        ResponseFormat is null ? Model?.StartsWith("dall-e", StringComparison.OrdinalIgnoreCase) == true : ResponseFormat == "url";

    /// <summary>The format of the bytes in the answer.</summary>
    public string Format => OutputFormat ?? "png";

    /// <exception cref="ProblemException">A field is not valid.</exception>
    public ImageRequest ToRequest(ModelChoice model, string? idempotencyKey)
    {
        var rules = new RequestRules();
        rules.Range("n", N, 1, ImageCalls.MaxImages);
        rules.Range("partial_images", PartialImages, 0, 3);
        rules.Range("output_compression", OutputCompression, 0, 100);
        if (ResponseFormat is not (null or "url" or "b64_json"))
            rules.Add("response_format", "response_format must be url or b64_json.");
        if (!OutputFormats.Contains(Format, StringComparer.Ordinal))
            rules.Add("output_format", "output_format must be png, jpeg or webp.");
        var size = ParseSize(Size);
        if (size is null && Size is not (null or "" or "auto"))
            rules.Add("size", "size must be auto, or width x height such as 1024x1024.");
        if (rules.Errors.Count > 0)
            throw new ProblemException(ApiProblem.Unprocessed(rules.Errors));
        return new()
        {
            ConversationId = "",
            Username = "",
            Prompt = Prompt ?? "",
            NegativePrompt = NegativePrompt,
            Width = size?.Width,
            Height = size?.Height,
            Steps = Steps,
            Seed = Seed,
            Count = N,
            Model = model.Model,
            Checkpoint = model.Checkpoint,
            IdempotencyKey = idempotencyKey,
        };
    }

    private static (int Width, int Height)? ParseSize(string? size) =>
        size?.Split('x', 'X') is [{ Length: <= MaxDigits } width, { Length: <= MaxDigits } height]
        && int.TryParse(width, NumberStyles.None, CultureInfo.InvariantCulture, out var w)
        && int.TryParse(height, NumberStyles.None, CultureInfo.InvariantCulture, out var h)
            ? (w, h)
            : null;
}
