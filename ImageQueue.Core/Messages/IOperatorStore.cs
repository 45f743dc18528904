namespace ImageQueue.Core.Messages;

/// <summary>What operators decide and look at: pauses, and requests by what operators ask of them.</summary>
public interface IOperatorStore
{
    /// <summary>All that is paused: a few rows.</summary>
    Task<IReadOnlyList<Pause>> ListPausesAsync(CancellationToken cancellationToken);

    /// <summary>Pauses it, until it is resumed.</summary>
    /// <returns>False when it was paused already: whose pause that is stays.</returns>
    Task<bool> PauseAsync(string name, string by, CancellationToken cancellationToken);

    /// <summary>Ends its pause.</summary>
    /// <returns>False when it was not paused.</returns>
    Task<bool> ResumeAsync(string name, CancellationToken cancellationToken);

    /// <summary>
    /// Image requests that fit, newest first. Looks at a stretch of messages below <paramref name="before"/> and no further.
    /// </summary>
    /// <param name="search">What they must be.</param>
    /// <param name="before">Only messages with a smaller id.</param>
    /// <param name="span">How many ids that stretch has: what is kept for ever is never read whole.</param>
    /// <param name="limit">Most of them.</param>
    /// <param name="cancellationToken">Gives up waiting.</param>
    Task<FoundRequests> SearchAsync(RequestSearch search, long before, long span, int limit, CancellationToken cancellationToken);

    /// <summary>
    /// Image requests that fit, in the one status that is asked for, the oldest place in the queue first. For what has not ended:
    /// however old, that is found by its status.
    /// </summary>
    Task<IReadOnlyList<MessageChange>> SearchUnfinishedAsync(RequestSearch search, int limit, CancellationToken cancellationToken);

    /// <summary>
    /// What has happened to these requests, step by step, the oldest first; of rows that an earlier release has written, what this one has
    /// seen.
    /// </summary>
    Task<IReadOnlyDictionary<long, IReadOnlyList<RequestEvent>>> ReadEventsAsync(
        IReadOnlyCollection<long> ids, CancellationToken cancellationToken);

    /// <summary>
    /// Image requests in one status that were queued in the last time, by the database's clock, newest first: their ends in a few columns.
    /// </summary>
    Task<IReadOnlyList<RequestEnd>> ListEndsAsync(string status, TimeSpan since, int limit, CancellationToken cancellationToken);
}

/// <summary>What an operator looks for; null is any.</summary>
/// <param name="Statuses">Any of these.</param>
/// <param name="ErrorCode">One of <see cref="ErrorCodes"/>.</param>
/// <param name="Backend">The Forge that generated it, or tried last.</param>
/// <param name="Username">Whose it is.</param>
/// <param name="Text">A part of the prompt, or the whole of a message id, job id, Hangfire job id or conversation.</param>
public sealed record RequestSearch(
    IReadOnlyCollection<string> Statuses, string? ErrorCode = null, string? Backend = null, string? Username = null, string? Text = null);

/// <summary>What was found in a stretch of messages.</summary>
/// <param name="Requests">Newest first.</param>
/// <param name="GoOnBefore">Where the stretch ended; null when nothing is older. Where the limit ended it, the last of the requests is that
/// place.</param>
public sealed record FoundRequests(IReadOnlyList<MessageChange> Requests, long? GoOnBefore);

/// <summary>How a request ended.</summary>
/// <param name="Id">The message.</param>
/// <param name="ErrorCode">One of <see cref="ErrorCodes"/>; null when it is no error.</param>
/// <param name="Backend">The Forge that generated it, or tried last.</param>
/// <param name="QueuedAt">When it got its place.</param>
/// <param name="At">When its row was written last: its end, unless the chat app has added something since.</param>
/// <param name="Seconds">What generating took, when complete.</param>
public readonly record struct RequestEnd(
    long Id, string? ErrorCode, string? Backend, DateTimeOffset QueuedAt, DateTimeOffset At, double? Seconds);

/// <summary>Something that an operator has stopped.</summary>
/// <param name="Name">What: see <c>Pauses</c>.</param>
/// <param name="By">Who.</param>
/// <param name="At">Since when, by the database's clock.</param>
public readonly record struct Pause(string Name, string By, DateTimeOffset At);
