using System.Net;

namespace ImageQueue.Core.Webhooks;

/// <summary>The rules for <c>Webhooks</c>, each as a sentence that names the key.</summary>
internal sealed class WebhooksOptionsValidator : IValidateOptions<WebhooksOptions>
{
    public ValidateOptionsResult Validate(string? name, WebhooksOptions options)
    {
        var failures = new List<string>();
        if (options.Timeout < TimeSpan.FromSeconds(1) || options.Timeout > TimeSpan.FromMinutes(1))
            failures.Add("Webhooks:Timeout must be between 00:00:01 and 00:01:00.");
        failures.AddRange(options.Unknown.Select(key => $"Webhooks:{key} is no setting. Receivers are Webhooks:0, Webhooks:1 and so on."));
        var seen = new Dictionary<Uri, int>();
        for (var i = 0; i < options.Receivers.Count; i++)
        {
            var key = string.Create(CultureInfo.InvariantCulture, $"Webhooks:{i}");
            var receiver = options.Receivers[i];
            failures.AddRange(Troubles(key, receiver, options.AllowPrivate));
            if (receiver.Url is not null && !seen.TryAdd(receiver.Url, i))
            {
                failures.Add(
                    string.Create(
                        CultureInfo.InvariantCulture,
                        $"{key}:Url is the same as Webhooks:{seen[receiver.Url]}:Url. Name all events at one of them."));
            }
        }

        return failures.Count == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(failures);
    }

    private static IEnumerable<string> Troubles(string key, WebhookOptions receiver, bool allowPrivate)
    {
        if (receiver.Url is not { IsAbsoluteUri: true, Scheme: "http" or "https" } url)
            yield return $"{key}:Url must be an address such as https://chat.example/hooks/images.";
        else if (url.UserInfo.Length > 0 || url.Fragment.Length > 0)
            yield return $"{key}:Url must not hold a user, a password or a fragment; the signature says who sends.";
        else if (!allowPrivate && (url.IsLoopback || (IPAddress.TryParse(url.IdnHost, out var address) && !PublicAddresses.Holds(address))))
            yield return $"{key}:Url is a private address. Set Webhooks:AllowPrivate to true to allow such.";

        var secrets = receiver.Secret.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        if (secrets.Length == 0)
            yield return $"{key}:Secret is missing: whsec_ and base64, or a text of 16 bytes at least.";
        foreach (var secret in secrets)
        {
            if (WebhookSignature.KeyOf(secret) is not { Length: >= WebhookSignature.ShortestKey })
                yield return $"{key}:Secret must be whsec_ and base64, or a text, of 16 bytes at least; several are separated by blanks.";
        }

        foreach (var unknown in receiver.Events.Except(WebhookEvents.All, StringComparer.Ordinal))
            yield return $"{key}:Events names {unknown}, which is none of {string.Join(", ", WebhookEvents.All)}.";
    }
}
