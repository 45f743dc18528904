namespace ImageQueue.Core.Queue;

/// <summary>How one job storage is asked for its queue; <see cref="QueueOrder"/> decides when.</summary>
public interface IQueueReader
{
    /// <summary>
    /// Whether the queue lives in this process and nobody else changes it: then it is read once and kept up to date from what
    /// happens here, and what a job's state is costs next to nothing to ask.
    /// </summary>
    bool IsPrivate { get; }

    /// <summary>
    /// The Hangfire ids of all jobs that wait in <see cref="ImageJobs.QueueName"/>, next to run first, each once: by the first of
    /// its entries, without the ghosts of jobs that will not run, and without those that a worker has taken.
    /// </summary>
    Task<IReadOnlyList<string>> ReadAsync(CancellationToken cancellationToken);
}
