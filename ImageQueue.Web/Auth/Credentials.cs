using System.Security.Claims;
using System.Text.Encodings.Web;
using Microsoft.AspNetCore.Authentication;

namespace ImageQueue.Web.Auth;

/// <summary>
/// Picks the authentication scheme. A key or token in the request decides alone; a cookie, or a call from this machine, counts only
/// for requests that no other website sends.
/// </summary>
internal static class Credentials
{
    /// <summary>The scheme that picks one of the others.</summary>
    public const string Any = "imagequeue";

    /// <summary>A key in the header.</summary>
    public const string Key = "key";

    public const string Token = "token";

    public const string Cookie = "cookie";

    public const string Local = "local";

    private const string KeyHeader = "X-Api-Key";
    private const string Bearer = "Bearer ";
    private const string Basic = "Basic ";

    /// <summary>Which scheme answers for the request.</summary>
    public static string Pick(HttpContext context)
    {
        if (Shown(context) is { } shown)
        {
            // An address ends in logs and histories: a key in it is refused, a token in it expires.
            return shown.StartsWith(WatcherTokens.Prefix, StringComparison.Ordinal) || InHeader(context) is null ? Token
                : TakesAnyKey(context) ? Local
                : Key;
        }

        if (RequestOrigin.IsForeign(context.Request))
            return Key; // Finds none.
        if (context.RequestServices.GetRequiredService<LocalAccess>().Covers(context))
            return Local;
        return IsSafe(context.Request) || RequestOrigin.IsTold(context.Request) ? Cookie : Key;
    }

    /// <summary>A key or token in the header, or a token in the address where the endpoint takes one there.</summary>
    public static string? Shown(HttpContext context) => InHeader(context)
        ?? (context.GetEndpoint()?.Metadata.GetMetadata<TokenInAddressAttribute>() is null ? null : TokenInAddress.Of(context));

    private static string? InHeader(HttpContext context)
    {
        if (context.Request.Headers.Authorization is [{ } authorization]
            && authorization.StartsWith(Bearer, StringComparison.OrdinalIgnoreCase))
        {
            return authorization[Bearer.Length..].Trim();
        }

        if (ReadBasic(context.Request) is var (_, password))
            return password;
        return context.Request.Headers[KeyHeader] is [{ } key, ..] ? key : null;
    }

    /// <summary>The user of Basic authentication (RFC 7617), whose password is the key; null without one.</summary>
    public static string? BasicUser(HttpRequest request) => ReadBasic(request)?.User;

    private static (string User, string Password)? ReadBasic(HttpRequest request)
    {
        if (request.Headers.Authorization is not [{ } authorization]
            || !authorization.StartsWith(Basic, StringComparison.OrdinalIgnoreCase))
        {
            return null;
        }

        var bytes = new byte[authorization.Length];
        return Convert.TryFromBase64String(authorization[Basic.Length..].Trim(), bytes, out var length)
            && Encoding.UTF8.GetString(bytes, 0, length).Split(':', 2) is [var user, var password]
                ? (user, password)
                : null;
    }

    /// <summary>Clients of other APIs must send a key; where none is configured, this machine's may send any.</summary>
    private static bool TakesAnyKey(HttpContext context) =>
        context.GetEndpoint()?.Metadata.GetMetadata<AnyKeyLocallyAttribute>() is not null
        && !RequestOrigin.IsForeign(context.Request)
        && context.RequestServices.GetRequiredService<LocalAccess>().Covers(context);

    private static bool IsSafe(HttpRequest request) => HttpMethods.IsGet(request.Method) || HttpMethods.IsHead(request.Method);
}

internal sealed class KeyHandler(
    IOptionsMonitor<AuthenticationSchemeOptions> options, ILoggerFactory logger, UrlEncoder encoder, ApiKeys keys)
    : AuthenticationHandler<AuthenticationSchemeOptions>(options, logger, encoder)
{
    protected override Task<AuthenticateResult> HandleAuthenticateAsync()
    {
        if (Credentials.Shown(Context) is not { } shown)
            return Task.FromResult(AuthenticateResult.NoResult());
        return Task.FromResult(keys.Find(shown) is { } key
            ? AuthenticateResult.Success(new AuthenticationTicket(key.ToPrincipal(Scheme.Name), Scheme.Name))
            : AuthenticateResult.Fail("The key is not known."));
    }
}

internal sealed class TokenHandler(
    IOptionsMonitor<AuthenticationSchemeOptions> options, ILoggerFactory logger, UrlEncoder encoder, WatcherTokens tokens)
    : AuthenticationHandler<AuthenticationSchemeOptions>(options, logger, encoder)
{
    protected override Task<AuthenticateResult> HandleAuthenticateAsync()
    {
        if (Credentials.Shown(Context) is not { } shown || tokens.Read(shown) is not var (token, expiresAt))
            return Task.FromResult(AuthenticateResult.Fail("The token is not known, or has expired."));
        // SignalR ends the connection at this time, and so do the event streams.
        var properties = new AuthenticationProperties { ExpiresUtc = expiresAt };
        return Task.FromResult(
            AuthenticateResult.Success(new AuthenticationTicket(token.ToPrincipal(Scheme.Name), properties, Scheme.Name)));
    }
}

/// <summary>Whether being on this machine is enough: in Development, as long as no key is configured.</summary>
internal sealed class LocalAccess(IHostEnvironment environment, ApiKeys keys)
{
    /// <summary>Whether it is enough here at all.</summary>
    public bool IsOn { get; } = environment.IsDevelopment() && !keys.Any;

    public bool Covers(HttpContext context) => IsOn && LocalRequest.IsLoopback(context);
}

internal sealed class LocalHandler(
    IOptionsMonitor<AuthenticationSchemeOptions> options, ILoggerFactory logger, UrlEncoder encoder, LocalAccess local)
    : AuthenticationHandler<AuthenticationSchemeOptions>(options, logger, encoder)
{
    protected override Task<AuthenticateResult> HandleAuthenticateAsync()
    {
        if (!local.Covers(Context))
            return Task.FromResult(AuthenticateResult.NoResult());
        var identity = new ClaimsIdentity(
            [
                new Claim(ClaimTypes.NameIdentifier, Credentials.Local),
                new Claim(ClaimTypes.Name, Credentials.Local),
                new Claim(ClaimTypes.Role, Roles.Client),
                new Claim(ClaimTypes.Role, Roles.Operator),
            ],
            Scheme.Name);
        return Task.FromResult(AuthenticateResult.Success(new AuthenticationTicket(new ClaimsPrincipal(identity), Scheme.Name)));
    }
}

/// <summary>An endpoint of another API: from this machine, in Development without keys, any key is as good as none.</summary>
[AttributeUsage(AttributeTargets.Class | AttributeTargets.Method)]
internal sealed class AnyKeyLocallyAttribute : Attribute;
