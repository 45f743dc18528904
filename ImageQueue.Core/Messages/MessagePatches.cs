using System.Text.Json.Nodes;

namespace ImageQueue.Core.Messages;

/// <summary>What each transition writes into the metadata: the same on every store. The guards are in the statements.</summary>
internal static class MessagePatches
{
    /// <summary>Content while a request waits or is generated.</summary>
    public const string PendingContent = "[IMAGE_PENDING]";

    public static string ImageUrl(string jobId) => $"/images/flux_{jobId}.png";

    public static string ThumbnailUrl(string jobId) => $"/images/flux_{jobId}.thumb.webp";

    public static string PreviewUrl(string jobId) => $"/images/flux_{jobId}.preview.jpg";

    public static MetadataPatch Submit(NewImageMessage message) => MetadataPatch.Of(
    [
        .. message.Own.Root.EnumerateObject().Select(own => (own.Name, (JsonNode?)JsonNode.Parse(own.Value.GetRawText()))),
        (MetadataFields.Status, MessageStatus.Queued), (MetadataFields.Progress, 0),
        (MetadataFields.QueuePosition, message.QueuePosition), (MetadataFields.JobId, message.JobId),
        (MetadataFields.Prompt, message.Prompt), (MetadataFields.Settings, message.Settings.DeepClone()),
        .. message.Source is { } source ? [(MetadataFields.Source, source.ToJson())] : Array.Empty<(string, JsonNode?)>(),
        .. message.GroupId is { } group ? [(MetadataFields.GroupId, group)] : Array.Empty<(string, JsonNode?)>(),
    ]);

    public static MetadataPatch Claim { get; } = At(MessageStatus.Processing, progress: 0, queuePosition: 0);

    public static MetadataPatch SaveProgress(int progress) => MetadataPatch.Of((MetadataFields.Progress, progress));

    public static MetadataPatch SavePreview(string previewUrl) => MetadataPatch.Of((MetadataFields.PreviewUrl, previewUrl));

    public static MetadataPatch Complete(string imageUrl, string? thumbnailUrl, ImageResult result) => MetadataPatch.Of(
        (MetadataFields.Status, MessageStatus.Complete), (MetadataFields.Progress, 100), (MetadataFields.QueuePosition, 0),
        (MetadataFields.ImageUrl, imageUrl), (MetadataFields.ThumbnailUrl, thumbnailUrl), (MetadataFields.PreviewUrl, null),
        (MetadataFields.Result, new JsonObject
        {
            ["seed"] = result.Seed,
            ["width"] = result.Width,
            ["height"] = result.Height,
            ["model"] = result.Model,
            ["backend"] = result.Backend,
            ["duration_seconds"] = Math.Round((decimal)result.Duration.TotalSeconds, 3),
            ["scheduler"] = result.Scheduler,
            ["upscaler"] = result.Upscaler,
        }));

    public static MetadataPatch Fail(RequestFailure failure) => MetadataPatch.Of(
        (MetadataFields.Status, MessageStatus.Error), (MetadataFields.Progress, 0), (MetadataFields.QueuePosition, 0),
        (MetadataFields.PreviewUrl, null), (MetadataFields.Error, failure.Sentence), (MetadataFields.ErrorCode, failure.Code));

    public static MetadataPatch Cancel { get; } = At(MessageStatus.Cancelled, progress: 0, queuePosition: 0);

    public static MetadataPatch Retry(int queuePosition) => MetadataPatch.Of(
        (MetadataFields.Status, MessageStatus.Queued), (MetadataFields.Progress, 0), (MetadataFields.QueuePosition, queuePosition),
        (MetadataFields.Error, null), (MetadataFields.ErrorCode, null), (MetadataFields.ImageUrl, null),
        (MetadataFields.ThumbnailUrl, null), (MetadataFields.PreviewUrl, null), (MetadataFields.Result, null));

    /// <summary>The request keeps its place, which is at or near the head; the true position follows.</summary>
    public static MetadataPatch Requeue { get; } = At(MessageStatus.Queued, progress: 0, queuePosition: 1);

    /// <summary>Names no upload any more.</summary>
    public static MetadataPatch ReleaseUploads { get; } = MetadataPatch.Of(
        (MetadataFields.Source, new JsonObject { ["upload_id"] = null, ["mask_upload_id"] = null }));

    private static MetadataPatch At(string status, int progress, int queuePosition) => MetadataPatch.Of(
        (MetadataFields.Status, status), (MetadataFields.Progress, progress), (MetadataFields.QueuePosition, queuePosition),
        (MetadataFields.PreviewUrl, null)); // A preview belongs to the attempt that made it.
}
