using ImageQueue.Core.Webhooks;
using ImageQueue.Web.Push;

namespace ImageQueue.Web.Webhooks;

/// <summary>Webhook bodies: the push object in its current state.</summary>
internal sealed class WebhookBody(PushWriter writer) : IWebhookBody
{
    public async ValueTask<ReadOnlyMemory<byte>> WriteAsync(string type, MessageChange change, CancellationToken cancellationToken)
    {
        var data = (await writer.WriteAsync([change], pathBase: null, cancellationToken))[0];
        return JsonSerializer.SerializeToUtf8Bytes(new { type, timestamp = change.Message.UpdatedAt, data });
    }
}
