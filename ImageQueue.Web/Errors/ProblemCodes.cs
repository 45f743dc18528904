namespace ImageQueue.Web.Errors;

/// <summary>Stable codes of problems for programs. Each has one title and one <c>type</c>; docs/api.md says when each is given.</summary>
internal static class ProblemCodes
{
    public const string InvalidRequest = "invalid_request";
    public const string UnknownModel = "unknown_model";
    public const string Unauthorized = "unauthorized";
    public const string Forbidden = "forbidden";
    public const string NotFound = "not_found";
    public const string ConversationForbidden = "conversation_forbidden";
    public const string ConversationErased = "conversation_erased";
    public const string IdempotencyKeyReused = "idempotency_key_reused";
    public const string NotCancellable = "not_cancellable";
    public const string NotRetryable = "not_retryable";
    public const string TooManyPending = "too_many_pending";
    public const string QueueFull = "queue_full";
    public const string RateLimited = "rate_limited";
    public const string SourceNotFound = "source_not_found";
    public const string SourceNotReady = "source_not_ready";
    public const string UnsupportedSource = "unsupported_source";
    public const string InvalidImage = "invalid_image";
    public const string UploadTooLarge = "upload_too_large";
    public const string BodyTooLarge = "body_too_large";
    public const string UnsupportedMediaType = "unsupported_media_type";
    public const string StoreUnavailable = "store_unavailable";
    public const string Stopping = "stopping";
    public const string Unexpected = "unexpected";

    /// <summary>Code to title: the same for every occurrence (RFC 9457, section 3.1.3).</summary>
    public static IReadOnlyDictionary<string, string> Titles { get; } = new Dictionary<string, string>(StringComparer.Ordinal)
    {
        [InvalidRequest] = "The request is not valid.",
        [UnknownModel] = "There is no such model.",
        [Unauthorized] = "Authentication is required.",
        [Forbidden] = "This is not allowed.",
        [NotFound] = "There is no such thing.",
        [ConversationForbidden] = "The conversation belongs to another user.",
        [ConversationErased] = "The conversation was erased.",
        [IdempotencyKeyReused] = "The Idempotency-Key was used for another request.",
        [NotCancellable] = "The message cannot be cancelled.",
        [NotRetryable] = "The message cannot be retried.",
        [TooManyPending] = "Too many images of this user are waiting.",
        [QueueFull] = "The queue is full.",
        [RateLimited] = "Too many requests.",
        [SourceNotFound] = "There is no such image to start from.",
        [SourceNotReady] = "The image to start from is not complete.",
        [UnsupportedSource] = "No image server here can start from an image in this way.",
        [InvalidImage] = "The image cannot be used.",
        [UploadTooLarge] = "The image is too large.",
        [BodyTooLarge] = "The body is too large.",
        [UnsupportedMediaType] = "The body's type is not read here.",
        [Stopping] = "The server is stopping.",
        [StoreUnavailable] = "The database is away.",
        [Unexpected] = "Something went wrong here.",
    };

    /// <summary>For what the framework refuses by a status alone.</summary>
    public static string OfStatus(int status) => status switch
    {
        StatusCodes.Status401Unauthorized => Unauthorized,
        StatusCodes.Status403Forbidden => Forbidden,
        StatusCodes.Status404NotFound => NotFound,
        StatusCodes.Status413PayloadTooLarge => BodyTooLarge,
        StatusCodes.Status415UnsupportedMediaType => UnsupportedMediaType,
        StatusCodes.Status429TooManyRequests => RateLimited,
        StatusCodes.Status503ServiceUnavailable => StoreUnavailable,
        >= 500 => Unexpected,
        _ => InvalidRequest,
    };
}
