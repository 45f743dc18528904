using System.Buffers;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace ImageQueue.Core.Messages;

/// <summary>
/// Reads what a message's metadata column holds. What the product writes is always an object that it can read; a DBA's hand may
/// have written anything, and one such row must never make a whole list unreadable: of that, what can be read is read.
/// </summary>
internal static class StoredMetadata
{
    /// <summary>Deepest nesting that is read: what is shown is deeper by a few levels, and common readers take 64.</summary>
    private const int MaxDepth = 56;

    private static readonly JsonDocumentOptions Readable = new() { MaxDepth = MaxDepth, AllowDuplicateProperties = false };

    /// <summary>Databases take documents of some 1000 levels.</summary>
    private static readonly JsonDocumentOptions Anything = new() { MaxDepth = 2000 };

    /// <summary>An object, whatever the text is.</summary>
    public static JsonElement Read(string json)
    {
        try
        {
            var metadata = JsonElement.Parse(json, Readable);
            // Half of a surrogate pair is valid JSON and no text; it can only be written as an escape.
            if (metadata.ValueKind == JsonValueKind.Object && !json.Contains("\\ud", StringComparison.OrdinalIgnoreCase))
                return metadata;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // Looked at more closely below.
        }

        return ReadWhatCanBeRead(json);
    }

    /// <summary>The same as an object that may be changed.</summary>
    public static JsonObject ToObject(JsonElement metadata) => JsonObject.Create(metadata) ?? []; // Null comes of JSON's null alone.

    private static JsonElement ReadWhatCanBeRead(string json)
    {
        var members = new Dictionary<string, JsonElement>(StringComparer.Ordinal);
        try
        {
            using var document = JsonDocument.Parse(json, Anything);
            if (document.RootElement.ValueKind == JsonValueKind.Object)
            {
                foreach (var member in document.RootElement.EnumerateObject())
                    TryAdd(members, member);
            }
        }
        catch (JsonException)
        {
            // No JSON at all: then there is nothing to read.
        }

        return JsonSerializer.SerializeToElement(members, MetadataPatch.StoredJson);
    }

    /// <summary>A member goes whole or not at all; of two of the same name the first counts, as in SQL Server's JSON_VALUE.</summary>
    private static void TryAdd(Dictionary<string, JsonElement> members, JsonProperty member)
    {
        try
        {
            var text = new ArrayBufferWriter<byte>();
            using (var writer = new Utf8JsonWriter(text))
                member.Value.WriteTo(writer);
            members.TryAdd(member.Name, JsonElement.Parse(text.WrittenSpan, Readable with { MaxDepth = MaxDepth - 1 }));
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or ArgumentException)
        {
            // Too deep, doubled names inside, or half of a surrogate pair.
        }
    }
}
