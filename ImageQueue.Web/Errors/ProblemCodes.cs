namespace ImageQueue.Web.Errors;

/// <summary>Stable codes of problems for programs. Each has one title and one <c>type</c>.</summary>
internal static class ProblemCodes
{
    /// <summary>The request is not valid; <c>errors</c> has a sentence per field.</summary>
    public const string InvalidRequest = "invalid_request";

    /// <summary>There is no model of that name here.</summary>
    public const string UnknownModel = "unknown_model";

    /// <summary>No valid key, token or cookie.</summary>
    public const string Unauthorized = "unauthorized";

    /// <summary>The caller's role does not suffice.</summary>
    public const string Forbidden = "forbidden";

    /// <summary>There is no such thing.</summary>
    public const string NotFound = "not_found";

    /// <summary>The conversation belongs to another username.</summary>
    public const string ConversationForbidden = "conversation_forbidden";

    /// <summary>The conversation was erased; its id cannot be used again.</summary>
    public const string ConversationErased = "conversation_erased";

    /// <summary>The idempotency key came with another request before.</summary>
    public const string IdempotencyKeyReused = "idempotency_key_reused";

    /// <summary>The message is not in a state that can be cancelled.</summary>
    public const string NotCancellable = "not_cancellable";

    /// <summary>The message is not in a state that can be retried.</summary>
    public const string NotRetryable = "not_retryable";

    /// <summary>The user has too much waiting.</summary>
    public const string TooManyPending = "too_many_pending";

    /// <summary>All users together have too much waiting.</summary>
    public const string QueueFull = "queue_full";

    /// <summary>Too many requests in too short a time.</summary>
    public const string RateLimited = "rate_limited";

    /// <summary>The image to start from does not exist, is another user's, or was erased.</summary>
    public const string SourceNotFound = "source_not_found";

    /// <summary>The image to start from is not complete.</summary>
    public const string SourceNotReady = "source_not_ready";

    /// <summary>No backend can start from an image in this way.</summary>
    public const string UnsupportedSource = "unsupported_source";

    /// <summary>What was uploaded does not decode, or has far too many pixels.</summary>
    public const string InvalidImage = "invalid_image";

    /// <summary>What was uploaded is too large.</summary>
    public const string UploadTooLarge = "upload_too_large";

    /// <summary>The body is too large.</summary>
    public const string BodyTooLarge = "body_too_large";

    /// <summary>The body is of a type that is not read here.</summary>
    public const string UnsupportedMediaType = "unsupported_media_type";

    /// <summary>The database cannot be reached or written just now.</summary>
    public const string StoreUnavailable = "store_unavailable";

    /// <summary>This process is stopping and takes no new streams.</summary>
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
