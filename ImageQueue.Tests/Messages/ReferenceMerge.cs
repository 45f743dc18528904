using System.Numerics;
using System.Text.Json.Nodes;

namespace ImageQueue.Tests.Messages;

/// <summary>RFC 7396 section 2, word for word, over JSON text. What both stores are measured against.</summary>
internal static class ReferenceMerge
{
    /// <summary>The target with the patch merged into it; numbers keep the text they were written with.</summary>
    public static string Merge(string? target, string patch) =>
        Merge(target is null ? null : JsonNode.Parse(target), JsonNode.Parse(patch))?.ToJsonString() ?? "null";

    private static JsonNode? Merge(JsonNode? target, JsonNode? patch)
    {
        if (patch is not JsonObject members)
            return patch?.DeepClone();

        var result = target as JsonObject ?? [];
        foreach (var (name, value) in members)
        {
            if (value is null)
            {
                result.Remove(name);
            }
            else
            {
                result.TryGetPropertyValue(name, out var old);
                result[name] = Merge(old, value);
            }
        }

        return result;
    }
}

/// <summary>Whether two JSON texts say the same: members in any order, numbers equal in value to the last digit.</summary>
internal static class JsonStructure
{
    /// <summary>Null when they are the same, else where and how they first differ.</summary>
    public static string? Difference(string? expected, string? actual)
    {
        if (expected is null || actual is null)
            return expected == actual ? null : $"expected {expected ?? "NULL"} but was {actual ?? "NULL"}";
        using var left = JsonDocument.Parse(expected);
        using var right = JsonDocument.Parse(actual);
        var where = Difference(left.RootElement, right.RootElement, "$");
        return where is null ? null : $"{where}\n  expected {Shorten(expected)}\n  but was  {Shorten(actual)}";
    }

    private static string? Difference(JsonElement left, JsonElement right, string path)
    {
        if (left.ValueKind != right.ValueKind)
            return $"{path}: expected {left.ValueKind} but was {right.ValueKind}";
        switch (left.ValueKind)
        {
            case JsonValueKind.Object:
                var names = right.EnumerateObject().Select(member => member.Name).ToList();
                if (names.Distinct(StringComparer.Ordinal).Count() != names.Count)
                    return $"{path}: a key appears twice";
                var missing = left.EnumerateObject().FirstOrDefault(member => !right.TryGetProperty(member.Name, out _));
                if (missing.Value.ValueKind != JsonValueKind.Undefined)
                    return $"{path}: key \"{missing.Name}\" is missing";
                var extra = names.Find(name => !left.TryGetProperty(name, out _));
                if (extra is not null)
                    return $"{path}: key \"{extra}\" should not be there";
                return left.EnumerateObject()
                    .Select(member => Difference(member.Value, right.GetProperty(member.Name), $"{path}.{member.Name}"))
                    .FirstOrDefault(difference => difference is not null);
            case JsonValueKind.Array:
                if (left.GetArrayLength() != right.GetArrayLength())
                    return $"{path}: expected {left.GetArrayLength()} items but were {right.GetArrayLength()}";
                return left.EnumerateArray().Zip(right.EnumerateArray())
                    .Select((pair, i) => Difference(pair.First, pair.Second, $"{path}[{i}]"))
                    .FirstOrDefault(difference => difference is not null);
            case JsonValueKind.String:
                return left.GetString() == right.GetString()
                    ? null
                    : $"{path}: expected \"{Shorten(left.GetString()!)}\" but was \"{Shorten(right.GetString()!)}\"";
            case JsonValueKind.Number:
                return Normalise(left.GetRawText()) == Normalise(right.GetRawText())
                    ? null
                    : $"{path}: expected {left.GetRawText()} but was {right.GetRawText()}";
            default:
                return null;
        }
    }

    /// <summary>The number as digits without trailing zeros and a power of ten: one pair for each value.</summary>
    internal static (BigInteger Digits, long Exponent) Normalise(string number)
    {
        var parts = number.Split('e', 'E');
        var exponent = parts.Length == 1 ? 0 : long.Parse(parts[1], NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture);
        var point = parts[0].IndexOf('.', StringComparison.Ordinal);
        if (point >= 0)
            exponent -= parts[0].Length - point - 1;
        var digits = BigInteger.Parse(
            parts[0].Replace(".", "", StringComparison.Ordinal), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture);
        if (digits.IsZero)
            return (digits, 0);
        while (digits % 10 == 0)
        {
            digits /= 10;
            exponent++;
        }

        return (digits, exponent);
    }

    private static string Shorten(string text) => text.Length <= 400 ? text : string.Concat(text.AsSpan(0, 400), "…");
}
