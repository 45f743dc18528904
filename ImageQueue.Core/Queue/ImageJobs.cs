using Hangfire;
using Hangfire.Common;
using Hangfire.States;
using ImageQueue.Core.Generation;

namespace ImageQueue.Core.Queue;

/// <summary>The image jobs in Hangfire: one place that knows the queue's name and what a job looks like.</summary>
public sealed class ImageJobs(IBackgroundJobClientV2 client, JobStorage storage, IQueueOrder order)
{
    /// <summary>The one queue: Hangfire promises an order only within a queue.</summary>
    public const string QueueName = "images";

    /// <summary>Puts a job at the queue's tail. It carries only the message's id: everything else is in the row.</summary>
    /// <returns>The Hangfire id.</returns>
    public string Enqueue(long messageId) => order.Enqueue(() => client.Create(
        Job.FromExpression<GenerateImageJob>(job => job.RunAsync(messageId, null!, CancellationToken.None), QueueName),
        new EnqueuedState(QueueName)));

    /// <summary>Takes a job out of the running. Its entry stays in the queue as a ghost until it is dequeued (Hangfire #2407).</summary>
    public void Delete(string hangfireJobId) => client.ChangeState(hangfireJobId, new DeletedState { Reason = "Cancelled" }, expectedState: null);

    /// <summary>Whether Hangfire still means to run the job, or is running it.</summary>
    public bool WillRun(string hangfireJobId)
    {
        using var connection = storage.GetReadOnlyConnection();
        return WillRunIn(connection.GetStateData(hangfireJobId)?.Name);
    }

    /// <summary>Of Hangfire's states, those from which a job still runs by itself.</summary>
    internal static bool WillRunIn(string? state) =>
        state == EnqueuedState.StateName || state == ScheduledState.StateName || state == ProcessingState.StateName || state == AwaitingState.StateName;
}
