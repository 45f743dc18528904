using ImageQueue.Core.Hosting;

namespace ImageQueue.Core.Webhooks;

/// <summary>Receivers whose last delivery failed.</summary>
internal sealed class WebhookConditions(WebhookTraffic traffic) : IConditionSource
{
    public string Part => "webhooks";

    public Task<IReadOnlyList<SystemCondition>> ReadAsync(CancellationToken cancellationToken) => Task.FromResult<IReadOnlyList<SystemCondition>>(
    [
        .. traffic.Failing.Select(failing => new SystemCondition(
            ConditionCodes.WebhookFailing, $"Webhook receiver {failing.Receiver} fails: {failing.Reason.TrimEnd('.')}. Deliveries are retried.")
            { Subject = failing.Receiver, Since = failing.Since }),
    ]);
}
