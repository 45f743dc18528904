using Hangfire.Storage;

namespace ImageQueue.Core.Queue;

/// <summary>
/// Hangfire's queue of image jobs, as one kind of job storage keeps it: the order in which waiting requests will run, one
/// snapshot for all readers; how the next job is taken; and how one goes back to the place it had.
/// </summary>
/// <remarks>
/// <see cref="InMemoryQueueOrder"/> is for a queue in this process's memory: it is told of everything and reads nothing.
/// <see cref="SqlServerQueueOrder"/> is for a queue that other machines change as well: it reads rows, and is told what this
/// process does so that it need not wait for its own doing.
/// </remarks>
public interface IQueueOrder
{
    /// <summary>
    /// Who waits now: never behind what this process has done to the queue, and at most a moment behind what others have.
    /// Never throws for a job storage that is away: then the last known order serves, or <see cref="QueueSnapshot.Unknown"/>.
    /// </summary>
    ValueTask<QueueSnapshot> GetAsync(CancellationToken cancellationToken);

    /// <summary>Puts a job at the tail and notes its place, so that the very next snapshot has it.</summary>
    /// <param name="enqueue">Makes the job in Hangfire, which calls its filters on the way, and gives its id.</param>
    /// <returns>The Hangfire id.</returns>
    string Enqueue(Func<string> enqueue);

    /// <summary>The same for many jobs, in order.</summary>
    IReadOnlyList<string> EnqueueAll(Func<IReadOnlyList<string>> enqueue);

    /// <summary>Takes the next job, waiting for one; as Hangfire's own fetch, but a job that was given back comes first.</summary>
    /// <exception cref="OperationCanceledException">None has come until then.</exception>
    IFetchedJob Fetch(IStorageConnection connection, string[] queues, CancellationToken cancellationToken);

    /// <summary>This process has claimed the job's request, or ended it: it waits no longer.</summary>
    void Remove(string hangfireJobId);

    /// <summary>Puts a taken job back to where it was. Its state is the caller's (<see cref="ImageJobs.TryGiveBack"/>).</summary>
    /// <param name="hangfireJobId">The job.</param>
    /// <param name="inHand">What <see cref="Fetch"/> gave; null when somebody else has taken it and is no more.</param>
    /// <returns>False when its place is lost: it needs a new job at the tail.</returns>
    bool TryGiveBack(string hangfireJobId, IFetchedJob? inHand);

    /// <summary>Puts a waiting job before all others that wait. It has one place afterwards, as before, and cannot be taken twice.</summary>
    /// <returns>False when it does not wait (any more), or this job storage cannot do it.</returns>
    Task<bool> TryMoveToFrontAsync(string hangfireJobId, CancellationToken cancellationToken);

    /// <summary>A job is about to come to a state by this process's doing, if the transaction commits (Hangfire #2502): a hint.</summary>
    void OnStateChanging(string hangfireJobId, string? oldState, string newState);

    /// <summary>Says that something has changed: wakes those who wait for <see cref="NextChange"/>.</summary>
    void Invalidate();

    /// <summary>Completes at the next change that this process knows of.</summary>
    Task NextChange { get; }
}
