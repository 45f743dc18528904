using System.Buffers.Text;
using System.Security.Claims;
using System.Security.Cryptography;

namespace ImageQueue.Web.Auth;

/// <summary>
/// The configured keys, as SHA-256 hashes. A fast hash will do: a key is 256 random bits and no password that could be tried.
/// </summary>
public sealed class ApiKeys
{
    private const int RandomBytes = 32;

    private readonly ApiKey[] _keys;

    public ApiKeys(IOptions<AuthOptions> options, ILogger<ApiKeys> logger)
    {
        _keys = [.. options.Value.ApiKeys.Select(key => new ApiKey(key.Name, key.Role, HashOf(key)))];
        foreach (var plain in options.Value.ApiKeys.Where(key => !string.IsNullOrEmpty(key.Key)))
        {
            logger.LogWarning(
                "The key of {Name} is in the settings in plain text. Set its KeyHash to {Hash} instead of Key.", plain.Name,
                Convert.ToHexStringLower(HashOf(plain)));
        }
    }

    public bool Any => _keys.Length > 0;

    /// <summary>A new key: its role in plain words, then 256 random bits.</summary>
    public static string Create(string role) => $"iq_{role}_{Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(RandomBytes))}";

    public static byte[] Hash(string key) => SHA256.HashData(Encoding.UTF8.GetBytes(key));

    /// <summary>
    /// The key that was shown, or null. Takes as long for one that is nearly right: every hash is compared, each in constant time.
    /// </summary>
    public ApiKey? Find(string shown)
    {
        ApiKey? found = null;
        var hash = Hash(shown);
        foreach (var key in _keys)
        {
            if (CryptographicOperations.FixedTimeEquals(hash, key.Hash))
                found = key;
        }

        return found;
    }

    /// <summary>Whether the key of a sign-in is still configured with the same role.</summary>
    public bool IsCurrent(ClaimsPrincipal user) =>
        Array.Exists(_keys, key => key.Fingerprint == user.FindFirstValue(ApiKey.FingerprintClaim) && user.IsInRole(key.Role));

    internal static byte[] HashOf(ApiKeyOptions key) => ParseHash(key.KeyHash) ?? Hash(key.Key ?? "");

    /// <returns>Null for anything but 64 hex digits.</returns>
    internal static byte[]? ParseHash(string? text) =>
        text is { Length: SHA256.HashSizeInBytes * 2 } && text.All(char.IsAsciiHexDigit) ? Convert.FromHexString(text) : null;
}

/// <param name="Name">Its holder.</param>
/// <param name="Role">One of <see cref="Roles.OfKeys"/>.</param>
/// <param name="Hash">Its SHA-256.</param>
public sealed record ApiKey(string Name, string Role, byte[] Hash)
{
    /// <summary>The claim that names the key of a sign-in.</summary>
    public const string FingerprintClaim = "imagequeue:key";

    /// <summary>Identifies a key without revealing it.</summary>
    public string Fingerprint { get; } = Convert.ToHexStringLower(SHA256.HashData(Hash).AsSpan(0, 8));

    /// <param name="scheme">How it was shown.</param>
    public ClaimsPrincipal ToPrincipal(string scheme) => new(new ClaimsIdentity(
        [
            new(ClaimTypes.NameIdentifier, $"{Role}:{Fingerprint}"), new(ClaimTypes.Name, Name), new(ClaimTypes.Role, Role),
            new(FingerprintClaim, Fingerprint),
        ],
        scheme));
}
