using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using ImageQueue.Core.Queue;
using Microsoft.Net.Http.Headers;

namespace ImageQueue.Web.Api;

/// <summary>A message as the API shows it. While it waits, <c>extra_metadata.queue_position</c> is the live position.</summary>
public sealed record MessageResponse
{
    /// <summary>Rises in the order of insertion.</summary>
    public required long Id { get; init; }

    /// <summary>The conversation, named by the chat app.</summary>
    public required string ConversationId { get; init; }

    /// <summary><c>image</c> for a message made by <c>.../images</c>, <c>text</c> for every other one.</summary>
    public required string Kind { get; init; }

    /// <summary><c>user</c> or <c>bot</c>.</summary>
    public required string Role { get; init; }

    /// <summary>What the chat shows.</summary>
    public required string Content { get; init; }

    /// <summary>ImageQueue's fields and the chat app's own.</summary>
    public required JsonObject ExtraMetadata { get; init; }

    /// <summary>UTC.</summary>
    public required DateTimeOffset CreatedAt { get; init; }

    /// <summary>UTC.</summary>
    public required DateTimeOffset UpdatedAt { get; init; }

    /// <summary>Rises with every change of any message; equals the revision of this change's event.</summary>
    public required long Revision { get; init; }

    /// <summary>Only in events: the message was erased.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public bool Deleted { get; init; }

    /// <summary>Position and estimate; only while it waits.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public QueueResponse? Queue { get; init; }

    /// <summary>
    /// The message's revision; while it waits also its position, which moves without a write. Weak then, since the estimate
    /// changes with every answer.
    /// </summary>
    [JsonIgnore]
    public EntityTagHeaderValue ETag => Queue is null
        ? new($"\"{Revision.ToString(CultureInfo.InvariantCulture)}\"")
        : new(string.Create(CultureInfo.InvariantCulture, $"\"{Revision}-{Queue.Position}\""), isWeak: true);

    /// <param name="pathBase">Put before the addresses of images.</param>
    public static MessageResponse From(Message message, LivePositions? positions, string? pathBase)
    {
        var metadata = message.CopyMetadata();
        if (message.IsImage && !string.IsNullOrEmpty(pathBase))
        {
            foreach (var field in new[] { MetadataFields.ImageUrl, MetadataFields.ThumbnailUrl, MetadataFields.PreviewUrl })
            {
                if (metadata[field] is JsonValue value && value.TryGetValue<string>(out var url))
                    metadata[field] = pathBase + url;
            }
        }

        var position = positions?.Of(message) ?? 0;
        if (position > 0)
            metadata[MetadataFields.QueuePosition] = position;
        return new MessageResponse
        {
            Id = message.Id,
            ConversationId = message.ConversationId,
            Kind = message.IsImage ? "image" : "text",
            Role = message.Role,
            Content = message.Content,
            ExtraMetadata = metadata,
            CreatedAt = message.CreatedAt,
            UpdatedAt = message.UpdatedAt,
            Revision = message.Revision,
            Deleted = message.IsDeleted,
            Queue = positions is { } live && position > 0 ? new QueueResponse(position, live.EtaOf(message), live.AsOf) : null,
        };
    }
}

/// <summary>A place in the queue.</summary>
/// <param name="Position">1 = next to run.</param>
/// <param name="EtaSeconds">Until the image is complete; null while that cannot be estimated.</param>
/// <param name="AsOf">When this was true, UTC.</param>
public sealed record QueueResponse(int Position, double? EtaSeconds, DateTimeOffset AsOf);

/// <summary>A page of messages.</summary>
/// <param name="Messages">In id order.</param>
/// <param name="Next">Read forwards: what to give as <c>after</c> for the next page; null on the last.</param>
/// <param name="Previous">Read backwards: what to give as <c>before</c> for the page in front of this one; null on the first.</param>
/// <param name="Username">The conversation's owner.</param>
public sealed record MessagePage(IReadOnlyList<MessageResponse> Messages, long? Next, long? Previous, string Username);
