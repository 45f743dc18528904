using System.Text.Encodings.Web;
using System.Text.Json.Nodes;
using ImageQueue.Core.Requests;
using ImageQueue.Web.Errors;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.OpenApi;

namespace ImageQueue.Web.Api.Description;

/// <summary>
/// The API's description (OpenAPI 3.1): generated from the code, with
/// <c>openapi.overlay.json</c> merged over it (RFC 7396). Made once, the same for every caller but for the path base.
/// </summary>
internal sealed class ApiDocument([FromKeyedServices(ApiDocument.Name)] IOpenApiDocumentProvider generated)
{
    public const string Name = "v1";

    public const string Path = "/openapi/v1.json";

    private const string Codes = "x-codes";
    private const string ProblemSchema = "#/components/schemas/Problem";

    /// <summary>What every call that needs authorization may answer.</summary>
    private static readonly string[] OfAuthorization = [ProblemCodes.Unauthorized, ProblemCodes.Forbidden, ProblemCodes.RateLimited];

    private static readonly string[] Methods = ["get", "post", "put", "patch", "delete"];

    private static readonly JsonSerializerOptions Written =
        new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, WriteIndented = true };

    private readonly Lock _lock = new();
    private Task<string>? _written;

    /// <param name="pathBase">The path under which the caller finds the app.</param>
    public async Task<string> GetAsync(PathString pathBase)
    {
        Task<string> written;
        lock (_lock)
            written = _written is null or { IsFaulted: true } or { IsCanceled: true } ? _written = WriteAsync() : _written;
        var json = await written;
        return pathBase.HasValue ? json.Replace(Server("/"), Server(pathBase.ToUriComponent()), StringComparison.Ordinal) : json;

        static string Server(string url) => $"\"url\": \"{url}\"";
    }

    /// <summary>Adds each call's problems from its attributes, and the push object, which no call returns.</summary>
    public static void Configure(OpenApiOptions options)
    {
        options.OpenApiVersion = OpenApiSpecVersion.OpenApi3_1;
        options.AddOperationTransformer((operation, context, _) =>
        {
            var metadata = context.Description.ActionDescriptor.EndpointMetadata;
            var problems = metadata.OfType<ProblemAttribute>()
                .SelectMany(problem => problem.Codes.Select(code => (problem.StatusCode, code)))
                .ToList();
            if (metadata.OfType<IAuthorizeData>().Any())
                problems.AddRange(OfAuthorization.Select(code => (ProblemCodes.StatusOf(code), code)));
            foreach (var same in problems.GroupBy(problem => problem.StatusCode, problem => problem.code))
                Describe(operation, same.Key, [.. same.Distinct(StringComparer.Ordinal)]);
            return Task.CompletedTask;
        });
        options.AddDocumentTransformer(async (document, context, cancellationToken) =>
            document.AddComponent(
                nameof(ImageProgressEvent),
                await context.GetOrCreateSchemaAsync(typeof(ImageProgressEvent), cancellationToken: cancellationToken)));
    }

    private static void Describe(OpenApiOperation operation, int status, string[] codes)
    {
        operation.Responses ??= [];
        var key = status.ToString(CultureInfo.InvariantCulture);
        if (operation.Responses.GetValueOrDefault(key) is not OpenApiResponse response)
            operation.Responses[key] = response = new OpenApiResponse();
        response.Extensions ??= new Dictionary<string, IOpenApiExtension>(StringComparer.Ordinal);
        response.Extensions[Codes] = new JsonNodeExtension(new JsonArray([.. codes.Select(code => (JsonNode)code)]));
    }

    private async Task<string> WriteAsync()
    {
        var document = await generated.GetOpenApiDocumentAsync(CancellationToken.None);
        // It has just been written.
        var json = JsonNode.Parse(await document.SerializeAsJsonAsync(OpenApiSpecVersion.OpenApi3_1, CancellationToken.None))!.AsObject();
        foreach (var (path, item) in json["paths"]!.AsObject())
        {
            item!.AsObject().Remove("head"); // HEAD is wherever GET is; saying so for each would double the description.
            foreach (var operation in Methods.Select(method => item[method]).OfType<JsonObject>())
                Complete(operation, isApi: path.StartsWith("/api/", StringComparison.Ordinal));
        }

        LeaveOpen(json["components"]!["schemas"]!.AsObject());
        Merge(json, ReadOverlay());
        return json.ToJsonString(Written);
    }

    private static void Complete(JsonObject operation, bool isApi)
    {
        // The title is verb and noun, as the id has them; what the code says is the description.
        operation["description"] = string.Join("\n\n", new[] { operation["summary"], operation["description"] }.OfType<JsonNode>());
        operation["summary"] = TitleOf((string)operation["operationId"]!); // EveryCall_IsDescribed_Whole holds it.
        foreach (var parameter in (operation["parameters"] as JsonArray ?? []).OfType<JsonObject>())
        {
            var schema = parameter["schema"]!.AsObject(); // Every parameter has one.
            WithoutVastNumbers(schema);
            if ((string?)parameter["name"] is ConversationIdAttribute.ParameterName && (string?)parameter["in"] == "path")
                (schema["minLength"], schema["maxLength"]) = (1, RequestRules.MaxNameLength);
            else if ((string?)parameter["name"] is IdempotencyKeyAttribute.HeaderName)
                (schema["minLength"], schema["maxLength"]) = (1, ImageRequest.MaxIdempotencyKeyLength + 2); // With its quotation marks.
        }

        // The generator gives the body the last parameter's description, which is the cancellation's.
        (operation["requestBody"] as JsonObject)?.Remove("description");

        var responses = operation["responses"]!.AsObject();
        if (isApi)
        {
            responses["500"] = new JsonObject { [Codes] = new JsonArray(ProblemCodes.Unexpected) };
            var unavailable = responses["503"]?[Codes]?.DeepClone().AsArray() ?? [];
            unavailable.Add(ProblemCodes.StoreUnavailable);
            responses["503"] = new JsonObject { [Codes] = unavailable };
        }

        foreach (var (status, response) in responses)
        {
            if (response![Codes] is not JsonArray codes)
                continue;
            response["description"] = string.Join(" or ", codes.Select(code => $"`{code}`: {ProblemCodes.Titles[(string)code!]}"));
            response["content"] =
                new JsonObject { [ApiProblem.ContentType] = new JsonObject { ["schema"] = new JsonObject { ["$ref"] = ProblemSchema } } };
            if (status is "429" or "503")
                response["headers"] = new JsonObject { ["Retry-After"] = new JsonObject { ["$ref"] = "#/components/headers/Retry-After" } };
        }
    }

    private static string TitleOf(string operationId) => string.Concat(operationId.Select((letter, i) =>
        i == 0 ? $"{char.ToUpperInvariant(letter)}" : char.IsUpper(letter) ? $" {char.ToLowerInvariant(letter)}" : $"{letter}"));

    /// <summary>Leaves out bounds that JavaScript numbers cannot hold exactly.</summary>
    private static void WithoutVastNumbers(JsonObject schema)
    {
        foreach (var name in new[] { "maximum", "default" })
        {
            if (schema[name] is JsonValue value
                && value.GetValueKind() == JsonValueKind.Number
                && value.GetValue<double>() > 9007199254740991)
            {
                schema.Remove(name);
            }
        }
    }

    /// <summary>A body that is sent may hold nothing unknown; an answer may hold more in a later release.</summary>
    private static void LeaveOpen(JsonObject schemas)
    {
        foreach (var (name, schema) in schemas)
        {
            if (!name.EndsWith("Body", StringComparison.Ordinal) && schema!["additionalProperties"] is JsonValue)
                schema.AsObject().Remove("additionalProperties");
        }
    }

    private static void Merge(JsonObject target, JsonObject patch)
    {
        foreach (var (name, value) in patch)
        {
            if (value is null)
                target.Remove(name);
            else if (value is JsonObject inner && target[name] is JsonObject known)
                Merge(known, inner);
            else
                target[name] = value.DeepClone();
        }
    }

    private static JsonObject ReadOverlay()
    {
        const string Resource = "ImageQueue.Web.openapi.overlay.json";
        using var stream = typeof(ApiDocument).Assembly.GetManifestResourceStream(Resource)
            ?? throw new InvalidOperationException($"{Resource} is not embedded.");
        return JsonNode.Parse(stream)!.AsObject(); // An object, or the tests of the document fail.
    }
}
