using System.Text.Encodings.Web;
using System.Text.Json.Serialization;
using ImageQueue.Web.Api;
using ImageQueue.Web.Errors;

namespace ImageQueue.Web.Compatibility;

/// <summary>Reads and writes the JSON of other APIs: fields that are not known are ignored.</summary>
internal static class CompatibilityJson
{
    /// <summary>The type of every answer.</summary>
    public const string ContentType = "application/json; charset=utf-8";

    /// <summary>Snake case, lenient in numbers that come as text.</summary>
    public static JsonSerializerOptions Options { get; } = new(JsonSerializerDefaults.Web)
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        NumberHandling = JsonNumberHandling.AllowReadingFromString,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Skip,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        Converters = { new ImageBytes(), new WholeNumber<int>(), new WholeNumber<long>() },
    };

    /// <exception cref="ProblemException">It is not the JSON object that is expected.</exception>
    public static async Task<T> ReadAsync<T>(HttpRequest request, CancellationToken cancellationToken)
        where T : class
    {
        try
        {
            return await JsonSerializer.DeserializeAsync<T>(request.Body, Options, cancellationToken)
                ?? throw Unreadable("The body is empty; send a JSON object.");
        }
        catch (JsonException e)
        {
            var field = e.Path is { Length: > 2 } path && path.StartsWith("$.", StringComparison.Ordinal) ? path[2..] : "";
            throw Unreadable(field.Length == 0
                ? "The body is not the JSON object that is expected here. Send one, in UTF-8."
                : $"The field {field} is of another type than is expected here.");
        }
    }

    internal static ProblemException Unreadable(string sentence) => new(ProblemCodes.InvalidRequest, sentence);
}
