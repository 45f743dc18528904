using ImageQueue.Core.Queue;
using ImageQueue.Core.Telemetry;

namespace ImageQueue.Core.Requests;

/// <summary>Gives queued rows their Hangfire jobs: the one way into Hangfire's queue, for submits, retries and repairs.</summary>
public sealed class EnqueueImageRequest(
    IMessageStore store, ImageJobs jobs, IQueueOrder order, QueueRebuildState rebuilding, ILogger<EnqueueImageRequest> logger)
{
    /// <summary>
    /// Enqueues the message at the tail, unless a rebuild is under way, which will enqueue it. Never throws: the row is stored, and the
    /// sweep enqueues what could not be enqueued here.
    /// </summary>
    /// <param name="message">A queued message.</param>
    /// <returns>The message as it is now.</returns>
    public async Task<Message> EnqueueAsync(Message message)
    {
        ArgumentNullException.ThrowIfNull(message);
        if (rebuilding.IsUnderWay)
            return message;
        try
        {
            return (await EnqueueAgainAsync(message.Id, message.HangfireJobId, message.Username)).Message ?? message;
        }
        catch (Exception e)
        {
            logger.LogError(e, "Message {MessageId} is accepted but could not be enqueued; the sweep will enqueue it.", message.Id);
            return message;
        }
    }

    /// <summary>Enqueues a row whose job is missing or will not run.</summary>
    /// <param name="messageId">The message.</param>
    /// <param name="replaces">The job that it has; null when it has none.</param>
    /// <param name="username">Its owner; null when that is not known.</param>
    /// <returns>Not applied when another actor was quicker; the new job is then deleted.</returns>
    /// <exception cref="StoreUnavailableException">The job is in Hangfire and will claim the row, but the row does not name it.</exception>
    internal async Task<Transition> EnqueueAgainAsync(long messageId, string? replaces, string? username)
    {
        // The attach comes before any look at the queue. A crash between the two is the sweep's to repair.
        using var activity = QueueTracing.StartSend(messageId);
        var job = jobs.Enqueue(messageId, username);
        activity?.SetTag("messaging.message.id", job);
        var attached = await store.AttachJobAsync(messageId, job, replaces, CancellationToken.None);
        if (!attached.Applied)
            DropUnlessAttached(messageId, job, attached.Message);
        return attached;
    }

    /// <summary>Enqueues many rows in order; their writes share a commit.</summary>
    /// <returns>How many got a job.</returns>
    internal Task<int> EnqueueAgainAsync(IReadOnlyList<WaitingRequest> rows) => AttachAsync(EnqueueAll(rows));

    /// <summary>First half: the jobs are in Hangfire's queue, and their rows do not name them yet.</summary>
    internal IReadOnlyList<(long Id, string HangfireJobId, string? Replaces)> EnqueueAll(IReadOnlyList<WaitingRequest> rows) =>
        rows.Count == 0
        ? []
        : [.. jobs.EnqueueAll([.. rows.Select(row => (row.Id, row.Username))]).Zip(rows, (job, row) => (row.Id, job, row.HangfireJobId))];

    /// <summary>Second half.</summary>
    /// <returns>How many got a job.</returns>
    internal async Task<int> AttachAsync(IReadOnlyList<(long Id, string HangfireJobId, string? Replaces)> enqueued)
    {
        if (enqueued.Count == 0)
            return 0;
        var refused = (await store.AttachJobsAsync(enqueued, CancellationToken.None)).ToHashSet();
        foreach (var (id, job, _) in enqueued.Where(row => refused.Contains(row.Id)))
            DropUnlessAttached(id, job, await store.FindAsync(id, CancellationToken.None));
        return enqueued.Count - refused.Count;
    }

    private void DropUnlessAttached(long messageId, string job, Message? message)
    {
        if (message?.HangfireJobId == job)
            return; // A worker was quicker and has claimed the row with it.
        // Cancelled meanwhile, or another repair of the same row was quicker.
        logger.LogInformation(
            "Message {MessageId} needs no Hangfire job {HangfireJobId}; it is {Status}.", messageId, job, message?.Status ?? "gone");
        jobs.Delete(job, "another job has the request, or it was cancelled");
        order.Remove(job);
    }
}
