using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using ImageQueue.Core.Requests;
using ImageQueue.Web.Errors;
using ImageQueue.Web.Push;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.OpenApi;

namespace ImageQueue.Web.Api.Description;

/// <summary>
/// The API's description (OpenAPI 3.1): made of the code itself, and of what code cannot say, which is in
/// <c>openapi.overlay.json</c> beside this file and merged over it (RFC 7396). Made once; nothing in it depends on who asks.
/// </summary>
internal sealed class ApiDocument([FromKeyedServices(ApiDocument.Name)] IOpenApiDocumentProvider generated)
{
    /// <summary>Its name and version.</summary>
    public const string Name = "v1";

    /// <summary>Where it is.</summary>
    public const string Path = "/openapi/v1.json";

    private const string Codes = "x-codes";
    private const string ProblemSchema = "#/components/schemas/Problem";

    /// <summary>What every call that is not everybody's may answer.</summary>
    private static readonly (int Status, string Code)[] OfWhoMayAsk =
    [
        (StatusCodes.Status401Unauthorized, ProblemCodes.Unauthorized),
        (StatusCodes.Status403Forbidden, ProblemCodes.Forbidden),
        (StatusCodes.Status429TooManyRequests, ProblemCodes.RateLimited),
    ];

    private static readonly string[] Methods = ["get", "post", "put", "patch", "delete"];

    private static readonly JsonSerializerOptions Written = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, WriteIndented = true };

    private readonly Lock _lock = new();
    private Task<byte[]>? _written;

    /// <summary>The document in UTF-8.</summary>
    public Task<byte[]> GetAsync()
    {
        lock (_lock)
            return _written is null or { IsFaulted: true } or { IsCanceled: true } ? _written = WriteAsync() : _written;
    }

    /// <summary>What each call may answer with, from its attributes; and the objects that are pushed, which no call returns.</summary>
    public static void Configure(OpenApiOptions options)
    {
        options.OpenApiVersion = OpenApiSpecVersion.OpenApi3_1;
        options.AddOperationTransformer((operation, context, _) =>
        {
            var metadata = context.Description.ActionDescriptor.EndpointMetadata;
            var problems = metadata.OfType<ProblemAttribute>().SelectMany(problem => problem.Codes.Select(code => (problem.StatusCode, code))).ToList();
            if (metadata.OfType<IAuthorizeData>().Any())
                problems.AddRange(OfWhoMayAsk);
            foreach (var same in problems.GroupBy(problem => problem.StatusCode, problem => problem.code))
                Describe(operation, same.Key, [.. same.Distinct(StringComparer.Ordinal)]);
            return Task.CompletedTask;
        });
        options.AddDocumentTransformer(async (document, context, cancellationToken) =>
            document.AddComponent(nameof(ImageProgressEvent), await context.GetOrCreateSchemaAsync(typeof(ImageProgressEvent), cancellationToken: cancellationToken)));
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

    private async Task<byte[]> WriteAsync()
    {
        var document = await generated.GetOpenApiDocumentAsync(CancellationToken.None);
        var json = JsonNode.Parse(await document.SerializeAsJsonAsync(OpenApiSpecVersion.OpenApi3_1, CancellationToken.None))!.AsObject(); // It has just been written.
        foreach (var (path, item) in json["paths"]!.AsObject())
        {
            item!.AsObject().Remove("head"); // HEAD is wherever GET is; saying so for each would double the description.
            foreach (var operation in Methods.Select(method => item[method]).OfType<JsonObject>())
                Complete(operation, isApi: path.StartsWith("/api/", StringComparison.Ordinal));
        }

        LeaveOpen(json["components"]!["schemas"]!.AsObject());
        Merge(json, ReadOverlay());
        return JsonSerializer.SerializeToUtf8Bytes(json, Written);
    }

    private static void Complete(JsonObject operation, bool isApi)
    {
        foreach (var parameter in (operation["parameters"] as JsonArray ?? []).OfType<JsonObject>())
        {
            var schema = parameter["schema"]!.AsObject(); // Every parameter has one.
            WithoutVastNumbers(schema);
            if ((string?)parameter["name"] is ConversationIdAttribute.ParameterName && (string?)parameter["in"] == "path")
                (schema["minLength"], schema["maxLength"]) = (1, ImageRequest.MaxNameLength);
            else if ((string?)parameter["name"] is IdempotencyKeyAttribute.HeaderName)
                (schema["minLength"], schema["maxLength"]) = (1, ImageRequest.MaxIdempotencyKeyLength + 2); // With its quotation marks.
        }

        // The generator gives the body the last parameter's description, which is the cancellation's.
        (operation["requestBody"] as JsonObject)?.Remove("description");

        var responses = operation["responses"]!.AsObject();
        if (isApi)
        {
            responses["500"] = new JsonObject { [Codes] = new JsonArray(ProblemCodes.Unexpected) };
            responses["503"] = new JsonObject { [Codes] = new JsonArray(ProblemCodes.StoreUnavailable) };
        }

        foreach (var (status, response) in responses)
        {
            if (response![Codes] is not JsonArray codes)
                continue;
            response["description"] = string.Join(" or ", codes.Select(code => $"`{code}`: {ProblemCodes.Titles[(string)code!]}"));
            response["content"] = new JsonObject { [ApiProblem.ContentType] = new JsonObject { ["schema"] = new JsonObject { ["$ref"] = ProblemSchema } } };
            if (status is "429" or "503")
                response["headers"] = new JsonObject { ["Retry-After"] = new JsonObject { ["$ref"] = "#/components/headers/Retry-After" } };
        }
    }

    /// <summary>What no reader of JavaScript can hold exactly is no bound worth stating.</summary>
    private static void WithoutVastNumbers(JsonObject schema)
    {
        foreach (var name in new[] { "maximum", "default" })
        {
            if (schema[name] is JsonValue value && value.GetValueKind() == JsonValueKind.Number && value.GetValue<double>() > 9007199254740991)
                schema.Remove(name);
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

    /// <summary>RFC 7396, section 2.</summary>
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
