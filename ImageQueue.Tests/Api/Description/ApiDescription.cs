using System.Text.Json.Nodes;
using Json.Schema;

namespace ImageQueue.Tests.Api.Description;

/// <summary>The served description, to compare answers with.</summary>
internal sealed class ApiDescription
{
    private const string Components = "#/components/schemas/";

    private readonly JsonObject _definitions = [];

    private ApiDescription(JsonObject document)
    {
        Document = document;
        foreach (var (name, schema) in document["components"]!["schemas"]!.AsObject())
            _definitions[name] = Strict(schema!.DeepClone());
    }

    public JsonObject Document { get; }

    /// <summary>Every operation by its id.</summary>
    public IEnumerable<(string Id, string Method, string Path, JsonObject Operation)> Operations =>
        from path in Document["paths"]!.AsObject()
        from operation in path.Value!.AsObject()
        where operation.Value is JsonObject
        select ((string)operation.Value!["operationId"]!, operation.Key, path.Key, operation.Value!.AsObject());

    public static async Task<ApiDescription> ReadAsync(HttpClient http) =>
        new(JsonNode.Parse(await http.GetStringAsync("openapi/v1.json"))!.AsObject());

    /// <summary>Follows a reference inside the document.</summary>
    public JsonObject Resolve(JsonNode node)
    {
        while ((string?)node["$ref"] is { } reference)
        {
            node = reference[2..].Split('/').Aggregate(
                (JsonNode)Document, (at, step) => at[step] ?? throw new InvalidOperationException($"{reference} leads nowhere."));
        }

        return node.AsObject();
    }

    /// <summary>What an answer says that the schema does not; null when nothing. What the description does not name is wrong too.</summary>
    public string? Difference(JsonNode schema, JsonNode? answer)
    {
        var whole = new JsonObject
        {
            ["$schema"] = "https://json-schema.org/draft/2020-12/schema",
            ["$defs"] = _definitions.DeepClone(),
            ["allOf"] = new JsonArray(Strict(schema.DeepClone())),
        };
        var result = JsonSchema.FromText(whole.ToJsonString()).Evaluate(
            JsonSerializer.SerializeToElement(answer),
            new EvaluationOptions { OutputFormat = OutputFormat.List, RequireFormatValidation = true });
        return result.IsValid
            ? null
            : string.Join(
                '\n',
                (result.Details ?? [])
                    .Where(detail => detail.Errors is not null)
                    .SelectMany(detail => detail.Errors!.Select(error => $"{detail.InstanceLocation}: {error.Value}")));
    }

    private static JsonNode Strict(JsonNode schema)
    {
        if (schema is JsonArray array)
        {
            foreach (var item in array.OfType<JsonNode>())
                Strict(item);
        }
        else if (schema is JsonObject one)
        {
            if ((string?)(one["$ref"] as JsonValue) is { } reference)
                one["$ref"] = reference.Replace(Components, "#/$defs/", StringComparison.Ordinal);
            foreach (var (_, value) in one.ToList())
            {
                if (value is not null)
                    Strict(value);
            }

            if (one["properties"] is JsonObject && one["additionalProperties"] is null)
                one["additionalProperties"] = false;
        }

        return schema;
    }
}
