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

    /// <summary>Enqueues the message at the tail, unless a rebuild is under way, which will do it in its turn.</summary>
    /// <returns>The message as it is now.</returns>
    public async Task<Message> EnqueueAsync(Message message) => IsRebuilding ? message : await EnqueueNowAsync(message);

    /// <summary>Enqueues the message at the tail.</summary>
    /// <returns>The message as it is now.</returns>
    internal async Task<Message> EnqueueNowAsync(Message message)
    {
        var job = jobs.Enqueue(message.Id);
        var position = (await order.GetAsync(CancellationToken.None)).PositionOf(job) ?? message.QueuePosition;
        var attached = await store.AttachJobAsync(message.Id, job, message.HangfireJobId, Math.Max(1, position), CancellationToken.None);
        var now = attached.Message ?? throw new MessageNotFoundException(message.Id);
        if (!attached.Applied && now.HangfireJobId != job)
        {
            // Cancelled meanwhile, or somebody repairing the same row was quicker: this job has nothing to do.
            logger.LogInformation("Message {MessageId} needs no Hangfire job {HangfireJobId}; it is {Status}.", message.Id, job, now.Status);
            jobs.Delete(job);
            order.Changed();
        }

        return now;
    }
}
