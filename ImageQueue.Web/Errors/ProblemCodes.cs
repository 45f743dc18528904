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

    /// <summary>
    /// Code to status and title: the same for every occurrence (RFC 9457, section 3.1.3), but that an invalid request is 422 where it is
    /// well-formed.
    /// </summary>
    private static readonly Dictionary<string, (int Status, string Title)> Known = new(StringComparer.Ordinal)
    {
        [InvalidRequest] = (400, "The request is not valid."),
        [UnknownModel] = (422, "There is no such model."),
        [Unauthorized] = (401, "Authentication is required."),
        [Forbidden] = (403, "This is not allowed."),
        [NotFound] = (404, "Not found."),
        [ConversationForbidden] = (403, "The conversation belongs to another user."),
        [ConversationErased] = (410, "The conversation was erased."),
        [IdempotencyKeyReused] = (422, "The Idempotency-Key was used for another request."),
        [NotCancellable] = (409, "The message cannot be cancelled."),
        [NotRetryable] = (409, "The message cannot be retried."),
        [TooManyPending] = (429, "Too many images of this user are waiting."),
        [QueueFull] = (429, "The queue is full."),
        [RateLimited] = (429, "Too many requests."),
        [SourceNotFound] = (404, "There is no such image to start from."),
        [SourceNotReady] = (409, "The image to start from is not complete."),
        [UnsupportedSource] = (422, "No image server here can start from an image in this way."),
        [InvalidImage] = (400, "The image cannot be used."),
        [UploadTooLarge] = (413, "The image is too large."),
        [BodyTooLarge] = (413, "The body is too large."),
        [UnsupportedMediaType] = (415, "Unsupported media type."),
        [Stopping] = (503, "The server is stopping."),
        [StoreUnavailable] = (503, "The database is unavailable."),
        [Unexpected] = (500, "Internal error."),
    };

    public static IReadOnlyDictionary<string, string> Titles { get; } =
        Known.ToDictionary(code => code.Key, code => code.Value.Title, StringComparer.Ordinal);

    public static int StatusOf(string code) => Known[code].Status;

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
