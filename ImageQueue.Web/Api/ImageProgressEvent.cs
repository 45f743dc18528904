using System.Text.Json.Nodes;
using ImageQueue.Core.Queue;

namespace ImageQueue.Web.Api;

/// <summary>The push object for every change of an image message: the same on SSE, SignalR and webhooks.</summary>
public sealed record ImageProgressEvent
{
    /// <summary>The event's name on Server-Sent Events.</summary>
    public const string Name = "image_progress";

    /// <summary>The conversation's owner.</summary>
    public required string Username { get; init; }

    /// <summary>The conversation.</summary>
    public required string ConversationId { get; init; }

    /// <summary>The message.</summary>
    public required long MessageId { get; init; }

    /// <summary>Names the image's file.</summary>
    public required string? JobId { get; init; }

    /// <summary>queued, processing, complete, error, cancelled; or deleted, when the message was erased.</summary>
    public required string? Status { get; init; }

    /// <summary>0..100.</summary>
    public required int Progress { get; init; }

    /// <summary>1 = next; 0 = not waiting.</summary>
    public required int QueuePosition { get; init; }

    /// <summary>The request's prompt.</summary>
    public required string? Prompt { get; init; }

    /// <summary>As requested, with the defaults of that time.</summary>
    public required JsonElement? Settings { get; init; }

    /// <summary>The image that it starts from, as requested; null: none.</summary>
    public required JsonElement? Source { get; init; }

    /// <summary>The same for all images of one request; null for a single one.</summary>
    public required string? GroupId { get; init; }

    /// <summary>When complete: what Forge reported.</summary>
    public required JsonElement? Result { get; init; }

    /// <summary>The chat app's own keys.</summary>
    public required JsonObject Metadata { get; init; }

    /// <summary>Until the image is complete; null while that cannot be estimated.</summary>
    public required double? EtaSeconds { get; init; }

    /// <summary>When complete.</summary>
    public required string? ImageUrl { get; init; }

    /// <summary>When complete: WebP, at most 512 pixels on the long side.</summary>
    public required string? ThumbnailUrl { get; init; }

    /// <summary>While processing, once a preview exists: the image so far. The address changes with each event.</summary>
    public required string? PreviewUrl { get; init; }

    /// <summary>When in error: a sentence for the user.</summary>
    public required string? Error { get; init; }

    /// <summary>When in error: why, for programs.</summary>
    public required string? ErrorCode { get; init; }

    /// <summary>Rises with every change of any message; on SSE also the event's id.</summary>
    public required long Revision { get; init; }

    /// <summary>A stored change with its live position and estimate, where those are known.</summary>
    /// <param name="pathBase">Put before the addresses of images.</param>
    public static ImageProgressEvent From(MessageChange change, LivePositions? live, string pathBase) => new()
    {
        Username = change.Username,
        ConversationId = change.Message.ConversationId,
        MessageId = change.Message.Id,
        JobId = change.Message.JobId,
        Status = change.Message.Status,
        Progress = change.Message.Progress,
        QueuePosition = live?.Of(change.Message) ?? change.Message.QueuePosition,
        Prompt = change.Message.Prompt,
        Settings = Part(change.Message, MetadataFields.Settings),
        Source = Part(change.Message, MetadataFields.Source),
        GroupId = change.Message.GroupId,
        Result = Part(change.Message, MetadataFields.Result),
        Metadata = OwnOf(change.Message),
        EtaSeconds = live?.EtaOf(change.Message),
        ImageUrl = change.Message.ImageUrl is { } imageUrl ? pathBase + imageUrl : null,
        ThumbnailUrl = change.Message.ThumbnailUrl is { } thumbnailUrl ? pathBase + thumbnailUrl : null,
        PreviewUrl = change.Message.PreviewUrl is { } previewUrl ? pathBase + previewUrl : null,
        Error = change.Message.Error,
        ErrorCode = change.Message.ErrorCode,
        Revision = change.Message.Revision,
    };

    private static JsonElement? Part(Message message, string field) =>
        message.Metadata.TryGetProperty(field, out var value) && value.ValueKind == JsonValueKind.Object ? value : null;

    private static JsonObject OwnOf(Message message)
    {
        var own = message.CopyMetadata();
        foreach (var field in MetadataFields.All)
            own.Remove(field);
        return own;
    }
}
