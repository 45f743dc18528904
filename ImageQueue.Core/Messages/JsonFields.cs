using System.Text.Json.Nodes;

namespace ImageQueue.Core.Messages;

/// <summary>Fields of stored JSON. One of another type counts as absent.</summary>
internal static class JsonFields
{
    /// <summary>An object of these fields without those that are null.</summary>
    public static JsonObject Of(params ReadOnlySpan<(string Field, JsonNode? Value)> fields)
    {
        var json = new JsonObject();
        foreach (var (field, value) in fields)
        {
            if (value is not null)
                json[field] = value;
        }

        return json;
    }

    public static string? Text(this JsonElement json, string field) => json.Find(field, JsonValueKind.String)?.GetString();

    public static int? Int32(this JsonElement json, string field) =>
        json.Find(field, JsonValueKind.Number) is { } value && value.TryGetInt32(out var number) ? number : null;

    public static long? Int64(this JsonElement json, string field) =>
        json.Find(field, JsonValueKind.Number) is { } value && value.TryGetInt64(out var number) ? number : null;

    public static decimal? Decimal(this JsonElement json, string field) =>
        json.Find(field, JsonValueKind.Number) is { } value && value.TryGetDecimal(out var number) ? number : null;

    public static JsonElement? Object(this JsonElement json, string field) => json.Find(field, JsonValueKind.Object);

    private static JsonElement? Find(this JsonElement json, string field, JsonValueKind kind) =>
        json.TryGetProperty(field, out var value) && value.ValueKind == kind ? value : null;
}
