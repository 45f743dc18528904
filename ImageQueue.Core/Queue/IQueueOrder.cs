namespace ImageQueue.Core.Queue;

/// <summary>The order in which waiting requests will run, derived from Hangfire's enqueued state; one snapshot serves all readers.</summary>
public interface IQueueOrder
{
    /// <summary>
    /// Who waits now: never behind what this process has done to the queue, and at most a moment behind what others have.
    /// Waits for Hangfire only while nothing is known yet.
    /// </summary>
    ValueTask<QueueSnapshot> GetAsync(CancellationToken cancellationToken);

    /// <summary>Puts a job at the tail and notes its place, so that the very next snapshot has it.</summary>
    /// <param name="enqueue">Makes the job in Hangfire, which calls its filters on the way, and gives its id.</param>
    /// <returns>The Hangfire id.</returns>
    string Enqueue(Func<string> enqueue);

    /// <summary>Says that this process has changed who waits: the next reader gets a new snapshot.</summary>
    void Changed();

    /// <summary>Completes at the next <see cref="Changed"/>, or when Hangfire changes an image job's state in this process.</summary>
    Task NextChange { get; }
}
