using System.Text.Encodings.Web;
using System.Text.Json.Nodes;

namespace ImageQueue.Core.Messages;

/// <summary>
/// A checked RFC 7396 JSON merge patch for a message's metadata: a JSON object whose objects merge, whose other
/// values and arrays replace, and whose nulls remove. Both stores apply it in one UPDATE.
/// </summary>
/// <remarks>
/// A patch is checked once, here, so that no statement can fail half-way or mean different things on different stores.
/// Its text is normalised: keys and strings are escaped in one way, numbers stay as written.
/// </remarks>
public sealed class MetadataPatch
{
    /// <summary>Longest key, in UTF-16 code units.</summary>
    public const int MaxKeyLength = 128;

    /// <summary>Deepest nesting of objects and arrays; the patch itself is level 1.</summary>
    public const int MaxDepth = 16;

    /// <summary>
    /// Most members of the patch's objects together, not counting what is inside arrays: each becomes one nested call and
    /// up to two parameters of SQL Server's statement.
    /// </summary>
    public const int MaxMembers = 256;

    /// <summary>Largest patch, in bytes of UTF-8 of the normalised text.</summary>
    public const int MaxBytes = 64 * 1024;

    /// <summary>
    /// Largest document that a patch of the chat app's may make of a message's metadata, in characters as the database counts
    /// them (SQLite: Unicode's, SQL Server: UTF-16's). What ImageQueue itself writes is not held to it.
    /// </summary>
    public const int MaxDocumentLength = 256 * 1024;

    /// <summary>The patch that changes nothing.</summary>
    public static MetadataPatch Empty { get; } = Parse("{}");

    /// <summary>How every JSON text that the product stores is written: no escapes but those JSON demands.</summary>
    internal static readonly JsonSerializerOptions StoredJson = new()
    { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    private static readonly JsonDocumentOptions Strict = new() { AllowDuplicateProperties = false, MaxDepth = 64 };

    private MetadataPatch(string json, JsonElement root) => (Json, Root) = (json, root);

    /// <summary>The patch as normalised JSON text.</summary>
    public string Json { get; }

    /// <summary>The patch as a JSON object.</summary>
    public JsonElement Root { get; }

    /// <summary>Whether the patch has no member at all.</summary>
    public bool IsEmpty => !Root.EnumerateObject().Any();

    /// <summary>Reads and checks a patch.</summary>
    /// <exception cref="InvalidMetadataPatchException">The text is not a JSON object, or breaks a limit; says which and where.</exception>
    public static MetadataPatch Parse(string json)
    {
        ArgumentNullException.ThrowIfNull(json);
        try
        {
            return From(JsonElement.Parse(json, Strict));
        }
        catch (JsonException e)
        {
            throw new InvalidMetadataPatchException($"The metadata is not valid JSON: {e.Message}", e);
        }
    }

    /// <summary>Checks an already parsed patch.</summary>
    /// <exception cref="InvalidMetadataPatchException">It is not an object, or breaks a limit; says which and where.</exception>
    public static MetadataPatch From(JsonElement element)
    {
        if (element.ValueKind != JsonValueKind.Object)
            throw new InvalidMetadataPatchException($"The metadata must be a JSON object, not {Describe(element.ValueKind)}.");
        Check(element, "", 1);
        var count = CountMembers(element);
        if (count > MaxMembers)
        {
            throw new InvalidMetadataPatchException(
                $"The metadata has {count} keys; at most {MaxMembers} are allowed in one patch. "
                + "Send them in several patches, or as an array.");
        }

        var bytes = JsonSerializer.SerializeToUtf8Bytes(element, StoredJson);
        if (bytes.Length > MaxBytes)
        {
            throw new InvalidMetadataPatchException(
                $"The metadata is {bytes.Length} bytes long; at most {MaxBytes} are allowed. Send less in one patch.");
        }

        // Parsed anew: the caller may dispose the document that the element came from.
        return new MetadataPatch(Encoding.UTF8.GetString(bytes), JsonElement.Parse(bytes));
    }

    /// <summary>Builds a patch from named values; null removes the key.</summary>
    public static MetadataPatch Of(params ReadOnlySpan<(string Key, JsonNode? Value)> members)
    {
        var patch = new JsonObject();
        foreach (var (key, value) in members)
            patch[key] = value;
        return Parse(patch.ToJsonString(StoredJson));
    }

    /// <summary>The document that the patch makes of nothing: itself without the nulls, which have nothing to remove.</summary>
    internal string ToDocument() => WithoutNulls(Root).ToJsonString(StoredJson);

    /// <summary>The patch as JSON text.</summary>
    public override string ToString() => Json;

    private static JsonObject WithoutNulls(JsonElement patch)
    {
        var document = new JsonObject();
        foreach (var member in patch.EnumerateObject())
        {
            if (member.Value.ValueKind == JsonValueKind.Object)
            {
                document[member.Name] = WithoutNulls(member.Value);
            }
            else if (member.Value.ValueKind != JsonValueKind.Null)
            {
                document[member.Name] = member.Value.ValueKind == JsonValueKind.Array
                    ? JsonArray.Create(member.Value)
                    : JsonValue.Create(member.Value);
            }
        }

        return document;
    }

    private static void Check(JsonElement element, string path, int depth)
    {
        if (element.ValueKind is JsonValueKind.Object or JsonValueKind.Array && depth > MaxDepth)
            throw new InvalidMetadataPatchException($"The metadata is nested more than {MaxDepth} levels deep{At(path)}.");
        switch (element.ValueKind)
        {
            case JsonValueKind.Object:
                CheckMembers(element, path, depth);
                break;
            case JsonValueKind.Array:
                var index = 0;
                foreach (var item in element.EnumerateArray())
                    Check(item, $"{path}[{index++}]", depth + 1);
                break;
            case JsonValueKind.String:
                CheckText(() => element.GetString(), path);
                break;
            case JsonValueKind.Number:
                CheckNumber(element, path);
                break;
        }
    }

    private static void CheckMembers(JsonElement element, string path, int depth)
    {
        var seen = new HashSet<string>(StringComparer.Ordinal);
        foreach (var member in element.EnumerateObject())
        {
            var key = CheckText(() => member.Name, path);
            if (key.Length == 0)
                throw new InvalidMetadataPatchException($"A key{At(path)} is empty; give it a name.");
            if (key.Length > MaxKeyLength)
            {
                throw new InvalidMetadataPatchException(
                    $"The key \"{key[..32]}…\"{At(path)} is {key.Length} characters long; at most {MaxKeyLength} are allowed.");
            }

            if (key.AsSpan().IndexOfAny('"', '\\') >= 0 || key.Any(char.IsControl))
            {
                throw new InvalidMetadataPatchException(
                    $"A key{At(path)} holds a quotation mark, a backslash or a control character; rename it.");
            }

            if (!seen.Add(key))
                throw new InvalidMetadataPatchException($"The key \"{key}\"{At(path)} appears twice; send it once.");
            Check(member.Value, path.Length == 0 ? key : $"{path}.{key}", depth + 1);
        }
    }

    private static int CountMembers(JsonElement element) => element.ValueKind == JsonValueKind.Object
        ? element.EnumerateObject().Sum(member => 1 + CountMembers(member.Value))
        : 0;

    /// <summary>Refuses text that no database column can hold: half a surrogate pair.</summary>
    private static string CheckText(Func<string?> read, string path)
    {
        try
        {
            return read() ?? "";
        }
        catch (InvalidOperationException e)
        {
            throw new InvalidMetadataPatchException($"A text{At(path)} holds half of a UTF-16 surrogate pair; it is not valid Unicode.", e);
        }
    }

    /// <summary>
    /// Numbers keep their value exactly on both stores, so a number must fit what SQL Server can hold exactly: decimal(38),
    /// which covers integers of 64 bits.
    /// </summary>
    private static void CheckNumber(JsonElement element, string path)
    {
        if (!ExactNumber.Fits(element.GetRawText()))
        {
            throw new InvalidMetadataPatchException(
                $"The number {Shorten(element.GetRawText())}{At(path)} has more than 38 digits; send it as text to keep it exactly.");
        }
    }

    private static string Shorten(string text) => text.Length <= 48 ? text : text[..47] + "…";

    private static string At(string path) => path.Length == 0 ? "" : $" at \"{Shorten(path)}\"";

    private static string Describe(JsonValueKind kind) => kind switch
    {
        JsonValueKind.Array => "an array",
        JsonValueKind.String => "a text",
        JsonValueKind.Number => "a number",
        JsonValueKind.True or JsonValueKind.False => "a boolean",
        JsonValueKind.Null => "null",
        _ => "nothing",
    };
}

/// <summary>A metadata patch that is not a JSON object or breaks a limit. Its message is a sentence for the caller.</summary>
public sealed class InvalidMetadataPatchException(string message, Exception? inner = null) : Exception(message, inner);
