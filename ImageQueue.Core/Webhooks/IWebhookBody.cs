namespace ImageQueue.Core.Webhooks;

/// <summary>Writes the body of a delivery: <c>{type, timestamp, data}</c>, where data is the object that watchers get.</summary>
public interface IWebhookBody
{
    /// <summary>The body in UTF-8.</summary>
    ValueTask<ReadOnlyMemory<byte>> WriteAsync(string type, MessageChange change, CancellationToken cancellationToken);
}
