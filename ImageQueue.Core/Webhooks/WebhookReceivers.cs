using System.Security.Cryptography;

namespace ImageQueue.Core.Webhooks;

/// <summary>The configured receivers.</summary>
public sealed class WebhookReceivers(IOptions<WebhooksOptions> options)
{
    public IReadOnlyList<WebhookReceiver> All { get; } = [.. options.Value.Receivers.Select(WebhookReceiver.From)];

    /// <summary>The receiver of that name; null when it is not configured any more.</summary>
    public WebhookReceiver? Find(string name) => All.FirstOrDefault(receiver => receiver.Name == name);
}

/// <param name="Name">
/// Its host and a few digits of its address's hash, wherever it is in the settings. Jobs hold the name, not the address, which may hold
/// a secret.
/// </param>
/// <param name="Url">Its address.</param>
/// <param name="Keys">Each signs.</param>
/// <param name="Events">The types that it gets.</param>
public sealed record WebhookReceiver(string Name, Uri Url, IReadOnlyList<byte[]> Keys, IReadOnlySet<string> Events)
{
    internal static WebhookReceiver From(WebhookOptions options)
    {
        var url = options.Url!; // Validated, as the secrets are.
        var digits = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(url.AbsoluteUri)))[..8];
        return new WebhookReceiver(
            $"{url.Host}-{digits}",
            url,
            [.. options.Secret.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(secret => WebhookSignature.KeyOf(secret)!)],
            (options.Events.Count > 0 ? options.Events.AsReadOnly() : WebhookEvents.Default).ToHashSet(StringComparer.Ordinal));
    }
}
