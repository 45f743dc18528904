using Hangfire;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Telemetry;

namespace ImageQueue.Core.Webhooks;

/// <summary>
/// The Hangfire job of one event for one receiver. It carries no word of the message: what is sent is made from the row, as it is
/// at that moment, so that of an erased message nothing is sent.
/// </summary>
/// <remarks>
/// Operators see each delivery and its answer in the dashboard, and put one that has failed, or was taken, back into the queue there.
/// </remarks>
public sealed class DeliverWebhookJob(WebhookReceivers receivers, WebhookTraffic traffic, WebhookSender sender, IWebhookBody bodies, IFeedStore store, QueueMetrics metrics)
{
    /// <summary>Hangfire's queue of deliveries.</summary>
    public const string QueueName = "webhooks";

    /// <summary>What Hangfire calls. Eleven tries in a day.</summary>
    /// <param name="receiver">Its name.</param>
    /// <param name="type">One of <see cref="WebhookEvents.All"/>.</param>
    /// <param name="messageId">The message.</param>
    /// <param name="revision">Of the row, when it was found to have changed.</param>
    /// <param name="id">The event's, the same over all tries.</param>
    /// <param name="cancellationToken">Ends with the process, or when an operator deletes the job.</param>
    /// <returns>What the receiver answered.</returns>
    /// <exception cref="WebhookException">It did not take it; another try follows.</exception>
    /// <exception cref="WebhookBusyException">It has enough to do; the job comes again, and this was no try.</exception>
    [AutomaticRetry(Attempts = 10, DelaysInSeconds = [5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800, 28800], LogEvents = false)]
    [JobDisplayName("{1} of message {2} to {0}")]
    public Task<string> RunAsync(string receiver, string type, long messageId, long revision, string id, CancellationToken cancellationToken) =>
        // Away from Hangfire's thread; see GenerateImageJob.RunAsync.
        Task.Run(() => DeliverAsync(receiver, type, messageId, id, cancellationToken), CancellationToken.None);

    private async Task<string> DeliverAsync(string name, string type, long messageId, string id, CancellationToken cancellationToken)
    {
        if (receivers.Find(name) is not { } receiver)
            return "Nothing was sent: the receiver is not in the settings any more.";
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
            visit.Failed(e.Message);
            metrics.RecordDelivery(name, e.Kind);
            throw;
        }
    }
}
