using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace ImageQueue.Core.Webhooks;

/// <summary>Signatures as the Standard Webhooks specification has them: <c>v1,</c> and the base64 of an HMAC-SHA256 over <c>id.timestamp.body</c>.</summary>
public static class WebhookSignature
{
    /// <summary>Bytes.</summary>
    internal const int ShortestKey = 16;

    private const string Base64Prefix = "whsec_";

    /// <summary>The header's value: a signature by each key, separated by blanks.</summary>
    /// <param name="keys">All that are good at the moment.</param>
    /// <param name="id">The event's.</param>
    /// <param name="timestamp">Of this try.</param>
    /// <param name="body">The very bytes that are sent.</param>
    public static string Of(IEnumerable<byte[]> keys, string id, DateTimeOffset timestamp, ReadOnlySpan<byte> body)
    {
        ArgumentNullException.ThrowIfNull(keys);
        byte[] signed = [.. Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{id}.{timestamp.ToUnixTimeSeconds()}.")), .. body];
        return string.Join(' ', keys.Select(key => $"v1,{Convert.ToBase64String(HMACSHA256.HashData(key, signed))}"));
    }

    /// <summary>The bytes of a secret; null when it begins like base64 and is none.</summary>
    internal static byte[]? KeyOf(string secret)
    {
        if (!secret.StartsWith(Base64Prefix, StringComparison.Ordinal))
            return Encoding.UTF8.GetBytes(secret);
        var bytes = new byte[secret.Length];
        return Convert.TryFromBase64String(secret[Base64Prefix.Length..], bytes, out var length) ? bytes[..length] : null;
    }
}
