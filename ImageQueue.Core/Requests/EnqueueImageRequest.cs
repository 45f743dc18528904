using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Requests;

/// <summary>Gives a queued row its Hangfire job: the one way into Hangfire's queue, for submits, retries and repairs alike.</summary>
public sealed class EnqueueImageRequest(IMessageStore store, ImageJobs jobs, IQueueOrder order, ILogger<EnqueueImageRequest> logger)
{
    private volatile bool _isRebuilding;

    /// <summary>
    /// While the queue is being rebuilt from the rows, new rows wait for the rebuild to come to them, so that they do not
    /// overtake older ones.
    /// </summary>
    public bool IsRebuilding
    {
        get => _isRebuilding;
        set => _isRebuilding = value;
    }

    /// <summary>
    /// Enqueues the message at the tail, unless a rebuild is under way, which will do it in its turn. Never throws: the row is
    /// the promise and has been given; what fails here is left to the sweep.
    /// </summary>
    /// <returns>The message as it is now.</returns>
    public async Task<Message> EnqueueAsync(Message message)
    {
        if (IsRebuilding)
            return message;
        try
        {
            return (await AttachAsync(message.Id, jobs.Enqueue(message.Id), message.HangfireJobId)).Message ?? message;
        }
        catch (Exception e)
        {
            logger.LogError(e, "Message {MessageId} is accepted but could not be enqueued; the sweep will do it.", message.Id);
            return message;
        }
    }

    /// <summary>Enqueues a row whose job is missing or will not run.</summary>
    /// <param name="messageId">The message.</param>
    /// <param name="replaces">The job that it has; null when it has none.</param>
    /// <returns>Not applied when somebody else was quicker, and the new job has been deleted.</returns>
    /// <exception cref="StoreUnavailableException">The job is in Hangfire, and will claim the row, but the row does not know it.</exception>
    internal Task<Transition> EnqueueAgainAsync(long messageId, string? replaces)
    {
        var job = jobs.Enqueue(messageId);
        order.Changed();
        return AttachAsync(messageId, job, replaces);
    }

    private async Task<Transition> AttachAsync(long messageId, string job, string? replaces)
    {
        var attached = await store.AttachJobAsync(messageId, job, replaces, CancellationToken.None);
        if (!attached.Applied && attached.Message?.HangfireJobId != job)
        {
            // Cancelled meanwhile, or somebody repairing the same row was quicker: this job has nothing to do.
            logger.LogInformation("Message {MessageId} needs no Hangfire job {HangfireJobId}; it is {Status}.", messageId, job, attached.Message?.Status ?? "gone");
            jobs.Delete(job, "another job has the request, or it was cancelled");
            order.Changed();
        }

        return attached;
    }
}
