using ImageQueue.Core.Hosting;

namespace ImageQueue.Core.Webhooks;

/// <summary>Receivers that are suspended, or whose last delivery failed.</summary>
internal sealed class WebhookConditions(
    WebhookReceivers receivers, WebhookTraffic traffic, WebhookSuspensions suspensions) : IConditionSource
{
    public string Part => "webhooks";

    public async Task<IReadOnlyList<SystemCondition>> ReadAsync(CancellationToken cancellationToken)
    {
        var suspended = await suspensions.ListAsync(cancellationToken);
        return
        [
            .. suspended.Where(one => receivers.Find(one.Key) is not null).Select(one => new SystemCondition(
                ConditionCodes.WebhookSuspended,
                $"Webhook receiver {one.Key} answered 410 Gone and is suspended until an operator resumes it.")
                { Subject = one.Key, Since = one.Value }),
            .. traffic.Failing.Where(failing => !suspended.ContainsKey(failing.Receiver)).Select(failing => new SystemCondition(
                ConditionCodes.WebhookFailing,
                $"Webhook receiver {failing.Receiver} fails: {failing.Reason.TrimEnd('.')}. Deliveries are retried.")
                { Subject = failing.Receiver, Since = failing.Since }),
        ];
    }
}
