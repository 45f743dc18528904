using ImageQueue.Core.Messages;

namespace ImageQueue.Core.Webhooks;

/// <summary>Writes what a receiver is sent: <c>{type, timestamp, data}</c>, where data is what watchers get.</summary>
public interface IWebhookBody
{
    /// <summary>The body in UTF-8.</summary>
    ValueTask<ReadOnlyMemory<byte>> WriteAsync(string type, MessageChange change, CancellationToken cancellationToken);
}
