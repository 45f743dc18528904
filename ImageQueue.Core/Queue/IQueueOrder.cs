using Hangfire.Storage;

namespace ImageQueue.Core.Queue;

/// <summary>
/// The order of Hangfire's image queue on one kind of job storage: the waiting requests in order, how a worker dequeues the next
/// job, and how a job goes back to its place.
/// </summary>
/// <remarks>
/// <see cref="InMemoryQueueOrder"/> hears of every change and reads nothing. <see cref="SqlServerQueueOrder"/> reads the rows that
/// other machines change too, and hears of this process's changes at once.
/// </remarks>
public interface IQueueOrder
{
    /// <summary>
    /// The waiting jobs in order. Reflects this process's changes at once and other processes' within a second. While the job
    /// storage is away the last known order serves, or <see cref="QueueSnapshot.Unknown"/>; it never throws for that.
    /// </summary>
    ValueTask<QueueSnapshot> GetAsync(CancellationToken cancellationToken);

    /// <summary>Whether it needs to know whose request a job is.</summary>
    bool UsesUsers { get; }

    /// <summary>Enqueues a job; the next snapshot has it.</summary>
    /// <param name="user">Whose request it is, as <see cref="ImageJobs.KeyOf"/> has it; null when it is not known.</param>
    /// <param name="enqueue">Creates the job in the Hangfire queue of this name, and returns its id.</param>
    /// <returns>The Hangfire id.</returns>
    string Enqueue(string? user, Func<string, string> enqueue);

    /// <summary>Enqueues many jobs in order.</summary>
    /// <param name="users">One for each job.</param>
    /// <param name="enqueue">Creates the jobs in <see cref="ImageJobs.QueueName"/>.</param>
    /// <returns>The Hangfire ids.</returns>
    IReadOnlyList<string> EnqueueAll(IReadOnlyList<string?> users, Func<IReadOnlyList<string>> enqueue);

    /// <summary>Dequeues the next job, waiting for one.</summary>
    /// <exception cref="OperationCanceledException">No job came.</exception>
    IFetchedJob Fetch(IStorageConnection connection, string[] queues, CancellationToken cancellationToken);

    /// <summary>The job's request was claimed or ended by this process: it no longer waits.</summary>
    void Remove(string hangfireJobId);

    /// <summary>Returns a dequeued job to its place. The caller has set its state (<see cref="ImageJobs.TryGiveBack"/>).</summary>
    /// <param name="hangfireJobId">The job.</param>
    /// <param name="fetched">What <see cref="Fetch"/> returned; null when another process, which has died, fetched it.</param>
    /// <returns>False when its place is lost: it needs a new job at the tail.</returns>
    bool TryGiveBack(string hangfireJobId, IFetchedJob? fetched);

    /// <summary>Moves a waiting job before all others. It still has one place, and cannot be dequeued twice.</summary>
    /// <returns>False when it does not wait, or this job storage cannot move it.</returns>
    Task<bool> TryMoveToFrontAsync(string hangfireJobId, CancellationToken cancellationToken);

    /// <summary>A hint: this process changes the job's state, if the transaction commits (Hangfire #2502).</summary>
    void OnStateChanging(string hangfireJobId, string? oldState, string newState);

    /// <summary>Drops the cached snapshot and completes <see cref="NextChange"/>.</summary>
    void Invalidate();

    /// <summary>Completes at the next change that this process knows of.</summary>
    Task NextChange { get; }
}
