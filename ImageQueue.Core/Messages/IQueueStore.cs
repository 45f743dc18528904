namespace ImageQueue.Core.Messages;

/// <summary>The queue as a whole: what the sweep, the positions and the estimates read and write.</summary>
public interface IQueueStore
{
    /// <summary>
    /// Stores moved positions, set-based; touches only rows still queued under that Hangfire job and whose position differs.
    /// </summary>
    /// <returns>How many rows were written.</returns>
    Task<int> SavePositionsAsync(IReadOnlyList<QueuedPosition> positions, CancellationToken cancellationToken);

    /// <summary>
    /// <see cref="IRequestStore.AttachJobAsync"/> for a page of requests, in one commit. Guard of each: queued, and the stored job is
    /// still <c>Replaces</c> (null: there is none).
    /// </summary>
    /// <returns>The ids it was refused for; the others have their job.</returns>
    Task<IReadOnlyList<long>> AttachJobsAsync(
        IReadOnlyList<(long Id, string HangfireJobId, string? Replaces)> jobs, CancellationToken cancellationToken);

    /// <summary>
    /// Processing requests whose heartbeat is older than that by the database's clock, which also wrote it, since machines' clocks
    /// differ. Oldest place in the queue first.
    /// </summary>
    Task<IReadOnlyList<Message>> ListSilentAsync(
        TimeSpan silentFor, UnfinishedCursor? after, int limit, CancellationToken cancellationToken);

    /// <summary>Requests queued for longer than that, by the database's clock, without a Hangfire job. Oldest first.</summary>
    Task<IReadOnlyList<WaitingRequest>> ListJoblessAsync(
        TimeSpan olderThan, UnfinishedCursor? after, int limit, CancellationToken cancellationToken);

    /// <summary>Image requests in one status, oldest place in the queue first.</summary>
    Task<IReadOnlyList<Message>> ListByStatusAsync(string status, UnfinishedCursor? after, int limit, CancellationToken cancellationToken);

    /// <summary>Queued requests in few columns, since there may be 100,000; oldest place in the queue first.</summary>
    Task<IReadOnlyList<WaitingRequest>> ListWaitingAsync(UnfinishedCursor? after, int limit, CancellationToken cancellationToken);

    /// <summary>Those of these Hangfire jobs' requests that are queued, in no order.</summary>
    Task<IReadOnlyList<WaitingRequest>> FindWaitingAsync(IReadOnlyCollection<string> hangfireJobIds, CancellationToken cancellationToken);

    /// <summary>Requests queued for longer than that, by the database's clock. Oldest first.</summary>
    Task<IReadOnlyList<WaitingRequest>> ListWaitingLongerAsync(
        TimeSpan waited, UnfinishedCursor? after, int limit, CancellationToken cancellationToken);

    /// <summary>Image requests in one status, newest place in the queue first.</summary>
    Task<IReadOnlyList<Message>> ListNewestAsync(string status, int limit, CancellationToken cancellationToken);

    /// <summary>How many image requests are in one status.</summary>
    Task<int> CountAsync(string status, CancellationToken cancellationToken);
}

/// <summary>A place in the order by queued_at and id.</summary>
public readonly record struct UnfinishedCursor(DateTimeOffset QueuedAt, long Id);

/// <summary>A queued image request.</summary>
/// <param name="Id">The message.</param>
/// <param name="QueuedAt">When it got its place in the queue.</param>
/// <param name="HangfireJobId">Null when it has no job yet.</param>
/// <param name="QueuePosition">As stored; 0 where that is no number.</param>
public readonly record struct WaitingRequest(long Id, DateTimeOffset QueuedAt, string? HangfireJobId, int QueuePosition)
{
    /// <summary>The conversation's owner.</summary>
    public string? Username { get; init; }
}

/// <summary>A position to store.</summary>
/// <param name="Id">The message.</param>
/// <param name="HangfireJobId">The job whose position it is; a row queued under another job by now is not written.</param>
/// <param name="Position">1 = next.</param>
public readonly record struct QueuedPosition(long Id, string HangfireJobId, int Position);
