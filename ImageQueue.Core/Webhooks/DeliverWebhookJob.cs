using Hangfire;
using ImageQueue.Core.Telemetry;

namespace ImageQueue.Core.Webhooks;

/// <summary>The Hangfire job that delivers one event to one receiver.</summary>
/// <remarks>
/// The job holds no text of the message: the body is written from the row as it is at that moment, so that nothing of an erased message
/// is sent. Operators see each delivery with its answer in the dashboard, and can requeue it there.
/// </remarks>
public sealed class DeliverWebhookJob(
    WebhookReceivers receivers, WebhookTraffic traffic, WebhookSuspensions suspensions, WebhookSender sender, IWebhookBody bodies,
    IFeedStore store, QueueMetrics metrics, ILogger<DeliverWebhookJob> logger)
{
    /// <summary>Hangfire's queue of deliveries.</summary>
    public const string QueueName = "webhooks";

    /// <summary>Attempts after the first, within a day.</summary>
    internal const int Retries = 10;

    /// <summary>The entry point for Hangfire.</summary>
    /// <param name="receiver">Its name.</param>
    /// <param name="type">One of <see cref="WebhookEvents.All"/>.</param>
    /// <param name="messageId">The message.</param>
    /// <param name="revision">The row's, when its change was read.</param>
    /// <param name="id">The event's, the same over all attempts.</param>
    /// <param name="cancellationToken">Cancelled when the process stops, or an operator deletes the job.</param>
    /// <returns>What the receiver answered.</returns>
    /// <exception cref="WebhookException">The receiver did not accept it; another attempt follows.</exception>
    /// <exception cref="WebhookBusyException">The receiver is busy; the job comes again, and this was no attempt.</exception>
    [AutomaticRetry(Attempts = Retries, DelaysInSeconds = [5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800, 28800], LogEvents = false)]
    [JobDisplayName("{1} of message {2} to {0}")]
    public Task<string> RunAsync(
        string receiver, string type, long messageId, long revision, string id, CancellationToken cancellationToken) =>
        // Away from Hangfire's thread; see GenerateImageJob.RunAsync.
        Task.Run(() => DeliverAsync(receiver, type, messageId, id, cancellationToken), CancellationToken.None);

    private async Task<string> DeliverAsync(string name, string type, long messageId, string id, CancellationToken cancellationToken)
    {
        if (receivers.Find(name) is not { } receiver)
            return "Nothing was sent: the receiver is not in the settings any more.";
        if ((await suspensions.ListAsync(cancellationToken)).ContainsKey(name))
            return "Nothing was sent: the receiver answered 410 Gone and is suspended.";
        using var visit = await traffic.EnterAsync(name, cancellationToken);
        if ((await store.ReadChangesAsync([messageId], cancellationToken)).SingleOrDefault() is not { } change)
            return "Nothing was sent: nothing is left of the message.";
        var body = await bodies.WriteAsync(type, change, cancellationToken);
        try
        {
            var answer = await sender.SendAsync(receiver, id, body, cancellationToken);
            visit.Succeeded();
            metrics.RecordDelivery(name, error: null);
            return answer;
        }
        catch (WebhookException e)
        {
            metrics.RecordDelivery(name, e.Kind);
            if (e.IsGone)
            {
                visit.Succeeded(); // It answered; the suspension is what operators should see.
                await suspensions.SuspendAsync(name, CancellationToken.None);
                return $"{e.Message}; the receiver is suspended.";
            }

            visit.Failed(e.Message, e.RetryAfter);
            logger.LogWarning(
                "Webhook receiver {Receiver} did not accept {Type} of message {MessageId}: {Reason}", name, type, messageId, e.Message);
            throw;
        }
    }
}
