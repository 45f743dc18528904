using System.Text.Json.Nodes;
using System.Text.Json.Serialization;

namespace ImageQueue.Core.Messages;

/// <summary>The image that a request starts from: a body names it, a row stores it. Never its bytes.</summary>
public sealed record ImageSource
{
    /// <summary>How far an image may go from its source when the request does not say.</summary>
    public const decimal DefaultStrength = 0.55m;

    /// <summary>The same under a mask, which keeps the rest as it is.</summary>
    public const decimal DefaultMaskStrength = 0.75m;

    /// <summary>A complete image message of the same user. This or <c>upload_id</c>.</summary>
    public long? MessageId { get; init; }

    /// <summary>An upload in a conversation of the same user. This or <c>message_id</c>.</summary>
    public string? UploadId { get; init; }

    /// <summary>0 (as the source) .. 1 (hardly like it). Default 0.55; with a mask 0.75.</summary>
    public decimal? Strength { get; init; }

    /// <summary>An upload that is white where the image is to change, and black where it stays.</summary>
    public string? MaskUploadId { get; init; }

    /// <summary>2 or 4: the source that many times as large, and nothing else.</summary>
    public int? Upscale { get; init; }

    /// <summary>The job of the source message, which names its file.</summary>
    [JsonIgnore]
    public string? JobId { get; init; }

    /// <summary>The uploads that it names, each once.</summary>
    [JsonIgnore]
    public IReadOnlyList<string> Uploads => [.. new[] { UploadId, MaskUploadId }.OfType<string>().Distinct(StringComparer.Ordinal)];

    /// <summary>Adds a sentence for each value that cannot be.</summary>
    internal void Check(RequestRules rules)
    {
        if (MessageId is null == UploadId is null)
            rules.Add("source", "source must have message_id or upload_id, one of them.");
        rules.Range("source.message_id", MessageId, 1, long.MaxValue);
        Id("source.upload_id", UploadId);
        Id("source.mask_upload_id", MaskUploadId);
        rules.Range("source.strength", Strength, 0, 1);
        if (Upscale is not (null or 2 or 4))
            rules.Add("source.upscale", "source.upscale must be 2 or 4.");
        if (Upscale is not null && Strength is not null)
            rules.Add("source.strength", "source.strength has no meaning with source.upscale; remove one of them.");
        if (Upscale is not null && MaskUploadId is not null)
            rules.Add("source.mask_upload_id", "source.mask_upload_id has no meaning with source.upscale; remove one of them.");

        void Id(string field, string? id)
        {
            if (id is not (null or { Length: 32 }) || id?.All(char.IsAsciiHexDigitLower) == false)
                rules.Add(field, $"{field} must be an upload_id as POST .../uploads returned it: 32 lower-case hex digits.");
        }
    }

    /// <summary>As a row stores it.</summary>
    public JsonObject ToJson() => JsonFields.Of(
        ("message_id", MessageId), ("job_id", JobId), ("upload_id", UploadId), ("strength", Strength), ("mask_upload_id", MaskUploadId),
        ("upscale", Upscale));

    /// <summary>As an image message stores it; null when it starts from no image.</summary>
    public static ImageSource? Of(Message message)
    {
        ArgumentNullException.ThrowIfNull(message);
        return message.IsImage && message.Metadata.Object(MetadataFields.Source) is { } json
            ? new()
            {
                MessageId = json.Int64("message_id"),
                JobId = json.Text("job_id"),
                UploadId = json.Text("upload_id"),
                Strength = json.Decimal("strength"),
                MaskUploadId = json.Text("mask_upload_id"),
                Upscale = json.Int32("upscale"),
            }
            : null;
    }
}
