using System.Buffers;
using ImageQueue.Core.Webhooks;
using ImageQueue.Web.Push;

namespace ImageQueue.Web.Webhooks;

/// <summary>Webhook bodies: the push object in its current state.</summary>
internal sealed class WebhookBody(PushWriter writer) : IWebhookBody
{
    public async ValueTask<ReadOnlyMemory<byte>> WriteAsync(string type, MessageChange change, CancellationToken cancellationToken)
    {
        var data = (await writer.WriteAsync([change], pathBase: null, cancellationToken))[0];
        var body = new ArrayBufferWriter<byte>(data.Json.Length + 128);
        using (var json = new Utf8JsonWriter(body))
        {
            json.WriteStartObject();
            json.WriteString("type", type);
            json.WriteString("timestamp", change.Message.UpdatedAt);
            json.WritePropertyName("data");
            json.WriteRawValue(data.Json.Span, skipInputValidation: true);
            json.WriteEndObject();
        }

        return body.WrittenMemory;
    }
}
