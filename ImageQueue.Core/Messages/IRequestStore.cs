using System.Text.Json.Nodes;

namespace ImageQueue.Core.Messages;

/// <summary>
/// The life of an image request, one verb per transition. Each verb is one guarded UPDATE: it happens whole or not at all, and no
/// concurrent writer deletes another's fields.
/// </summary>
public interface IRequestStore
{
    /// <summary>
    /// Adds image requests, all or none: status queued, progress 0, content <c>[IMAGE_PENDING]</c>. The same idempotency key with the same
    /// request returns the messages that it added before.
    /// </summary>
    /// <param name="messages">
    /// 1 or more of one user's in one conversation, of one size and with one source. Each has a key of its own, or none has one; the
    /// first one's decides whether they were added before.
    /// </param>
    /// <returns>In order. Of those added before, the ones that still have their key.</returns>
    /// <exception cref="ConversationForbiddenException">The conversation belongs to another username.</exception>
    /// <exception cref="IdempotencyKeyReusedException">The key was used in this conversation for another request.</exception>
    /// <exception cref="SourceException">An upload that they name is gone.</exception>
    /// <exception cref="TooManyPendingException">The user's waiting requests would exceed <paramref name="limits"/>.</exception>
    Task<IReadOnlyList<Submitted>> SubmitAsync(
        IReadOnlyList<NewImageMessage> messages, UserLimits limits, CancellationToken cancellationToken);

    /// <summary>
    /// Stores which Hangfire job runs the request. Guard: queued, and the stored job is still <paramref name="replaces"/>, since a worker
    /// or another repair of the same row may have been quicker.
    /// </summary>
    /// <param name="id">The message.</param>
    /// <param name="hangfireJobId">The new Hangfire job.</param>
    /// <param name="replaces">The job that is known to be gone; null when there was none yet.</param>
    Task<Transition> AttachJobAsync(long id, string hangfireJobId, string? replaces, CancellationToken cancellationToken);

    /// <summary>
    /// Guard: queued; or processing of the same Hangfire job whose worker has been silent for <see cref="Heartbeat.SuspectAfter"/>, since
    /// a job may have two entries in Hangfire's queue (Hangfire #2380) and must not be generated twice. Raises the attempt and sets the
    /// heartbeat.</summary>
    /// <param name="id">The message.</param>
    /// <param name="hangfireJobId">The job that claims it.</param>
    /// <param name="backend">The backend that generates it; null when there is none.</param>
    /// <param name="lease">
    /// That backend's lease: the same commit sets its note to <c>{job_id}-{attempt}</c> of this claim, which tells the lease's next
    /// holder what may still be running there. Null: no note is written.
    /// </param>
    Task<Transition> ClaimAsync(long id, string hangfireJobId, string? backend, string? lease, CancellationToken cancellationToken);

    /// <summary>Guard: processing, attempt is mine, progress not falling. Sets the heartbeat as well.</summary>
    /// <param name="id">The message.</param>
    /// <param name="attempt">The caller's attempt, from its claim.</param>
    /// <param name="progress">0..99.</param>
    Task<Transition> SaveProgressAsync(long id, int attempt, int progress, CancellationToken cancellationToken);

    /// <summary>Stores the preview's address. Guard: processing, attempt is mine. Sets the heartbeat as well.</summary>
    Task<Transition> SavePreviewAsync(long id, int attempt, string previewUrl, CancellationToken cancellationToken);

    /// <summary>Guard: processing, attempt is mine. Touches no file: an attempt's files carry its number.</summary>
    /// <param name="id">The message.</param>
    /// <param name="attempt">The caller's attempt, from its claim.</param>
    /// <param name="content">What the chat shows.</param>
    /// <param name="imageUrl">The image's address.</param>
    /// <param name="thumbnailUrl">Null when there is no thumbnail.</param>
    /// <param name="result">What the backend reported.</param>
    Task<Transition> CompleteAsync(
        long id, int attempt, string content, string imageUrl, string? thumbnailUrl, ImageResult result,
        CancellationToken cancellationToken);

    /// <summary>Guard: processing, attempt is mine.</summary>
    Task<Transition> FailAsync(long id, int attempt, string content, RequestFailure failure, CancellationToken cancellationToken);

    /// <summary>Ends a request that no worker has claimed, such as one that no backend can serve. Guard: queued.</summary>
    Task<Transition> FailQueuedAsync(long id, string content, RequestFailure failure, CancellationToken cancellationToken);

    /// <summary>
    /// The same by a caller that saw the row with this job. Guard: queued, and the stored job is still this one, so that a request
    /// retried meanwhile waits on.
    /// </summary>
    /// <param name="id">The message.</param>
    /// <param name="hangfireJobId">Null: it had none.</param>
    /// <param name="content">What the chat shows.</param>
    /// <param name="failure">Why.</param>
    Task<Transition> FailQueuedAsync(
        long id, string? hangfireJobId, string content, RequestFailure failure, CancellationToken cancellationToken);

    /// <summary>Guard: queued or processing.</summary>
    Task<Transition> CancelAsync(long id, string content, CancellationToken cancellationToken);

    /// <summary>
    /// Cancels the newest request of a Hangfire job that an operator deleted. Guard: queued or processing, and the stored job is still
    /// this one, so that a request retried meanwhile under another job goes on.
    /// </summary>
    /// <returns>Its message is null when no request has that job.</returns>
    Task<Transition> CancelByHangfireJobAsync(string hangfireJobId, string content, CancellationToken cancellationToken);

    /// <summary>
    /// Guard: error or cancelled, and the user's limits, under the same lock as a submit. Resets failures and disruptions and takes a
    /// new place in the queue.
    /// </summary>
    /// <exception cref="TooManyPendingException">The user's waiting requests have reached <paramref name="limits"/>.</exception>
    Task<Transition> RetryAsync(long id, int queuePosition, UserLimits limits, CancellationToken cancellationToken);

    /// <summary>Guard: processing, attempt is the stale one. The next pass over positions corrects its position.</summary>
    /// <param name="id">The message.</param>
    /// <param name="staleAttempt">The attempt that is over.</param>
    /// <param name="charge">What the attempt is counted as.</param>
    /// <param name="why">What ended the attempt, for operators.</param>
    /// <param name="isAtTail">Whether it waits behind all others, after a restart too; else it keeps its queued_at.</param>
    Task<Transition> RequeueAsync(
        long id, int staleAttempt, AttemptCharge charge, CancellationToken cancellationToken, string? why = null, bool isAtTail = false);

    /// <summary>Adds one of <see cref="RequestEventKinds"/> to an image request, for a command that changes nothing else.</summary>
    Task<Transition> NoteAsync(long id, string what, CancellationToken cancellationToken);

    /// <summary>The newest message of a Hangfire job: its ids begin at 1 again when its schema is installed anew.</summary>
    Task<Message?> FindByHangfireJobAsync(string hangfireJobId, CancellationToken cancellationToken);

    /// <summary>The image message of that <c>job_id</c>, which names its image.</summary>
    Task<Message?> FindByJobIdAsync(string jobId, CancellationToken cancellationToken);
}

/// <summary>What a requeued request is charged with.</summary>
public enum AttemptCharge
{
    /// <summary>A graceful stop, an operator's command or an outage ended the attempt.</summary>
    None,

    /// <summary>The request itself failed; counted in <see cref="Message.Failures"/>.</summary>
    Failure,

    /// <summary>The backend broke off after it had taken the request; counted in <see cref="Message.Disruptions"/>.</summary>
    Disruption,
}

/// <summary>How much one user may have waiting.</summary>
/// <param name="MaxPending">Requests.</param>
/// <param name="MaxWork">
/// Their sum in megapixel-steps (<see cref="NewImageMessage.Work"/>); null: unlimited. A user with nothing waiting may exceed it, since
/// such a request would never be accepted otherwise.
/// </param>
public sealed record UserLimits(int MaxPending, double? MaxWork = null)
{
    public static UserLimits None { get; } = new(int.MaxValue);
}

/// <summary>Why a request ended in error.</summary>
/// <param name="Code">One of <see cref="ErrorCodes"/>, for programs.</param>
/// <param name="Sentence">For the user.</param>
public readonly record struct RequestFailure(string Code, string Sentence)
{
    /// <summary>The cause, for operators; may quote a backend.</summary>
    public string? Reason { get; init; }

    /// <summary>The failure as a line of <see cref="RequestEvents"/>.</summary>
    internal string ToEvent() => Reason is null ? Code : $"{Code}: {Reason}";
}

/// <summary>An image request to add.</summary>
/// <param name="ConversationId">The conversation.</param>
/// <param name="Username">Its owner.</param>
/// <param name="JobId">32 hex digits; see <see cref="MetadataFields.JobId"/>.</param>
/// <param name="Prompt">What to generate.</param>
/// <param name="Settings">Width, height and so on, as requested.</param>
/// <param name="QueuePosition">An estimate; the true one follows once Hangfire has the job.</param>
/// <param name="IdempotencyKey">The submitter's key, or null.</param>
public sealed record NewImageMessage(
    string ConversationId, string Username, string JobId, string Prompt, JsonObject Settings, int QueuePosition, string? IdempotencyKey)
{
    public string ConversationId { get; init; } = StoredName.Normalize(ConversationId);

    public string Username { get; init; } = StoredName.Normalize(Username);

    /// <summary>What was sent with the key: <see cref="Requests.RequestFingerprint"/>.</summary>
    public string? RequestHash { get; init; }

    /// <summary>The image that it starts from.</summary>
    public ImageSource? Source { get; init; }

    /// <summary>See <see cref="MetadataFields.GroupId"/>.</summary>
    public string? GroupId { get; init; }

    /// <summary>The chat app's own keys.</summary>
    public MetadataPatch Own { get; init; } = MetadataPatch.Empty;

    /// <summary>Megapixel-steps: width x height x steps / 1,000,000; 0 where the settings do not say.</summary>
    public double Work => Setting("width") * Setting("height") * Setting("steps") / 1_000_000;

    private double Setting(string name) => Settings[name] is JsonValue value && value.TryGetValue<int>(out var number) ? number : 0;

    /// <summary>
    /// Whether an earlier message came from the same request: an idempotency key may come again only with the same. The hash of what was
    /// sent decides; without one, the resulting prompt and settings, which the defaults of a later release may change.
    /// </summary>
    internal bool IsSameRequestAs(Message earlier) => earlier.RequestHash is { } sent && RequestHash is not null
        ? string.Equals(sent, RequestHash, StringComparison.Ordinal)
        : string.Equals(earlier.Prompt, Prompt, StringComparison.Ordinal)
        && earlier.Metadata.TryGetProperty(MetadataFields.Settings, out var settings)
        && JsonElement.DeepEquals(settings, JsonElement.Parse(Settings.ToJsonString()));
}

/// <summary>The result of a transition.</summary>
/// <param name="Applied">Whether the guard held and the row was written.</param>
/// <param name="Message">The row as it is now, written or refused; null when there is no such row.</param>
public readonly record struct Transition(bool Applied, Message? Message);

/// <summary>What a backend reported of a finished image.</summary>
/// <param name="Seed">Null when the backend does not say.</param>
/// <param name="Width">Pixels, of the image itself.</param>
/// <param name="Height">Pixels, of the image itself.</param>
/// <param name="Model">Null when the backend does not say.</param>
/// <param name="Duration">Of generating.</param>
/// <param name="Backend">The backend's name.</param>
public sealed record ImageResult(long? Seed, int Width, int Height, string? Model, TimeSpan Duration, string? Backend = null)
{
    /// <summary>The scheduler that the backend used in place of the requested one; null when it used that.</summary>
    public string? Scheduler { get; init; }

    /// <summary>The upscaler that made the image larger; null when it was generated.</summary>
    public string? Upscaler { get; init; }
}
