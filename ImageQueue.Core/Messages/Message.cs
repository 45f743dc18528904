using System.Buffers.Binary;
using System.Text.Json.Nodes;

namespace ImageQueue.Core.Messages;

/// <summary>One row of <c>messages</c>: what was said in a conversation and, for an image request, all that is known of it.</summary>
public sealed record Message
{
    /// <summary>Row id, rising in the order of insertion.</summary>
    public required long Id { get; init; }

    /// <summary>The conversation, named by the chat app.</summary>
    public required string ConversationId { get; init; }

    /// <summary>The conversation's owner; empty once it is erased.</summary>
    public string Username { get; init; } = "";

    /// <summary><c>user</c> or <c>bot</c>.</summary>
    public required string Role { get; init; }

    /// <summary>What the chat shows.</summary>
    public required string Content { get; init; }

    /// <summary>A JSON object: ImageQueue's fields (see <see cref="MetadataFields"/>) beside the chat app's own.</summary>
    public required string ExtraMetadata { get; init; } = "{}";

    /// <summary>UTC.</summary>
    public required DateTimeOffset CreatedAt { get; init; }

    /// <summary>UTC; moves with every write.</summary>
    public required DateTimeOffset UpdatedAt { get; init; }

    /// <summary>The Hangfire job that runs the request; null while there is none.</summary>
    public string? HangfireJobId { get; init; }

    /// <summary>The submitter's <c>Idempotency-Key</c>.</summary>
    public string? IdempotencyKey { get; init; }

    /// <summary>A hash of what was sent with the key: <see cref="Requests.RequestFingerprint"/>; null without a key.</summary>
    public string? RequestHash { get; init; }

    /// <summary>The fence: rises with every claim, and a worker writes only under its own. Counts no failures.</summary>
    public required int Attempt { get; init; }

    /// <summary>Attempts that the request itself failed, since it was submitted or retried by a person.</summary>
    public int Failures { get; init; }

    /// <summary>Attempts that a backend broke off after it had taken the request, since it was submitted or retried by a person.</summary>
    public int Disruptions { get; init; }

    /// <summary>The backend that generates it, or the last one that did; null before the first claim.</summary>
    public string? Backend { get; init; }

    /// <summary>UTC; the worker's last sign of life. Null before the first claim.</summary>
    public DateTimeOffset? HeartbeatAt { get; init; }

    /// <summary>UTC; when the request got its place in the queue. Null for a plain message: this is what tells the two apart.</summary>
    public DateTimeOffset? QueuedAt { get; init; }

    /// <summary>UTC; when the request became complete, ended in error or was cancelled. Null otherwise.</summary>
    public DateTimeOffset? FinishedAt { get; init; }

    /// <summary>UTC; set on tombstones only, which only the feed shows.</summary>
    public DateTimeOffset? DeletedAt { get; init; }

    /// <summary>Whether this is the tombstone of an erased message.</summary>
    public bool IsDeleted => DeletedAt is not null;

    /// <summary>Rises with every write to any row; the order of changes.</summary>
    public required long Revision { get; init; }

    /// <summary>The revision as SQL Server has it: eight bytes, big-endian.</summary>
    internal byte[] RevisionBytes { init => Revision = BinaryPrimitives.ReadInt64BigEndian(value); }

    /// <summary>Whether this is an image request rather than plain text.</summary>
    public bool IsImage => QueuedAt is not null;

    /// <summary>
    /// The parsed metadata, always an object. Of a document that was written by hand and cannot be parsed, the part that can be read.
    /// </summary>
    public JsonElement Metadata => _metadata ??= StoredMetadata.Read(ExtraMetadata);

    /// <summary>The metadata as an object of the caller's own.</summary>
    public JsonObject CopyMetadata() => JsonObject.Create(Metadata) ?? []; // Null for JSON null only.

    private JsonElement? _metadata;

    /// <summary>One of <see cref="MessageStatus"/>; null for a plain message.</summary>
    public string? Status => IsImage ? Text(MetadataFields.Status) : null;

    /// <summary>The request's unguessable id, which names the image's file; null for a plain message.</summary>
    public string? JobId => IsImage ? Text(MetadataFields.JobId) : null;

    /// <summary>0..100.</summary>
    public int Progress => Number(MetadataFields.Progress);

    /// <summary>1 = next, 0 = not waiting; as stored.</summary>
    public int QueuePosition => Number(MetadataFields.QueuePosition);

    /// <summary>See <see cref="MetadataFields.GroupId"/>; null for a single image.</summary>
    public string? GroupId => IsImage ? Text(MetadataFields.GroupId) : null;

    public string? Prompt => Text(MetadataFields.Prompt);

    public string? ImageUrl => Text(MetadataFields.ImageUrl);

    public string? ThumbnailUrl => Text(MetadataFields.ThumbnailUrl);

    public string? PreviewUrl => Text(MetadataFields.PreviewUrl);

    /// <summary>A sentence for the user, when in error.</summary>
    public string? Error => Text(MetadataFields.Error);

    /// <summary>One of <see cref="ErrorCodes"/>, when in error.</summary>
    public string? ErrorCode => Text(MetadataFields.ErrorCode);

    private string? Text(string field) => Metadata.Text(field);

    private int Number(string field) => Metadata.Int32(field) ?? 0;
}

/// <summary>The values of <see cref="MetadataFields.Status"/>.</summary>
public static class MessageStatus
{
    public const string Queued = "queued";

    public const string Processing = "processing";

    public const string Complete = "complete";

    public const string Error = "error";

    public const string Cancelled = "cancelled";

    /// <summary>Erased; only the feed shows it.</summary>
    public const string Deleted = "deleted";
}

/// <summary>The keys of an image message's metadata that belong to ImageQueue; all others are the chat app's.</summary>
public static class MetadataFields
{
    /// <summary>One of <see cref="MessageStatus"/>.</summary>
    public const string Status = "status";

    /// <summary>0..100; never falls within an attempt; 100 only when complete.</summary>
    public const string Progress = "progress";

    /// <summary>1 = next to run, 0 = not waiting.</summary>
    public const string QueuePosition = "queue_position";

    /// <summary>32 hex digits, unguessable; names the file.</summary>
    public const string JobId = "job_id";

    /// <summary>What to generate.</summary>
    public const string Prompt = "prompt";

    /// <summary>Width, height, steps, seed and so on, as asked.</summary>
    public const string Settings = "settings";

    /// <summary>The image that it starts from: <see cref="ImageSource"/>.</summary>
    public const string Source = "source";

    /// <summary>The same in all messages of one request for several images: 32 hex digits.</summary>
    public const string GroupId = "group_id";

    /// <summary><c>/images/flux_{job_id}.png</c>, when complete.</summary>
    public const string ImageUrl = "image_url";

    /// <summary><c>/images/flux_{job_id}.thumb.webp</c>, at most 512 pixels on the long side, when complete.</summary>
    public const string ThumbnailUrl = "thumbnail_url";

    /// <summary><c>/images/flux_{job_id}.preview.jpg</c>, while processing and once Forge has something to show.</summary>
    public const string PreviewUrl = "preview_url";

    /// <summary>A sentence for the user, when in error.</summary>
    public const string Error = "error";

    /// <summary>One of <see cref="ErrorCodes"/>, when in error.</summary>
    public const string ErrorCode = "error_code";

    /// <summary>Seed, width, height, model, backend and duration, as Forge reported them, when complete.</summary>
    public const string Result = "result";

    public static IReadOnlySet<string> All { get; } = new HashSet<string>(StringComparer.Ordinal)
    {
        Status, Progress, QueuePosition, JobId, Prompt, Settings, Source, GroupId, ImageUrl,
        ThumbnailUrl, PreviewUrl, Error, ErrorCode, Result,
    };
}

/// <summary>The values of <see cref="Message.Role"/>.</summary>
public static class MessageRole
{
    /// <summary>Said by the conversation's owner.</summary>
    public const string User = "user";

    /// <summary>Said by the chat app.</summary>
    public const string Bot = "bot";
}

/// <summary>The values of <see cref="MetadataFields.ErrorCode"/>: why a request ended in error, for programs.</summary>
public static class ErrorCodes
{
    /// <summary>Generating took longer than <c>Forge:Timeout</c>.</summary>
    public const string TimedOut = "timed_out";

    /// <summary>No progress for <c>Forge:StallTimeout</c>.</summary>
    public const string Stalled = "stalled";

    /// <summary>The backend refused the request.</summary>
    public const string Rejected = "rejected";

    public const string OutOfMemory = "out_of_memory";

    /// <summary>The backend failed.</summary>
    public const string BackendFailed = "backend_failed";

    /// <summary>No backend was healthy for <c>Forge:WaitForBackend</c>.</summary>
    public const string NoBackend = "no_backend";

    /// <summary>The backend sent no usable image.</summary>
    public const string BadImage = "bad_image";

    /// <summary>Its workers died too often.</summary>
    public const string Abandoned = "abandoned";

    /// <summary>The image could not be written to the disk.</summary>
    public const string NotStored = "not_stored";

    /// <summary>A defect of ImageQueue.</summary>
    public const string Unexpected = "unexpected";

    public static IReadOnlyList<string> All { get; } =
        [TimedOut, Stalled, Rejected, OutOfMemory, BackendFailed, NoBackend, BadImage, Abandoned, NotStored, Unexpected];
}
