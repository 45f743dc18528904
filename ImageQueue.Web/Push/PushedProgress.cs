using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace ImageQueue.Web.Push;

/// <summary>An <see cref="ImageProgressEvent"/>, written. To a JSON serializer it looks like that object.</summary>
[JsonConverter(typeof(Converter))]
public sealed class PushedProgress
{
    internal PushedProgress(byte[] json, long resumeFrom)
    {
        var head = Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"id: {resumeFrom}\nevent: {ImageProgressEvent.Name}\ndata: "));
        byte[] all = [.. head, .. json, (byte)'\n', (byte)'\n'];
        ServerSentEvent = all;
        Json = all.AsMemory(head.Length, json.Length);
    }

    /// <summary>The object in UTF-8.</summary>
    public ReadOnlyMemory<byte> Json { get; }

    /// <summary>The event in UTF-8, to its empty line.</summary>
    public ReadOnlyMemory<byte> ServerSentEvent { get; }

    private sealed class Converter : JsonConverter<PushedProgress>
    {
        public override PushedProgress Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
            throw new NotSupportedException("It is pushed, never received.");

        public override void Write(Utf8JsonWriter writer, PushedProgress value, JsonSerializerOptions options) =>
            writer.WriteRawValue(value.Json.Span, skipInputValidation: true);
    }
}
