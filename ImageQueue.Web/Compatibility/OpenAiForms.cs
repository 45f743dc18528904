using System.Text.Json.Nodes;
using ImageQueue.Core.Requests;
using ImageQueue.Web.Errors;
using Microsoft.AspNetCore.Http.Features;

namespace ImageQueue.Web.Compatibility;

/// <summary>
/// The form of <c>POST /v1/images/edits</c> and <c>/v1/images/variations</c>, for the description. Other fields are ignored, but for
/// those of the JSON of generations.
/// </summary>
internal sealed record OpenAiForm
{
    /// <summary>PNG, JPEG or WebP; of several (<c>image[]</c>) the first is used.</summary>
    public required IFormFile Image { get; init; }

    /// <summary>PNG: what is transparent in it is generated anew. Of edits.</summary>
    public IFormFile? Mask { get; init; }

    /// <summary>Required, but for variations.</summary>
    public string? Prompt { get; init; }

    /// <summary>ImageQueue's own, 0..1: how much changes.</summary>
    public decimal? Strength { get; init; }

    public string? Model { get; init; }

    public int? N { get; init; }

    public string? Size { get; init; }

    public string? ResponseFormat { get; init; }

    public string? OutputFormat { get; init; }

    public string? User { get; init; }

    public bool? Stream { get; init; }
}

/// <summary>Reads forms with an image: the same fields as the JSON of generations, as text.</summary>
internal static class OpenAiForms
{
    /// <summary>Of a whole form; an image is held to less.</summary>
    public const int MaxBody = 4 * UploadImage.MaxBytes;

    private const string MediaType = "multipart/form-data";
    private const string AnyType = "*/*";
    private const string Image = "image";
    private const string Mask = "mask";
    private const string Strength = "strength";
    private const string Stream = "stream";

    /// <summary>
    /// Describes the body. Routing lets any other type pass: it would refuse one without the sentence that says what to send.
    /// </summary>
    public static RouteHandlerBuilder AcceptsForm(this RouteHandlerBuilder call) =>
        call.Accepts<OpenAiForm>(MediaType, AnyType).AddOpenApiOperationTransformer((operation, _, _) =>
        {
            operation.RequestBody?.Content?.Remove(AnyType);
            return Task.CompletedTask;
        });

    /// <summary>The fields, and the image.</summary>
    /// <exception cref="ProblemException">It is no form, or has no image.</exception>
    /// <exception cref="UploadRefusedException">The image or the mask is too large.</exception>
    public static async Task<(OpenAiImageBody Body, CallSource Start)> ReadAsync(HttpRequest request, CancellationToken cancellationToken)
    {
        if (!request.HasFormContentType)
            throw new ProblemException(ProblemCodes.UnsupportedMediaType, $"Send {MediaType}, with the image as a file.");
        IFormCollection form;
        try
        {
            // What is longer than 64 KiB goes into a temporary file until the request ends.
            form = await request.ReadFormAsync(
                new FormOptions { MultipartBodyLengthLimit = MaxBody, ValueCountLimit = 100 }, cancellationToken);
        }
        catch (Exception e) when (e is InvalidDataException or IOException and not BadHttpRequestException)
        {
            cancellationToken.ThrowIfCancellationRequested();
            throw CompatibilityJson.Unreadable($"The form cannot be read. Send {MediaType}, with the image as a file.");
        }

        var image = form.Files.FirstOrDefault(file => file.Name is Image or Image + "[]")
            ?? throw CallSource.InvalidField(Image, "image is missing. Send it as a file of the form.");
        return (
            BodyOf(form),
            new(
                await ReadAsync(image, cancellationToken),
                form.Files.GetFile(Mask) is { } mask ? CallSource.MaskOfTransparency(await ReadAsync(mask, cancellationToken)) : null,
                StrengthOf(form[Strength])));
    }

    private static OpenAiImageBody BodyOf(IFormCollection form)
    {
        var fields = new JsonObject();
        foreach (var (name, values) in form.Where(field => field.Value.Count > 0))
            fields[name] = name == Stream && values[0] is "true" or "false" ? values[0] == "true" : values[0];
        try
        {
            return fields.Deserialize<OpenAiImageBody>(CompatibilityJson.Options)!; // An object.
        }
        catch (JsonException e)
        {
            throw CompatibilityJson.Unreadable($"The field {e.Path?.TrimStart('$', '.')} is of another type than is expected here.");
        }
    }

    private static decimal? StrengthOf(string? text) =>
        string.IsNullOrEmpty(text) ? null
        : decimal.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var strength) && strength <= 1 ? strength
        : throw CallSource.InvalidField(Strength, "strength must be between 0 and 1.");

    private static async Task<byte[]> ReadAsync(IFormFile file, CancellationToken cancellationToken)
    {
        if (file.Length > UploadImage.MaxBytes)
            throw UploadRefusedException.TooLarge();
        var bytes = new byte[file.Length];
        await using var stream = file.OpenReadStream();
        await stream.ReadExactlyAsync(bytes, cancellationToken);
        return bytes;
    }
}
