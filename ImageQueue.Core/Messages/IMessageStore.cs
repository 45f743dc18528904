using System.Text.Json;
using System.Text.Json.Nodes;
using ImageQueue.Core.Statistics;

namespace ImageQueue.Core.Messages;

/// <summary>
/// The whole store: seven faces of the same rows, of which each consumer takes the one it needs.
/// </summary>
/// <remarks>
/// Every verb throws <see cref="StoreUnavailableException"/> when the database cannot be reached or written; nothing is then
/// half-written.
/// </remarks>
public interface IMessageStore : IConversationStore, IRequestStore, IQueueStore, IFeedStore, IEraseStore, IOperatorStore, IStatisticsStore;

/// <summary>What the chat app reads and writes: conversations and their messages.</summary>
public interface IConversationStore
{
    /// <summary>Adds a plain message; the first one of a conversation makes it, owned by that username.</summary>
    /// <exception cref="ConversationForbiddenException">The conversation belongs to another username.</exception>
    Task<Message> AddAsync(NewMessage message, CancellationToken cancellationToken);

    /// <summary>The same, once: the same key with the same request gives the message that is already there.</summary>
    /// <exception cref="ConversationForbiddenException">The conversation belongs to another username.</exception>
    /// <exception cref="IdempotencyKeyReusedException">The key was used in this conversation for another request.</exception>
    Task<Submitted> AddOnceAsync(NewMessage message, IdempotencyKey key, CancellationToken cancellationToken);

    /// <summary>
    /// The general write: null content leaves the content, null patch leaves the metadata; with both null only updated_at moves.
    /// </summary>
    /// <exception cref="DocumentTooLargeException">The merged metadata would be larger than <see cref="MetadataPatch.MaxDocumentLength"/>, and than it is.</exception>
    /// <exception cref="MessageNotFoundException">There is no such message.</exception>
    Task<Message> UpdateMessageAsync(long id, string? content, MetadataPatch? patch, CancellationToken cancellationToken);

    /// <summary>The message, or null.</summary>
    Task<Message?> FindAsync(long id, CancellationToken cancellationToken);

    /// <summary>The conversation, or null.</summary>
    Task<Conversation?> FindConversationAsync(string conversationId, CancellationToken cancellationToken);

    /// <summary>Messages of a conversation with an id above <paramref name="after"/>, in id order.</summary>
    Task<IReadOnlyList<Message>> ListAsync(string conversationId, long after, int limit, CancellationToken cancellationToken);

    /// <summary>Messages of a conversation with an id below <paramref name="before"/>, the newest first.</summary>
    Task<IReadOnlyList<Message>> ListBackwardsAsync(string conversationId, long before, int limit, CancellationToken cancellationToken);

    /// <summary>A user's conversations by their newest messages, the newest first, of those whose newest has an id below <paramref name="before"/>.</summary>
    Task<IReadOnlyList<ConversationSummary>> ListConversationsAsync(string username, long before, int limit, CancellationToken cancellationToken);
}

/// <summary>
/// The life of an image request, one verb per transition. Each verb is one guarded UPDATE: it happens whole or not at all,
/// whoever else writes at the same moment, and no writer ever deletes another's fields.
/// </summary>
public interface IRequestStore
{
    /// <summary>
    /// Adds an image request: status queued, progress 0, content <c>[IMAGE_PENDING]</c>. The same idempotency key with the same
    /// request gives the message that is already there.
    /// </summary>
    /// <exception cref="ConversationForbiddenException">The conversation belongs to another username.</exception>
    /// <exception cref="IdempotencyKeyReusedException">The key was used in this conversation for another request.</exception>
    /// <exception cref="TooManyPendingException">The user has as many requests waiting as <paramref name="limits"/> allow, or as much work.</exception>
    Task<Submitted> SubmitAsync(NewImageMessage message, UserLimits limits, CancellationToken cancellationToken);

    /// <summary>
    /// Stores which Hangfire job will run the request. Guard: queued, and the stored Hangfire job is still
    /// <paramref name="replaces"/>: a worker, or somebody repairing the same row, may have been quicker.
    /// </summary>
    /// <param name="id">The message.</param>
    /// <param name="hangfireJobId">The new Hangfire job.</param>
    /// <param name="replaces">The job that is known to be gone; null when there was none yet.</param>
    /// <param name="cancellationToken">Gives up waiting.</param>
    Task<Transition> AttachJobAsync(long id, string hangfireJobId, string? replaces, CancellationToken cancellationToken);

    /// <summary>
    /// Guard: queued; or processing of the same Hangfire job whose worker has been silent for <see cref="Heartbeat.QuietTime"/>, since
    /// a job may have two entries in Hangfire's queue (Hangfire #2380) and must not be generated twice. Raises the attempt and sets the
    /// heartbeat.</summary>
    /// <param name="id">The message.</param>
    /// <param name="hangfireJobId">The job that claims it.</param>
    /// <param name="backend">The name of the Forge that is to generate it; null when none is.</param>
    /// <param name="lease">
    /// The lease of that Forge: its note becomes <c>{job_id}-{attempt}</c> of this claim in the same commit, so that whoever takes
    /// the lease next knows what may still be running there. Null: no note is written.
    /// </param>
    /// <param name="cancellationToken">Gives up waiting.</param>
    Task<Transition> ClaimAsync(long id, string hangfireJobId, string? backend, string? lease, CancellationToken cancellationToken);

    /// <summary>Guard: processing, attempt is mine, progress not falling. Sets the heartbeat as well.</summary>
    /// <param name="id">The message.</param>
    /// <param name="attempt">The caller's attempt, from its claim.</param>
    /// <param name="progress">0..99.</param>
    /// <param name="cancellationToken">Gives up waiting.</param>
    Task<Transition> SaveProgressAsync(long id, int attempt, int progress, CancellationToken cancellationToken);

    /// <summary>Says where the image can be seen while it is generated. Guard: processing, attempt is mine. Sets the heartbeat as well.</summary>
    Task<Transition> SavePreviewAsync(long id, int attempt, string previewUrl, CancellationToken cancellationToken);

    /// <summary>Guard: processing, attempt is mine. No file is touched: what belongs to this attempt is named by it.</summary>
    /// <param name="id">The message.</param>
    /// <param name="attempt">The caller's attempt, from its claim.</param>
    /// <param name="content">What the chat shows.</param>
    /// <param name="imageUrl">Where the image is served.</param>
    /// <param name="thumbnailUrl">Where its thumbnail is; null when there is none.</param>
    /// <param name="result">What Forge reported.</param>
    /// <param name="cancellationToken">Gives up waiting.</param>
    Task<Transition> CompleteAsync(
        long id, int attempt, string content, string imageUrl, string? thumbnailUrl, ImageResult result, CancellationToken cancellationToken);

    /// <summary>Guard: processing, attempt is mine.</summary>
    /// <param name="id">The message.</param>
    /// <param name="attempt">The caller's attempt, from its claim.</param>
    /// <param name="content">What the chat shows.</param>
    /// <param name="failure">The sentence and its code.</param>
    /// <param name="cancellationToken">Gives up waiting.</param>
    Task<Transition> FailAsync(long id, int attempt, string content, RequestFailure failure, CancellationToken cancellationToken);

    /// <summary>Guard: queued or processing.</summary>
    Task<Transition> CancelAsync(long id, string content, CancellationToken cancellationToken);

    /// <summary>
    /// Cancels the request that a Hangfire job is to generate, for an operator who deleted that job. Guard: queued or processing,
    /// and the stored job is still this one, so that a request retried meanwhile under another job is left alone.
    /// </summary>
    /// <returns>Its message is null when no request has that job.</returns>
    Task<Transition> CancelByHangfireJobAsync(string hangfireJobId, string content, CancellationToken cancellationToken);

    /// <summary>
    /// Guard: error or cancelled, and the user's limits, under the same lock as a submit. Forgets the failures counted so far
    /// and takes a new place in the queue.
    /// </summary>
    /// <exception cref="TooManyPendingException">The user has as many requests waiting as <paramref name="limits"/> allow, or as much work.</exception>
    Task<Transition> RetryAsync(long id, int queuePosition, UserLimits limits, CancellationToken cancellationToken);

    /// <summary>
    /// Guard: processing, attempt is the stale one. The request keeps the time at which it was queued; its true position
    /// follows with the next pass over positions.
    /// </summary>
    /// <param name="id">The message.</param>
    /// <param name="staleAttempt">The attempt that is over.</param>
    /// <param name="blamed">Whether the request itself may be what ended the attempt: counted in <see cref="Message.Failures"/>.</param>
    /// <param name="cancellationToken">Gives up waiting.</param>
    /// <param name="why">What ended the attempt, for operators.</param>
    Task<Transition> RequeueAsync(long id, int staleAttempt, bool blamed, CancellationToken cancellationToken, string? why = null);

    /// <summary>The message that a Hangfire job is to generate, or null.</summary>
    Task<Message?> FindByHangfireJobAsync(string hangfireJobId, CancellationToken cancellationToken);

    /// <summary>The image message of that <c>job_id</c>, which names its image, or null.</summary>
    Task<Message?> FindByJobIdAsync(string jobId, CancellationToken cancellationToken);
}

/// <summary>The queue as a whole: what the sweep, the positions and the estimates read and write.</summary>
public interface IQueueStore
{
    /// <summary>
    /// Stores moved positions, set-based, found by the messages' ids; only rows still queued under that Hangfire job and whose
    /// position differs are touched.
    /// </summary>
    /// <returns>How many rows were written.</returns>
    Task<int> SavePositionsAsync(IReadOnlyList<QueuedPosition> positions, CancellationToken cancellationToken);

    /// <summary>
    /// <see cref="IRequestStore.AttachJobAsync"/> for a page of requests, in one commit. Guard of each: queued, and the stored job
    /// is still <c>Replaces</c> (null: there is none).
    /// </summary>
    /// <returns>The ids it was refused for; the others have their job.</returns>
    Task<IReadOnlyList<long>> AttachJobsAsync(
        IReadOnlyList<(long Id, string HangfireJobId, string? Replaces)> jobs, CancellationToken cancellationToken);

    /// <summary>
    /// Requests that are being generated and whose heartbeat is older than that by the database's own clock, which has written it:
    /// machines' clocks are never compared. Oldest place in the queue first.
    /// </summary>
    Task<IReadOnlyList<Message>> ListSilentAsync(TimeSpan silentFor, UnfinishedCursor? after, int limit, CancellationToken cancellationToken);

    /// <summary>
    /// Requests that have been waiting for longer than that, by the database's own clock, without a Hangfire job. Oldest first.
    /// </summary>
    Task<IReadOnlyList<WaitingRequest>> ListJoblessAsync(TimeSpan olderThan, UnfinishedCursor? after, int limit, CancellationToken cancellationToken);

    /// <summary>Image requests in the given status, oldest place in the queue first.</summary>
    Task<IReadOnlyList<Message>> ListByStatusAsync(string status, UnfinishedCursor? after, int limit, CancellationToken cancellationToken);

    /// <summary>
    /// Queued image requests, oldest place in the queue first: the few columns that a look over the whole queue needs, since
    /// that may be 100,000 rows.
    /// </summary>
    Task<IReadOnlyList<WaitingRequest>> ListWaitingAsync(UnfinishedCursor? after, int limit, CancellationToken cancellationToken);

    /// <summary>Those of these Hangfire jobs' requests that are queued, in no order.</summary>
    Task<IReadOnlyList<WaitingRequest>> FindWaitingAsync(IReadOnlyCollection<string> hangfireJobIds, CancellationToken cancellationToken);

    /// <summary>Requests that have been waiting for longer than that, by the database's own clock. Oldest first.</summary>
    Task<IReadOnlyList<WaitingRequest>> ListWaitingLongerAsync(TimeSpan waited, UnfinishedCursor? after, int limit, CancellationToken cancellationToken);

    /// <summary>Image requests in the given status, newest place in the queue first.</summary>
    Task<IReadOnlyList<Message>> ListNewestAsync(string status, int limit, CancellationToken cancellationToken);

    /// <summary>How many image requests are in the given status.</summary>
    Task<int> CountAsync(string status, CancellationToken cancellationToken);

    /// <summary>
    /// Takes leases, or renews those that the holder has. A lease is free when nobody holds it or its term is over, by the
    /// database's own clock: machines' clocks are never compared.
    /// </summary>
    /// <param name="holder">Who: one name per process.</param>
    /// <param name="names">What.</param>
    /// <param name="term">How long each is held without being renewed.</param>
    /// <param name="cancellationToken">Gives up waiting.</param>
    /// <returns>Those of <paramref name="names"/> that the holder has now.</returns>
    Task<IReadOnlyList<Lease>> AcquireLeasesAsync(string holder, IReadOnlyCollection<string> names, TimeSpan term, CancellationToken cancellationToken);

    /// <summary>Writes down what the holder does with a lease; it outlives the holder. Guard: the holder has it.</summary>
    Task<bool> NoteLeaseAsync(string holder, string name, string? note, CancellationToken cancellationToken);

    /// <summary>Gives leases back; their notes stay.</summary>
    Task ReleaseLeasesAsync(string holder, IReadOnlyCollection<string> names, CancellationToken cancellationToken);

    /// <summary>The leases that somebody holds now and whose names begin so, ordered by name.</summary>
    Task<IReadOnlyList<HeldLease>> ListLeasesAsync(string prefix, CancellationToken cancellationToken);
}

/// <summary>
/// Erasing. What is erased leaves a tombstone, a row without anything personal, so that whoever watches hears of it; the feed alone
/// shows it, to all others there is no such message any more.
/// </summary>
public interface IEraseStore
{
    /// <summary>
    /// Erases content, metadata, owner and bookkeeping, and the title of the conversation that began with it; status becomes
    /// <c>deleted</c>. Guard: there, and not erased.
    /// </summary>
    /// <returns>The tombstone; no message when there was none to erase.</returns>
    Task<Transition> EraseAsync(long id, CancellationToken cancellationToken);

    /// <summary>
    /// Erases a conversation's owner and title, not its messages. From then on there is no such conversation, and none can begin
    /// under its id until its last tombstone is gone.
    /// </summary>
    /// <returns>False when there was none.</returns>
    Task<bool> CloseConversationAsync(string conversationId, CancellationToken cancellationToken);

    /// <summary>
    /// Removes tombstones older than that, by the database's own clock, and closed conversations without any. The newest row of
    /// all stays where revisions are counted from it.
    /// </summary>
    /// <returns>How many tombstones were removed.</returns>
    Task<int> ForgetErasedAsync(TimeSpan olderThan, int limit, CancellationToken cancellationToken);
}

/// <summary>Row changes, for those who watch.</summary>
public interface IFeedStore
{
    /// <summary>Messages written after <paramref name="revision"/>, in revision order, each in its newest state.</summary>
    /// <param name="revision">Where to go on.</param>
    /// <param name="conversationId">Of one conversation; null: of all.</param>
    /// <param name="limit">Most of them.</param>
    /// <param name="cancellationToken">Gives up waiting.</param>
    Task<IReadOnlyList<MessageChange>> ChangesSinceAsync(long revision, string? conversationId, int limit, CancellationToken cancellationToken);

    /// <summary>The same without the messages themselves: which rows were written, for whoever needs few of them.</summary>
    Task<ChangedRows> ListChangesAsync(long revision, int limit, CancellationToken cancellationToken);

    /// <summary>
    /// The cheapest question there is: the answer is another one when rows may have been written, by whichever process, since it
    /// was given before. One that is the same proves nothing on a database where a transaction stays open.
    /// </summary>
    Task<ChangeMark> ChangeMarkAsync(CancellationToken cancellationToken);

    /// <summary>
    /// The newest of the rows from <see cref="ChangedRows.HeldBackAt"/> on: they are written, but rows that are written already
    /// may still appear between them.
    /// </summary>
    Task<IReadOnlyList<ChangedRow>> ListAheadAsync(long from, int limit, CancellationToken cancellationToken);

    /// <summary>The messages with their owners, in revision order.</summary>
    Task<IReadOnlyList<MessageChange>> ReadChangesAsync(IReadOnlyCollection<long> ids, CancellationToken cancellationToken);

    /// <summary>The newest revision that <see cref="ChangesSinceAsync"/> would see; 0 when nothing was ever written.</summary>
    Task<long> LatestRevisionAsync(CancellationToken cancellationToken);
}

/// <summary>What one user may have waiting.</summary>
/// <param name="MaxPending">Requests.</param>
/// <param name="MaxWork">
/// Their sum in megapixel-steps (<see cref="NewImageMessage.Work"/>); null: any. Who has nothing waiting may ask for more than
/// that: it would never be let in otherwise.
/// </param>
public sealed record UserLimits(int MaxPending, double? MaxWork = null)
{
    /// <summary>For those whom nothing limits.</summary>
    public static UserLimits None { get; } = new(int.MaxValue);
}

/// <summary>Why a request ended in error.</summary>
/// <param name="Code">One of <see cref="ErrorCodes"/>, for programs.</param>
/// <param name="Sentence">For the user.</param>
public readonly record struct RequestFailure(string Code, string Sentence)
{
    /// <summary>What was behind it, for operators: a server's own words, perhaps.</summary>
    public string? Reason { get; init; }

    /// <summary>As the request's history has it.</summary>
    internal string ToHistory() => Reason is null ? Code : $"{Code}: {Reason}";
}

/// <summary>Something that one process at a time may do: a backend it alone may use, a task it alone does.</summary>
/// <param name="Name">What.</param>
/// <param name="Note">What its holder, this one or the one before, wrote last.</param>
public readonly record struct Lease(string Name, string? Note);

/// <summary>A lease whose term is not over.</summary>
/// <param name="Name">What.</param>
/// <param name="Holder">The process that has it.</param>
/// <param name="Note">What its holder, this one or the one before, wrote last.</param>
public readonly record struct HeldLease(string Name, string Holder, string? Note);

/// <summary>A place in <see cref="IQueueStore.ListByStatusAsync"/>'s order.</summary>
public readonly record struct UnfinishedCursor(DateTimeOffset QueuedAt, long Id);

/// <summary>A queued image request.</summary>
/// <param name="Id">The message.</param>
/// <param name="QueuedAt">When it got its place.</param>
/// <param name="HangfireJobId">The job that is to generate it; null when it has none yet.</param>
/// <param name="QueuePosition">As stored; 0 where that is no number.</param>
public readonly record struct WaitingRequest(long Id, DateTimeOffset QueuedAt, string? HangfireJobId, int QueuePosition);

/// <summary>Which row was written, and when in the order of writes.</summary>
public readonly record struct ChangedRow(long Id, string ConversationId, long Revision);

/// <summary>What a database says of its own writes, to be compared with what it said before.</summary>
/// <param name="Written">Another number after a write.</param>
/// <param name="Ended">Another number after a transaction's end, where writes are seen later than they are counted.</param>
public readonly record struct ChangeMark(long Written, long Ended);

/// <summary>What was written after a revision.</summary>
/// <param name="Rows">In revision order; no row of a lower revision than the last can appear any more.</param>
/// <param name="HeldBackAt">
/// Null when that is all. Otherwise a transaction that has not ended yet: rows from this revision on are there, and rows may still
/// appear between them.
/// </param>
public sealed record ChangedRows(IReadOnlyList<ChangedRow> Rows, long? HeldBackAt);

/// <summary>A written row, with the owner of its conversation. Everyone who watches gets the same object.</summary>
public sealed record MessageChange(string Username, Message Message)
{
    private object? _shown;

    /// <summary>
    /// Where one who has seen this goes on: behind its own revision, or, for a change that is told ahead of the order, where the
    /// order stands. This is what a client is to give back, so that it misses nothing.
    /// </summary>
    public long ResumeFrom { get; init; } = Message.Revision;

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

/// <summary>A conversation in a list of them.</summary>
/// <param name="Conversation">The conversation.</param>
/// <param name="LastMessageId">Its newest message.</param>
/// <param name="UpdatedAt">When that one was last written.</param>
public sealed record ConversationSummary(Conversation Conversation, long LastMessageId, DateTimeOffset UpdatedAt);

/// <summary>What makes a repeated request known.</summary>
/// <param name="Key">The submitter's key, unique in its conversation.</param>
/// <param name="RequestHash">What was sent with it: <see cref="Requests.RequestFingerprint"/>.</param>
public sealed record IdempotencyKey(string Key, string RequestHash);

/// <summary>A plain message to add.</summary>
public sealed record NewMessage(string ConversationId, string Username, string Role, string Content, MetadataPatch? ExtraMetadata);

/// <summary>An image request to add.</summary>
/// <param name="ConversationId">The conversation.</param>
/// <param name="Username">Its owner.</param>
/// <param name="JobId">32 hex digits; see <see cref="MetadataFields.JobId"/>.</param>
/// <param name="Prompt">What to generate.</param>
/// <param name="Settings">Width, height and so on, as asked.</param>
/// <param name="QueuePosition">The best guess; the true one follows once Hangfire has the job.</param>
/// <param name="IdempotencyKey">The submitter's key, or null.</param>
public sealed record NewImageMessage(
    string ConversationId, string Username, string JobId, string Prompt, JsonObject Settings, int QueuePosition, string? IdempotencyKey)
{
    /// <summary>What was sent with the key: <see cref="Requests.RequestFingerprint"/>.</summary>
    public string? RequestHash { get; init; }

    /// <summary>What it asks of a GPU, in megapixel-steps: width x height x steps / 1,000,000. 0 where the settings do not say.</summary>
    public double Work => Setting("width") * Setting("height") * Setting("steps") / 1_000_000;

    private double Setting(string name) => Settings[name] is JsonValue value && value.TryGetValue<int>(out var number) ? number : 0;

    /// <summary>
    /// Whether an earlier message came from the same request: an idempotency key may come again only with the same. What was sent
    /// decides; for rows that do not know that, what it came to, which the defaults of a later release may change.
    /// </summary>
    internal bool IsSameRequestAs(Message earlier) => earlier.RequestHash is { } sent && RequestHash is not null
        ? string.Equals(sent, RequestHash, StringComparison.Ordinal)
        : string.Equals(earlier.Prompt, Prompt, StringComparison.Ordinal)
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

/// <summary>What Forge reported of a finished image.</summary>
/// <param name="Seed">Null when the server does not say.</param>
/// <param name="Width">Pixels, of the image itself.</param>
/// <param name="Height">Pixels, of the image itself.</param>
/// <param name="Model">Null when the server does not say.</param>
/// <param name="Duration">Of generating.</param>
/// <param name="Backend">The name of the server that generated it.</param>
public sealed record ImageResult(long? Seed, int Width, int Height, string? Model, TimeSpan Duration, string? Backend = null);

/// <summary>A position to store.</summary>
/// <param name="Id">The message: by this the row is found.</param>
/// <param name="HangfireJobId">The job that the position is of; a row that waits under another by now is left alone.</param>
/// <param name="Position">1 = next.</param>
public readonly record struct QueuedPosition(long Id, string HangfireJobId, int Position);
