using System.Security.Claims;
using System.Security.Cryptography;
using Microsoft.AspNetCore.DataProtection;

namespace ImageQueue.Web.Auth;

/// <summary>
/// Makes and reads watchers' tokens: data protection with a time limit, so that nothing is stored and any machine that has its keys can
/// read them.
/// </summary>
public sealed class WatcherTokens(IDataProtectionProvider provider, IOptions<AuthOptions> options, TimeProvider time)
{
    /// <summary>Tells a token from a key.</summary>
    public const string Prefix = "iqw_";

    /// <summary>The data-protection purpose; nothing protected for another purpose is a token.</summary>
    internal const string Purpose = "ImageQueue.WatcherToken.v1";

    private readonly ITimeLimitedDataProtector _protector = provider.CreateProtector(Purpose).ToTimeLimitedDataProtector();

    /// <summary>A token for one conversation of one user, or for one image alone.</summary>
    /// <param name="lifetime">Null: <see cref="AuthOptions.TokenLifetime"/>.</param>
    public (string Token, DateTimeOffset ExpiresAt) Issue(WatcherToken token, TimeSpan? lifetime = null)
    {
        var expiresAt = time.GetUtcNow() + (lifetime ?? options.Value.TokenLifetime);
        return (Prefix + _protector.Protect(JsonSerializer.Serialize(token), expiresAt), expiresAt);
    }

    /// <summary>The token's content; null when it is invalid or expired.</summary>
    public (WatcherToken Token, DateTimeOffset ExpiresAt)? Read(string shown)
    {
        if (!shown.StartsWith(Prefix, StringComparison.Ordinal))
            return null;
        try
        {
            var payload = _protector.Unprotect(shown[Prefix.Length..], out var expiresAt);
            return JsonSerializer.Deserialize<WatcherToken>(payload) is { } token && time.GetUtcNow() < expiresAt
                ? (token, expiresAt)
                : null;
        }
        catch (CryptographicException e) when (e.InnerException is StoreUnavailableException unavailable)
        {
            throw new StoreUnavailableException(unavailable.Message, e); // It may be valid: its keys cannot be read now.
        }
        catch (CryptographicException)
        {
            return null; // Forged, cut off, expired, or of removed keys: the caller learns no difference.
        }
    }
}

/// <summary>What a token is good for.</summary>
/// <param name="ConversationId">The conversation.</param>
/// <param name="Username">Whose it must be.</param>
/// <param name="JobId">The only image that it is good for; null: the whole conversation.</param>
public sealed record WatcherToken(string ConversationId, string Username, string? JobId = null)
{
    private const string ConversationClaim = "imagequeue:conversation";
    private const string JobClaim = "imagequeue:job";

    /// <summary>The watcher's token; null for other callers.</summary>
    internal static WatcherToken? Of(ClaimsPrincipal user) =>
        user.FindFirstValue(ConversationClaim) is { } conversationId && user.Identity?.Name is { } username
            ? new(conversationId, username, user.FindFirstValue(JobClaim))
            : null;

    internal ClaimsPrincipal ToPrincipal(string scheme) => new(new ClaimsIdentity(
        [
            new(ClaimTypes.NameIdentifier, $"{Roles.Watcher}:{ConversationId}:{Username}"), new(ClaimTypes.Name, Username),
            new(ClaimTypes.Role, Roles.Watcher), new(ConversationClaim, ConversationId),
            .. JobId is null ? Array.Empty<Claim>() : [new(JobClaim, JobId)],
        ],
        scheme));
}
