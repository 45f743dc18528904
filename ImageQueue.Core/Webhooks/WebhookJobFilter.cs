using Hangfire.States;
using Hangfire.Storage;
using ImageQueue.Core.Queue;

namespace ImageQueue.Core.Webhooks;

/// <summary>
/// Schedules deliveries that found their receiver busy, or were told when to come again, and records those that have ended. Elects before
/// Hangfire's AutomaticRetry, whose order is 20.
/// </summary>
internal sealed class WebhookJobFilter(
    WebhookPosition position, ILogger<WebhookJobFilter> logger) : IHostJobFilter, IElectStateFilter, IApplyStateFilter
{
    /// <summary>Where AutomaticRetry counts its retries.</summary>
    internal const string RetryCount = "RetryCount";

    public void OnStateElection(ElectStateContext context)
    {
        if (context.CandidateState is not FailedState failed)
            return;
        if (failed.Exception is WebhookBusyException busy)
        {
            // No attempt: AutomaticRetry must not count it.
            context.CandidateState = new ScheduledState(busy.Delay) { Reason = busy.Message };
        }
        else if (failed.Exception is WebhookException { RetryAfter: { } delay }
            && context.GetJobParameter<int>(RetryCount, allowStale: true) + 1 is var retry
            && retry <= DeliverWebhookJob.Retries)
        {
            // Counted as AutomaticRetry would, which sees no failed state any more.
            context.SetJobParameter(RetryCount, retry);
            context.CandidateState = new ScheduledState(delay)
            {
                Reason = string.Create(
                    CultureInfo.InvariantCulture,
                    $"Retry {retry} of {DeliverWebhookJob.Retries}, as Retry-After says: {failed.Exception.Message}"),
            };
        }
    }

    public void OnStateApplied(ApplyStateContext context, IWriteOnlyTransaction transaction)
    {
        if (context.BackgroundJob.Job is not { Args: [string receiver, string type, long messageId, long revision, ..] } job
            || job.Type != typeof(DeliverWebhookJob))
        {
            return;
        }

        if (context.NewState is FailedState failed)
        {
            logger.LogWarning(
                "Webhook receiver {Receiver} did not accept {Type} of message {MessageId} in {Attempts} attempts: {Reason}. "
                    + "It can be requeued.",
                receiver, type, messageId, DeliverWebhookJob.Retries + 1, failed.Exception.Message.TrimEnd('.'));
        }

        if (context.NewState.IsFinal || context.NewState is FailedState)
            position.Close(receiver, revision);
    }

    public void OnStateUnapplied(ApplyStateContext context, IWriteOnlyTransaction transaction)
    {
        // Only the new state matters.
    }
}
