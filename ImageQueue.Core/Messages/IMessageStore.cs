using System.Text.Json;
using System.Text.Json.Nodes;

namespace ImageQueue.Core.Messages;

/// <summary>
/// The messages, one verb per transition. Each verb is one guarded UPDATE: it happens whole or not at all, whoever else
/// writes at the same moment, and no writer ever deletes another's fields.
/// </summary>
/// <remarks>
/// Every verb throws <see cref="StoreUnavailableException"/> when the database cannot be reached or written; nothing is then
/// half-written.
/// </remarks>
public interface IMessageStore
{
    /// <summary>Adds a plain message; the first one of a conversation makes it, owned by that username.</summary>
    /// <exception cref="ConversationForbiddenException">The conversation belongs to another username.</exception>
    Task<Message> AddAsync(NewMessage message, CancellationToken cancellationToken);

    /// <summary>
    /// Adds an image request: status queued, progress 0, content <c>[IMAGE_PENDING]</c>. The same idempotency key with the same
    /// request gives the message that is already there.
    /// </summary>
    /// <exception cref="ConversationForbiddenException">The conversation belongs to another username.</exception>
    /// <exception cref="IdempotencyKeyReusedException">The key was used in this conversation for another request.</exception>
    /// <exception cref="TooManyPendingException">The user has <paramref name="maxPendingPerUser"/> requests waiting.</exception>
    Task<Submitted> SubmitAsync(NewImageMessage message, int maxPendingPerUser, CancellationToken cancellationToken);

    /// <summary>
    /// Stores which Hangfire job will run the request. Guard: queued, and the stored Hangfire job is still
    /// <paramref name="replaces"/>: a worker, or somebody repairing the same row, may have been quicker.
    /// </summary>
    /// <param name="id">The message.</param>
    /// <param name="hangfireJobId">The new Hangfire job.</param>
    /// <param name="replaces">The job that is known to be gone; null when there was none yet.</param>
    /// <param name="queuePosition">The position to store.</param>
    /// <param name="cancellationToken">Gives up waiting.</param>
    Task<Transition> AttachJobAsync(long id, string hangfireJobId, string? replaces, int queuePosition, CancellationToken cancellationToken);

    /// <summary>Guard: queued, or processing of the same Hangfire job. Raises the attempt and sets the heartbeat.</summary>
    Task<Transition> ClaimAsync(long id, string hangfireJobId, CancellationToken cancellationToken);

    /// <summary>Guard: processing, attempt is mine, progress not falling. Sets the heartbeat as well.</summary>
    /// <param name="id">The message.</param>
    /// <param name="attempt">The caller's attempt, from its claim.</param>
    /// <param name="progress">0..99.</param>
    /// <param name="cancellationToken">Gives up waiting.</param>
    Task<Transition> SaveProgressAsync(long id, int attempt, int progress, CancellationToken cancellationToken);

    /// <summary>Says where the picture can be seen while it is painted. Guard: processing, attempt is mine. Sets the heartbeat as well.</summary>
    Task<Transition> SavePreviewAsync(long id, int attempt, string previewUrl, CancellationToken cancellationToken);

    /// <summary>Guard: processing, attempt is mine.</summary>
    /// <param name="id">The message.</param>
    /// <param name="attempt">The caller's attempt, from its claim.</param>
    /// <param name="content">What the chat shows.</param>
    /// <param name="imageUrl">Where the picture is served.</param>
    /// <param name="result">What Forge reported.</param>
    /// <param name="publish">
    /// Puts the picture in its place. Runs while the row is locked and before the write commits, so that a worker that was
    /// given up for dead can never replace the winner's picture; what it throws undoes the write.
    /// </param>
    /// <param name="cancellationToken">Gives up waiting.</param>
    Task<Transition> CompleteAsync(
        long id, int attempt, string content, string imageUrl, ImageResult result, Action publish, CancellationToken cancellationToken);

    /// <summary>Guard: processing, attempt is mine.</summary>
    Task<Transition> FailAsync(long id, int attempt, string content, string reason, CancellationToken cancellationToken);

    /// <summary>Guard: queued or processing.</summary>
    Task<Transition> CancelAsync(long id, string content, CancellationToken cancellationToken);

    /// <summary>
    /// Cancels the request that a Hangfire job is to paint, for an operator who deleted that job. Guard: queued or processing,
    /// and the stored job is still this one, so that a request retried meanwhile under another job is left alone.
    /// </summary>
    /// <returns>Its message is null when no request has that job.</returns>
    Task<Transition> CancelByHangfireJobAsync(string hangfireJobId, string content, CancellationToken cancellationToken);

    /// <summary>Guard: error or cancelled. Starts a new round of attempts and takes a new place in the queue.</summary>
    Task<Transition> RetryAsync(long id, int queuePosition, CancellationToken cancellationToken);

    /// <summary>Guard: processing, attempt is the stale one. The request keeps the time at which it was queued.</summary>
    Task<Transition> RequeueAsync(long id, int staleAttempt, int queuePosition, CancellationToken cancellationToken);

    /// <summary>
    /// The general write: null content leaves the content, null patch leaves the metadata; with both null only updated_at moves.
    /// </summary>
    /// <exception cref="MessageNotFoundException">There is no such message.</exception>
    Task<Message> UpdateMessageAsync(long id, string? content, MetadataPatch? patch, CancellationToken cancellationToken);

    /// <summary>Stores moved positions, one statement for all; only rows still queued under that Hangfire job are touched.</summary>
    /// <returns>How many rows were written.</returns>
    Task<int> SavePositionsAsync(IReadOnlyList<QueuedPosition> positions, CancellationToken cancellationToken);

    /// <summary>The message, or null.</summary>
    Task<Message?> FindAsync(long id, CancellationToken cancellationToken);

    /// <summary>The conversation, or null.</summary>
    Task<Conversation?> FindConversationAsync(string conversationId, CancellationToken cancellationToken);

    /// <summary>Messages of a conversation with an id above <paramref name="after"/>, in id order.</summary>
    Task<IReadOnlyList<Message>> ListAsync(string conversationId, long after, int limit, CancellationToken cancellationToken);

    /// <summary>Image requests in the given status, oldest place in the queue first.</summary>
    Task<IReadOnlyList<Message>> ListByStatusAsync(string status, UnfinishedCursor? after, int limit, CancellationToken cancellationToken);

    /// <summary>
    /// Queued image requests, oldest place in the queue first: the few columns that a look over the whole queue needs, since
    /// that may be 100,000 rows.
    /// </summary>
    Task<IReadOnlyList<WaitingRequest>> ListWaitingAsync(UnfinishedCursor? after, int limit, CancellationToken cancellationToken);

    /// <summary>Image requests in the given status, newest place in the queue first.</summary>
    Task<IReadOnlyList<Message>> ListNewestAsync(string status, int limit, CancellationToken cancellationToken);

    /// <summary>The message that a Hangfire job is to paint, or null.</summary>
    Task<Message?> FindByHangfireJobAsync(string hangfireJobId, CancellationToken cancellationToken);

    /// <summary>The image request whose picture has this job id in its name, or null.</summary>
    Task<Message?> FindByJobIdAsync(string jobId, CancellationToken cancellationToken);

    /// <summary>How many image requests are in the given status.</summary>
    Task<int> CountAsync(string status, CancellationToken cancellationToken);

    /// <summary>Messages written after <paramref name="revision"/>, in revision order, each in its newest state.</summary>
    Task<IReadOnlyList<MessageChange>> ChangesSinceAsync(long revision, string? conversationId, int limit, CancellationToken cancellationToken);

    /// <summary>The newest revision that <see cref="ChangesSinceAsync"/> would see; 0 when nothing was ever written.</summary>
    Task<long> LatestRevisionAsync(CancellationToken cancellationToken);
}

/// <summary>A place in <see cref="IMessageStore.ListByStatusAsync"/>'s order.</summary>
public readonly record struct UnfinishedCursor(DateTimeOffset QueuedAt, long Id);

/// <summary>A queued image request.</summary>
/// <param name="Id">The message.</param>
/// <param name="QueuedAt">When it got its place.</param>
/// <param name="HangfireJobId">The job that is to paint it; null when it has none yet.</param>
public readonly record struct WaitingRequest(long Id, DateTimeOffset QueuedAt, string? HangfireJobId);

/// <summary>A written row, with the owner of its conversation. Everyone who watches gets the same object.</summary>
public sealed record MessageChange(string Username, Message Message)
{
    private object? _shown;

    /// <summary>What the change looks like to those who watch: made by the first of them, shared by all.</summary>
    public T Shown<T>(Func<MessageChange, T> make)
        where T : class => (T)(Volatile.Read(ref _shown) ?? Interlocked.CompareExchange(ref _shown, make(this), null) ?? _shown);

    /// <summary>What it looks like is no part of what it is.</summary>
    public bool Equals(MessageChange? other) => other is not null && Username == other.Username && Message == other.Message;

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Username, Message.Id, Message.Revision);
}

/// <summary>A conversation.</summary>
public sealed record Conversation(string Id, string Username, string? Title, DateTimeOffset CreatedAt);

/// <summary>A plain message to add.</summary>
public sealed record NewMessage(string ConversationId, string Username, string Role, string Content, MetadataPatch? ExtraMetadata);

/// <summary>An image request to add.</summary>
/// <param name="ConversationId">The conversation.</param>
/// <param name="Username">Its owner.</param>
/// <param name="JobId">32 hex digits; see <see cref="MetadataFields.JobId"/>.</param>
/// <param name="Prompt">What to paint.</param>
/// <param name="Settings">Width, height and so on, as asked.</param>
/// <param name="QueuePosition">The best guess; the true one follows once Hangfire has the job.</param>
/// <param name="IdempotencyKey">The submitter's key, or null.</param>
public sealed record NewImageMessage(
    string ConversationId, string Username, string JobId, string Prompt, JsonObject Settings, int QueuePosition, string? IdempotencyKey)
{
    /// <summary>Whether an earlier message came from the same request: an idempotency key may come again only with the same.</summary>
    internal bool IsSameRequestAs(Message earlier) =>
        string.Equals(earlier.Prompt, Prompt, StringComparison.Ordinal)
        && earlier.Metadata.TryGetProperty(MetadataFields.Settings, out var settings)
        && JsonElement.DeepEquals(settings, JsonElement.Parse(Settings.ToJsonString()));
}

/// <summary>What became of a submission.</summary>
/// <param name="Message">The message.</param>
/// <param name="IsReplay">True when the idempotency key had been seen before and nothing was added.</param>
public readonly record struct Submitted(Message Message, bool IsReplay);

/// <summary>What became of a transition.</summary>
/// <param name="Applied">Whether the guard held and the row was written.</param>
/// <param name="Message">The row as it is now, written or refused; null when there is no such row.</param>
public readonly record struct Transition(bool Applied, Message? Message);

/// <summary>What Forge reported of a finished picture.</summary>
/// <param name="Seed">Null when the server does not say.</param>
/// <param name="Width">Pixels, of the picture itself.</param>
/// <param name="Height">Pixels, of the picture itself.</param>
/// <param name="Model">Null when the server does not say.</param>
/// <param name="Duration">From the request to Forge to its answer.</param>
public sealed record ImageResult(long? Seed, int Width, int Height, string? Model, TimeSpan Duration);

/// <summary>A position to store.</summary>
public readonly record struct QueuedPosition(string HangfireJobId, int Position);
