using Hangfire.Server;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Queue;

namespace ImageQueue.Core.Recovery;

/// <summary>Brings Hangfire's state of a running job to agree with the row, or the row with an operator's command for the job.</summary>
internal sealed class JobStateReconciler(
    IMessageStore store, DashboardCommands commands, DashboardReconciler dashboard, ImageJobs jobs, IQueueOrder order, MessageTexts texts,
    ILogger<JobStateReconciler> logger)
    : IJobStateReconciler
{
    public Task CancelAsync(GenerateImageJob.Run run) => dashboard.CancelAsync(run.HangfireJobId, CancellationToken.None);

    public async Task<bool> ReconcileAsync(GenerateImageJob.Run run)
    {
        run.Hangfire.ThrowIfCancellationRequested();

        // An operator has requeued the failed or deleted job, and this worker was quicker than DashboardReconciler. Without such a
        // command the row decides: it was cancelled a moment ago, and its job is about to be deleted.
        if (commands.Find(DashboardCommandKind.Retry, run.HangfireJobId) is { } command)
        {
            await dashboard.RetryAsync(run.HangfireJobId, command.By, run.Cancelled);
            commands.Close(command);
        }

        // Read after the command: another process that carried it out did so before closing it.
        var message = await store.FindAsync(run.MessageId, run.Cancelled);
        var isMine = message?.HangfireJobId == run.HangfireJobId;
        logger.LogInformation(
            "Message {MessageId} is {Status}; job {HangfireJobId} does not generate it.",
            run.MessageId, message?.Status ?? "gone", run.HangfireJobId);
        switch (message?.Status)
        {
            case MessageStatus.Queued:
                return false;
            case MessageStatus.Processing when isMine:
                // Its job has a second entry in the queue, which another worker has fetched (Hangfire #2380).
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
        return true; // Hangfire does not change the state of a deleted job.
    }
}
