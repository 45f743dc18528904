namespace ImageQueue.Core.Messages;

/// <summary>There is no message of that id.</summary>
public sealed class MessageNotFoundException(long id) : Exception($"Message {id} not found");

/// <summary>The conversation belongs to another username.</summary>
public sealed class ConversationForbiddenException(string conversationId)
    : Exception($"Conversation {conversationId} belongs to another user.");

/// <summary>The conversation was erased, and its id goes on meaning that one.</summary>
public sealed class ConversationDeletedException(string conversationId)
    : Exception($"Conversation {conversationId} was deleted. Use another id.");

/// <summary>An idempotency key came again with another request.</summary>
public sealed class IdempotencyKeyReusedException()
    : Exception("This Idempotency-Key was already used in this conversation for another request. Send a new key with a new request.");

/// <summary>
/// With the patch merged into it, a message's metadata would be larger than <see cref="MetadataPatch.MaxDocumentLength"/>.
/// </summary>
public sealed class DocumentTooLargeException() : Exception(
    $"The message's metadata would be larger than {MetadataPatch.MaxDocumentLength / 1024} KiB with this patch. "
    + "Remove keys that are no longer needed, or keep large values elsewhere.");

/// <summary>Too many requests are waiting; the caller should come back later.</summary>
/// <param name="message">A sentence for the caller.</param>
/// <param name="retryAfter">When a place may be free.</param>
public sealed class TooManyPendingException(string message, TimeSpan retryAfter) : Exception(message)
{
    /// <summary>When a place may be free.</summary>
    public TimeSpan RetryAfter { get; } = retryAfter;

    /// <summary>Whether the whole queue is full, and not only this user's share of it.</summary>
    public bool IsOfAll { get; private init; }

    internal static TooManyPendingException OfUser(int max, int count = 1) => new(
        count == 1
            ? $"You already have {max} images waiting. Wait for one of them, or cancel one."
            : $"With these {count} you would have more than {max} images waiting. Wait for some of them, or ask for fewer.",
        TimeSpan.FromSeconds(10));

    internal static TooManyPendingException OfWork(double max) => new(
        $"With this one, your waiting images would ask for more than {max:0.#} megapixel-steps. "
        + "Wait for one of them, cancel one, or ask for a smaller image or fewer steps.",
        TimeSpan.FromSeconds(10));

    internal static TooManyPendingException OfAll(int max) => new(
        $"The queue is full: at most {max} requests may wait. Try again in a minute.", TimeSpan.FromMinutes(1))
    { IsOfAll = true };
}

/// <summary>The image that a request starts from cannot be used.</summary>
/// <param name="problem">Why.</param>
/// <param name="field">The field that names it, such as <c>source.message_id</c>.</param>
/// <param name="sentence">For the caller.</param>
public sealed class SourceException(SourceProblem problem, string field, string sentence) : Exception(sentence)
{
    public SourceProblem Problem { get; } = problem;

    public string Field { get; } = field;

    internal static SourceException NotFound(string field) => new(
        SourceProblem.NotFound, field, $"{field} names no image of this user, or one that is kept no longer. Upload it, or name another.");

    /// <summary>An upload is gone that was there a moment ago.</summary>
    internal static SourceException Gone(ImageSource source, string uploadId) =>
        NotFound(source.UploadId == uploadId ? "source.upload_id" : "source.mask_upload_id");
}

public enum SourceProblem
{
    /// <summary>There is no such image, it is another user's, or it was erased.</summary>
    NotFound,

    /// <summary>The image is not complete.</summary>
    NotReady,

    /// <summary>No backend can do it.</summary>
    Unsupported,

    /// <summary>The result would be too large.</summary>
    TooLarge,
}

/// <summary>The database cannot be reached, read or written just now. Nothing was half-written; trying again later may work.</summary>
public sealed class StoreUnavailableException(string message, Exception inner) : Exception(message, inner);
