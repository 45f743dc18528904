using System.Buffers;

namespace ImageQueue.Core.Messages;

/// <summary>
/// Reads a message's metadata column. The product always writes a readable object; a DBA may have written anything, and one such row must
/// not make a whole list unreadable: its readable members are kept.
/// </summary>
internal static class StoredMetadata
{
    /// <summary>Deepest nesting that is read: responses add a few levels, and common JSON readers allow 64.</summary>
    private const int MaxDepth = 56;

    private static readonly JsonDocumentOptions Readable = new() { MaxDepth = MaxDepth, AllowDuplicateProperties = false };

    /// <summary>Databases take documents of some 1000 levels.</summary>
    private static readonly JsonDocumentOptions Anything = new() { MaxDepth = 2000 };

    /// <summary>Always an object.</summary>
    public static JsonElement Read(string json)
    {
        try
        {
            var metadata = JsonElement.Parse(json, Readable);
            // Half of a surrogate pair is valid JSON but no valid text; it can only come as an escape.
            if (metadata.ValueKind == JsonValueKind.Object && !json.Contains("\\ud", StringComparison.OrdinalIgnoreCase))
                return metadata;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // Read member by member below.
        }

        return ReadWhatCanBeRead(json);
    }

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
            // No JSON at all.
        }

        return JsonSerializer.SerializeToElement(members, MetadataPatch.StoredJson);
    }

    /// <summary>Keeps or drops a member whole; of duplicate names the first counts, as in SQL Server's JSON_VALUE.</summary>
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
            // Too deep, duplicate names inside, or half of a surrogate pair.
        }
    }
}
