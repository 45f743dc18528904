namespace ImageQueue.Core.Messages;

/// <summary>Pauses, and the queries of the image dashboard.</summary>
public interface IOperatorStore
{
    Task<IReadOnlyList<Pause>> ListPausesAsync(CancellationToken cancellationToken);

    /// <returns>False when it was paused already; the earlier pause stays.</returns>
    Task<bool> PauseAsync(string name, string by, CancellationToken cancellationToken);

    /// <returns>False when it was not paused.</returns>
    Task<bool> ResumeAsync(string name, CancellationToken cancellationToken);

    /// <summary>Matching finished requests next to a place in their order, the newest end first.</summary>
    /// <param name="place">Null for the newest.</param>
    /// <param name="isNewer">Whether to search towards the newest end.</param>
    /// <param name="span">How many finished requests to look through, since they may be kept for ever.</param>
    /// <param name="limit">Most matches.</param>
    Task<FoundRequests> SearchFinishedAsync(
        RequestSearch search, FinishedCursor? place, bool isNewer, int span, int limit, CancellationToken cancellationToken);

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

    /// <summary>The events of these requests, oldest first.</summary>
    Task<IReadOnlyDictionary<long, IReadOnlyList<RequestEvent>>> ReadEventsAsync(
        IReadOnlyCollection<long> ids, CancellationToken cancellationToken);

    /// <summary>Requests that ended in error in the last time span, by the database's clock, the newest end first.</summary>
    Task<IReadOnlyList<RequestError>> ListErrorsAsync(TimeSpan since, int limit, CancellationToken cancellationToken);
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
/// <param name="OldestJob">The oldest one's Hangfire job; null while it has none.</param>
public readonly record struct WaitingUser(string Username, int Count, DateTimeOffset OldestQueuedAt, string? OldestJob);

/// <summary>A search's matches among the finished requests that it looked through.</summary>
/// <param name="Requests">The newest end first.</param>
/// <param name="GoOn">The last one looked through; null when there is none beyond. At the limit, go on from the last match.</param>
public sealed record FoundRequests(IReadOnlyList<MessageChange> Requests, FinishedCursor? GoOn);

/// <summary>A place in the order of the finished requests.</summary>
/// <param name="At">When a request finished.</param>
/// <param name="Id">Its message.</param>
public readonly record struct FinishedCursor(DateTimeOffset At, long Id);

/// <summary>A request that ended in error.</summary>
/// <param name="Id">The message.</param>
/// <param name="Code">One of <see cref="ErrorCodes"/>.</param>
/// <param name="Backend">The backend of the last attempt; null when there was none.</param>
/// <param name="QueuedAt">When it got its place in the queue.</param>
/// <param name="At">When it ended.</param>
public readonly record struct RequestError(long Id, string? Code, string? Backend, DateTimeOffset QueuedAt, DateTimeOffset At);

/// <summary>An operator's pause.</summary>
/// <param name="Name">The queue or a backend: see <c>Pauses</c>.</param>
/// <param name="By">The operator.</param>
/// <param name="At">Since when, by the database's clock.</param>
public readonly record struct Pause(string Name, string By, DateTimeOffset At);
