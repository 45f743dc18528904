namespace ImageQueue.Core.Messages;

/// <summary>Pauses, and the queries of the image dashboard.</summary>
public interface IOperatorStore
{
    Task<IReadOnlyList<Pause>> ListPausesAsync(CancellationToken cancellationToken);

    /// <returns>False when it was paused already; the earlier pause stays.</returns>
    Task<bool> PauseAsync(string name, string by, CancellationToken cancellationToken);

    /// <returns>False when it was not paused.</returns>
    Task<bool> ResumeAsync(string name, CancellationToken cancellationToken);

    /// <summary>
    /// Matching image requests, newest first, within a range of ids below <paramref name="before"/>.
    /// </summary>
    /// <param name="before">Only messages with a smaller id.</param>
    /// <param name="span">How many ids the range has, since messages may be kept for ever.</param>
    /// <param name="limit">Most of them.</param>
    /// <param name="cancellationToken">Gives up waiting.</param>
    Task<FoundRequests> SearchAsync(RequestSearch search, long before, long span, int limit, CancellationToken cancellationToken);

    /// <summary>
    /// Matching image requests in the one status that the search names, oldest place in the queue first. For unfinished requests, which
    /// are found by status however old they are.
    /// </summary>
    Task<IReadOnlyList<MessageChange>> SearchUnfinishedAsync(RequestSearch search, int limit, CancellationToken cancellationToken);

    /// <summary>Ids of all matching requests above <paramref name="after"/>, ascending.</summary>
    Task<IReadOnlyList<long>> ListMatchingAsync(RequestSearch search, long after, int limit, CancellationToken cancellationToken);

    /// <summary>How many requests match.</summary>
    Task<int> CountMatchingAsync(RequestSearch search, CancellationToken cancellationToken);

    /// <summary>The users with the most waiting requests, most first.</summary>
    Task<IReadOnlyList<WaitingUser>> ListWaitingUsersAsync(int limit, CancellationToken cancellationToken);

    /// <summary>
    /// The events of these requests, oldest first.
    /// </summary>
    Task<IReadOnlyDictionary<long, IReadOnlyList<RequestEvent>>> ReadEventsAsync(
        IReadOnlyCollection<long> ids, CancellationToken cancellationToken);

    /// <summary>
    /// The ends of image requests in one status that were queued in the last time span, by the database's clock, newest first.
    /// </summary>
    Task<IReadOnlyList<RequestEnd>> ListEndsAsync(string status, TimeSpan since, int limit, CancellationToken cancellationToken);
}

/// <summary>An operator's search; null matches any.</summary>
/// <param name="Statuses">Any of these.</param>
/// <param name="ErrorCode">One of <see cref="ErrorCodes"/>.</param>
/// <param name="Backend">The backend of the last attempt.</param>
/// <param name="Username">The start of a user name, in any case.</param>
/// <param name="Text">
/// A part of the prompt in any case (Turkish and English), or the whole of a message id, job id, Hangfire job id or conversation.
/// </param>
public sealed record RequestSearch(
    IReadOnlyCollection<string> Statuses, string? ErrorCode = null, string? Backend = null, string? Username = null, string? Text = null);

/// <param name="Count">Waiting requests.</param>
/// <param name="OldestQueuedAt">When the oldest of them got its place.</param>
public readonly record struct WaitingUser(string Username, int Count, DateTimeOffset OldestQueuedAt);

/// <summary>A search's matches in a range of ids.</summary>
/// <param name="Requests">Newest first.</param>
/// <param name="GoOnBefore">The end of the range; null when nothing is older. At the limit, continue before the last request.</param>
public sealed record FoundRequests(IReadOnlyList<MessageChange> Requests, long? GoOnBefore);

/// <summary>A finished request.</summary>
/// <param name="Id">The message.</param>
/// <param name="ErrorCode">One of <see cref="ErrorCodes"/>; null when it is no error.</param>
/// <param name="Backend">The backend of the last attempt.</param>
/// <param name="QueuedAt">When it got its place in the queue.</param>
/// <param name="At">When its row was written last: its end, unless the chat app has written since.</param>
/// <param name="Seconds">The generation time, when complete.</param>
/// <param name="Work">Megapixel-steps.</param>
public readonly record struct RequestEnd(
    long Id, string? ErrorCode, string? Backend, DateTimeOffset QueuedAt, DateTimeOffset At, double? Seconds, double? Work = null);

/// <summary>An operator's pause.</summary>
/// <param name="Name">The queue or a backend: see <c>Pauses</c>.</param>
/// <param name="By">The operator.</param>
/// <param name="At">Since when, by the database's clock.</param>
public readonly record struct Pause(string Name, string By, DateTimeOffset At);
