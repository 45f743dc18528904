namespace ImageQueue.Core.Forge;

/// <summary>Reads JSON as the backends write it: with a byte order mark, and with Python's NaN and Infinity.</summary>
internal static class LenientJson
{
    private static ReadOnlySpan<byte> ByteOrderMark => [0xEF, 0xBB, 0xBF];

    /// <summary>The document, or null when it is not JSON. It reads from the given memory.</summary>
    public static JsonDocument? TryParse(ReadOnlyMemory<byte> body)
    {
        if (body.Span.StartsWith(ByteOrderMark))
            body = body[ByteOrderMark.Length..];
        return TryParseStrictly(body) ?? (HasNotANumber(body.Span) ? TryParseStrictly(WithoutNotANumber(body.Span)) : null);
    }

    /// <summary>The string, or null when it is not valid UTF-16 (a lone surrogate in a prompt that is echoed).</summary>
    public static string? TextOf(JsonElement element)
    {
        try
        {
            return element.GetString();
        }
        catch (InvalidOperationException)
        {
            return null;
        }
    }

    /// <summary>An object's member of this kind; null when there is none.</summary>
    public static JsonElement? Find(JsonElement? parent, string name, JsonValueKind kind) =>
        parent is { ValueKind: JsonValueKind.Object } there && there.TryGetProperty(name, out var value) && value.ValueKind == kind
            ? value
            : null;

    /// <summary>An object's text of this name; null when there is none.</summary>
    public static string? FindText(JsonElement? parent, string name) =>
        Find(parent, name, JsonValueKind.String) is { } value ? TextOf(value) : null;

    private static JsonDocument? TryParseStrictly(ReadOnlyMemory<byte> body)
    {
        try
        {
            return JsonDocument.Parse(body);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private static bool HasNotANumber(ReadOnlySpan<byte> json) => json.IndexOf("NaN"u8) >= 0 || json.IndexOf("Infinity"u8) >= 0;

    /// <summary>The same with null for each NaN and Infinity outside of strings.</summary>
    private static byte[] WithoutNotANumber(ReadOnlySpan<byte> json)
    {
        using var result = new MemoryStream(json.Length);
        var isInString = false;
        for (var i = 0; i < json.Length; i++)
        {
            var rest = json[i..];
            var length = isInString
                ? 0
                : rest.StartsWith("NaN"u8) ? 3 : rest.StartsWith("Infinity"u8) ? 8 : rest.StartsWith("-Infinity"u8) ? 9 : 0;
            if (length > 0)
            {
                result.Write("null"u8);
                i += length - 1;
                continue;
            }

            if (json[i] == (byte)'"')
                isInString = !isInString;
            result.WriteByte(json[i]);
            if (isInString && json[i] == (byte)'\\' && i + 1 < json.Length)
                result.WriteByte(json[++i]);
        }

        return result.ToArray();
    }
}
