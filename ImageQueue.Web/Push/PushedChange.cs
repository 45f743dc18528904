using System.Text.Json.Serialization;
using ImageQueue.Web.Api;

namespace ImageQueue.Web.Push;

/// <summary>
/// A change as it is pushed, written once: an <see cref="ImageProgressEvent"/>, or a plain message itself. To a JSON serializer
/// it looks like that object.
/// </summary>
[JsonConverter(typeof(Converter))]
public sealed class PushedChange
{
    internal PushedChange(bool isImage, byte[] json, long resumeFrom)
    {
        IsImage = isImage;
        var name = isImage ? ImageProgressEvent.Name : MessageName;
        var head = Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"id: {resumeFrom}\nevent: {name}\ndata: "));
        byte[] all = [.. head, .. json, (byte)'\n', (byte)'\n'];
        ServerSentEvent = all;
        Json = all.AsMemory(head.Length, json.Length);
    }

    /// <summary>The event of a plain message's change on Server-Sent Events.</summary>
    public const string MessageName = "message";

    /// <summary>What its addresses begin with.</summary>
    public string PathBase { get; init; } = "";

    /// <summary>Whether it is an image's.</summary>
    public bool IsImage { get; }

    public ReadOnlyMemory<byte> Json { get; }

    /// <summary>The event in UTF-8, to its empty line.</summary>
    public ReadOnlyMemory<byte> ServerSentEvent { get; }

    private sealed class Converter : JsonConverter<PushedChange>
    {
        public override PushedChange Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
            throw new NotSupportedException("It is pushed, never received.");

        public override void Write(Utf8JsonWriter writer, PushedChange value, JsonSerializerOptions options) =>
            writer.WriteRawValue(value.Json.Span, skipInputValidation: true);
    }
}
