using System.Buffers.Text;
using System.Text.Json.Serialization;

namespace ImageQueue.Web.Compatibility;

/// <summary>Base64, bare or as a <c>data:</c> address, without a copy of it as text.</summary>
internal sealed class ImageBytes : JsonConverter<byte[]>
{
    public override byte[] Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        if (reader.TokenType != JsonTokenType.String)
            throw new JsonException();
        // A converter's reader has the whole value in one piece.
        var text = reader.ValueIsEscaped ? System.Text.Encoding.UTF8.GetBytes(reader.GetString()!) : reader.ValueSpan;
        if (text.StartsWith("data:"u8))
            text = text[(text.IndexOf((byte)',') + 1)..];
        var bytes = new byte[Base64.GetMaxDecodedFromUtf8Length(text.Length)];
        return Base64.DecodeFromUtf8(text, bytes, out _, out var length) == System.Buffers.OperationStatus.Done
            ? bytes[..length]
            : throw new JsonException();
    }

    public override void Write(Utf8JsonWriter writer, byte[] value, JsonSerializerOptions options) => writer.WriteBase64StringValue(value);
}
