using Hangfire.Server;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Recovery;

/// <summary>
/// What a worker does whose row is not its to write: brings Hangfire's state into line with the row, or the row into line with
/// what an operator has asked of this job.
/// </summary>
public sealed class JobStateReconciler(
    IMessageStore store, DashboardCommands wishes, DashboardReconciler operators, ImageJobs jobs, IQueueOrder order, MessageTexts texts, ILogger<JobStateReconciler> logger)
{
    /// <summary>An operator has deleted the job: that is a cancel.</summary>
    internal Task CancelAsync(GenerateImageJob.Run run) => operators.CancelAsync(run.HangfireJobId, CancellationToken.None);

    /// <summary>Does as the row says.</summary>
    /// <returns>False when the row can be claimed.</returns>
    /// <exception cref="ImageRequestFailedException">The request has ended in error.</exception>
    /// <exception cref="JobAbortedException">The job is no longer this worker's, who has no say in how it ends.</exception>
    internal async Task<bool> FollowAsync(GenerateImageJob.Run run)
    {
        run.Hangfire.ThrowIfCancellationRequested();

        // An operator has put the failed or deleted job back, and this worker was quicker than the one who brings that to the
        // row. Without a wish the row has the last word: it was cancelled a moment ago, and its job is about to be deleted.
        if (wishes.FindRetry(run.HangfireJobId) is { } wish)
        {
            await operators.RetryAsync(run.HangfireJobId, run.Cancelled);
            wishes.Close(wish);
        }

        // Read after the wish: whoever else granted it did so before taking it away.
        var message = await store.FindAsync(run.MessageId, run.Cancelled);
        var isMine = message?.HangfireJobId == run.HangfireJobId;
        logger.LogInformation("Message {MessageId} is {Status}; job {HangfireJobId} does not generate it.", run.MessageId, message?.Status ?? "gone", run.HangfireJobId);
        switch (message?.Status)
        {
            case MessageStatus.Queued:
                return false;
            case MessageStatus.Processing when isMine:
                // Its job has a second entry in the queue, and another worker is at it (Hangfire #2380).
                throw new JobAbortedException();
            case MessageStatus.Complete when isMine:
                break;
            case MessageStatus.Error when isMine:
                order.Remove(run.HangfireJobId);
                throw new ImageRequestFailedException(message.Error ?? texts.Unexpected);
            case MessageStatus.Cancelled when isMine:
                jobs.Delete(run.HangfireJobId);
                break;
            default:
                jobs.Delete(run.HangfireJobId, message is null ? "its message is gone" : "another job has the request");
                break;
        }

        order.Remove(run.HangfireJobId);
        return true; // Hangfire changes nothing about a job that is deleted by now.
    }
}
