using Hangfire.States;
using Hangfire.Storage;
using ImageQueue.Core.Queue;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Webhooks;

/// <summary>Follows the deliveries' jobs: one that found its receiver busy comes again without a try lost, and one that has ended is noted.</summary>
public sealed class WebhookJobFilter(WebhookPosition position, ILogger<WebhookJobFilter> logger) : IHostJobFilter, IElectStateFilter, IApplyStateFilter
{
    private static readonly TimeSpan BusyPause = TimeSpan.FromSeconds(15);

    /// <inheritdoc/>
    public void OnStateElection(ElectStateContext context)
    {
        // Before Hangfire's own AutomaticRetry, whose order is later, counts it.
        if (context.CandidateState is FailedState { Exception: WebhookBusyException e })
            context.CandidateState = new ScheduledState(BusyPause) { Reason = e.Message };
    }

    /// <inheritdoc/>
    public void OnStateApplied(ApplyStateContext context, IWriteOnlyTransaction transaction)
    {
        if (context.BackgroundJob.Job is not { Args: [string receiver, string type, long messageId, long revision, ..] } job || job.Type != typeof(DeliverWebhookJob))
            return;
        if (context.NewState is FailedState failed)
        {
            logger.LogWarning(
                "{Receiver} has not taken {Type} of message {MessageId} ({Reason}); it can be requeued in the dashboard.", receiver, type, messageId, failed.Exception.Message);
        }

        if (context.NewState.IsFinal || context.NewState is FailedState)
            position.Close(receiver, revision);
    }

    /// <inheritdoc/>
    public void OnStateUnapplied(ApplyStateContext context, IWriteOnlyTransaction transaction)
    {
        // Only what a job comes to matters.
    }
}
