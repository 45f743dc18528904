using System.Buffers;
using System.Security.Cryptography;

namespace ImageQueue.Core.Requests;

/// <summary>
/// A hash of what was sent, as 64 hex digits, independent of the defaults at that time. The order of keys, an explicit null and how a
/// number is written make no difference.
/// </summary>
public static class RequestFingerprint
{
    /// <param name="call">The call: a key belongs to one.</param>
    /// <param name="request">What was sent, without the key; null members count as left out.</param>
    public static string Of<T>(string call, T request)
    {
        var written = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(written))
        {
            writer.WriteStartArray();
            writer.WriteStringValue(call);
            Write(writer, JsonSerializer.SerializeToElement(request), withNulls: false);
            writer.WriteEndArray();
        }

        return Convert.ToHexStringLower(SHA256.HashData(written.WrittenSpan));
    }

    private static void Write(Utf8JsonWriter writer, JsonElement value, bool withNulls)
    {
        switch (value.ValueKind)
        {
            case JsonValueKind.Object:
                writer.WriteStartObject();
                var members = value.EnumerateObject().Where(member => withNulls || member.Value.ValueKind != JsonValueKind.Null);
                foreach (var member in members.OrderBy(member => member.Name, StringComparer.Ordinal))
                {
                    writer.WritePropertyName(member.Name);
                    Write(writer, member.Value, withNulls: true);
                }

                writer.WriteEndObject();
                break;
            case JsonValueKind.Array:
                writer.WriteStartArray();
                foreach (var item in value.EnumerateArray())
                    Write(writer, item, withNulls: true);
                writer.WriteEndArray();
                break;
            case JsonValueKind.Number:
                writer.WriteRawValue(Number(value));
                break;
            default:
                value.WriteTo(writer);
                break;
        }
    }

    /// <summary>1.50 equals 1.5; beyond a decimal's digits a number counts as written.</summary>
    private static string Number(JsonElement value)
    {
        const int ExactDigits = 28;
        var text = value.GetRawText();
        return text.Length <= ExactDigits
            && decimal.TryParse(
                text, NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var number)
            ? number.ToString("0.############################", CultureInfo.InvariantCulture)
            : text;
    }
}
