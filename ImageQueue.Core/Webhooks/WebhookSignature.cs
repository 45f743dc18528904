using System.Security.Cryptography;

namespace ImageQueue.Core.Webhooks;

/// <summary>
/// Signatures by the Standard Webhooks specification: <c>v1,</c> and the base64 of an HMAC-SHA256 of <c>id.timestamp.body</c>.
/// </summary>
internal static class WebhookSignature
{
    /// <summary>In bytes.</summary>
    internal const int ShortestKey = 16;

    private const string Base64Prefix = "whsec_";

    /// <summary>Some tools show a secret with the version of its signatures.</summary>
    private const string VersionPrefix = "v1,";

    /// <summary>The header's value: a signature by each key, separated by blanks.</summary>
    /// <param name="keys">The valid ones.</param>
    /// <param name="id">The event's.</param>
    /// <param name="timestamp">The attempt's.</param>
    /// <param name="body">The bytes that are sent.</param>
    public static string Of(IEnumerable<byte[]> keys, string id, DateTimeOffset timestamp, ReadOnlySpan<byte> body)
    {
        ArgumentNullException.ThrowIfNull(keys);
        byte[] signed = [
            .. Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{id}.{timestamp.ToUnixTimeSeconds()}.")), .. body];
        return string.Join(' ', keys.Select(key => $"v1,{Convert.ToBase64String(HMACSHA256.HashData(key, signed))}"));
    }

    /// <summary>The bytes of a secret; null when it begins like base64 and is not.</summary>
    internal static byte[]? KeyOf(string secret)
    {
        if (secret.StartsWith(VersionPrefix + Base64Prefix, StringComparison.Ordinal))
            secret = secret[VersionPrefix.Length..];
        if (!secret.StartsWith(Base64Prefix, StringComparison.Ordinal))
            return Encoding.UTF8.GetBytes(secret);
        var base64 = secret[Base64Prefix.Length..].TrimEnd('=');
        base64 += new string('=', (4 - (base64.Length % 4)) % 4); // Padding is often lost by copying.
        var bytes = new byte[base64.Length];
        return Convert.TryFromBase64String(base64, bytes, out var length) ? bytes[..length] : null;
    }
}
