using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.Options;

namespace ImageQueue.Core.Webhooks;

/// <summary>The configured receivers.</summary>
public sealed class WebhookReceivers(IOptions<WebhooksOptions> options)
{
    /// <summary>All of them.</summary>
    public IReadOnlyList<WebhookReceiver> All { get; } = [.. options.Value.Receivers.Select(WebhookReceiver.From)];

    /// <summary>The one of that name; null when it is configured no more.</summary>
    public WebhookReceiver? Find(string name) => All.FirstOrDefault(receiver => receiver.Name == name);
}

/// <summary>A receiver.</summary>
/// <param name="Name">
/// Its host and a few digits of its address's hash: the same wherever it stands in the settings. Jobs carry it, and an address may
/// hold what only the two sides should know.
/// </param>
/// <param name="Url">Where it listens.</param>
/// <param name="Keys">Each signs.</param>
/// <param name="Events">What it is told of.</param>
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
