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
    public const string Any = "imagequeue";

    /// <summary>A key in the header.</summary>
    public const string Key = "key";

    public const string Token = "token";

    public const string Cookie = "cookie";

    public const string Local = "local";

    private const string KeyHeader = "X-Api-Key";

    public static string Pick(HttpContext context)
    {
        if (FindCredential(context) is { } credential)
        {
            // An address ends in logs and histories: a key in it is refused, a token in it expires.
            return credential.StartsWith(WatcherTokens.Prefix, StringComparison.Ordinal) || InHeader(context) is null ? Token
                : TakesAnyKey(context) ? Local
                : Key;
        }

        if (RequestOrigin.IsForeign(context.Request))
            return Key; // Finds none.
        if (context.RequestServices.GetRequiredService<LocalAccess>().Covers(context))
            return Local;
        return IsSafe(context.Request) || RequestOrigin.HasOrigin(context.Request) ? Cookie : Key;
    }

    /// <summary>A key or token in the header, or a token in the address where the endpoint takes one there.</summary>
    public static string? FindCredential(HttpContext context) => InHeader(context)
        ?? (context.GetEndpoint()?.Metadata.GetMetadata<TokenInAddressAttribute>() is null ? null : TokenInAddress.Of(context));

    private static string? InHeader(HttpContext context)
    {
        if (AfterScheme(context.Request, "Bearer ") is { } token)
            return token;
        if (ReadBasic(context.Request) is var (_, password))
            return password;
        return context.Request.Headers[KeyHeader] is [{ } key, ..] ? key : null;
    }

    /// <summary>The user of Basic authentication (RFC 7617), whose password is the key; null without one.</summary>
    public static string? BasicUser(HttpRequest request) => ReadBasic(request)?.User;

    private static (string User, string Password)? ReadBasic(HttpRequest request)
    {
        if (AfterScheme(request, "Basic ") is not { } encoded)
            return null;
        var bytes = new byte[encoded.Length];
        return Convert.TryFromBase64String(encoded, bytes, out var length)
            && Encoding.UTF8.GetString(bytes, 0, length).Split(':', 2) is [var user, var password]
                ? (user, password)
                : null;
    }

    private static string? AfterScheme(HttpRequest request, string scheme) =>
        request.Headers.Authorization is [{ } authorization] && authorization.StartsWith(scheme, StringComparison.OrdinalIgnoreCase)
            ? authorization[scheme.Length..].Trim()
            : null;

    /// <summary>Clients of other APIs must send a key; where none is configured, this machine's may send any.</summary>
    private static bool TakesAnyKey(HttpContext context) =>
        context.GetEndpoint()?.Metadata.GetMetadata<AnyKeyLocallyAttribute>() is not null
        && !RequestOrigin.IsForeign(context.Request)
        && context.RequestServices.GetRequiredService<LocalAccess>().Covers(context);

    private static bool IsSafe(HttpRequest request) => HttpMethods.IsGet(request.Method) || HttpMethods.IsHead(request.Method);
}

/// <summary>Authenticates with a key, with a token, or by being on this machine, as the scheme says.</summary>
internal sealed class CredentialsHandler(
    IOptionsMonitor<AuthenticationSchemeOptions> options, ILoggerFactory logger, UrlEncoder encoder,
    ApiKeys keys, WatcherTokens tokens, LocalAccess local)
    : AuthenticationHandler<AuthenticationSchemeOptions>(options, logger, encoder)
{
    protected override Task<AuthenticateResult> HandleAuthenticateAsync() => Task.FromResult(Scheme.Name switch
    {
        Credentials.Token => ByToken(),
        Credentials.Local => local.Covers(Context) ? Success(LocalAccess.ToPrincipal()) : AuthenticateResult.NoResult(),
        _ => ByKey(),
    });

    private AuthenticateResult ByKey() =>
        Credentials.FindCredential(Context) is not { } credential ? AuthenticateResult.NoResult()
        : keys.Find(credential) is { } key ? Success(key.ToPrincipal(Scheme.Name))
        : AuthenticateResult.Fail("The key is not known.");

    /// <summary>SignalR ends the connection when the token expires, and so do the event streams.</summary>
    private AuthenticateResult ByToken() =>
        Credentials.FindCredential(Context) is { } credential && tokens.Read(credential) is var (token, expiresAt)
            ? Success(token.ToPrincipal(Scheme.Name), new() { ExpiresUtc = expiresAt })
            : AuthenticateResult.Fail("The token is not known, or has expired.");

    private AuthenticateResult Success(ClaimsPrincipal principal, AuthenticationProperties? properties = null) =>
        AuthenticateResult.Success(new AuthenticationTicket(principal, properties, Scheme.Name));
}

/// <summary>Whether being on this machine is enough: in Development, as long as no key is configured.</summary>
internal sealed class LocalAccess(IHostEnvironment environment, ApiKeys keys)
{
    private readonly bool _isOn = environment.IsDevelopment() && !keys.Any;

    public bool Covers(HttpContext context) => _isOn && LocalRequest.IsLoopback(context);

    public static ClaimsPrincipal ToPrincipal() => new(new ClaimsIdentity(
        [
            new(ClaimTypes.NameIdentifier, Credentials.Local), new(ClaimTypes.Name, Credentials.Local),
            new(ClaimTypes.Role, Roles.Client), new(ClaimTypes.Role, Roles.Operator),
        ],
        Credentials.Local));
}

/// <summary>An endpoint of another API: from this machine, in Development without keys, any key is as good as none.</summary>
[AttributeUsage(AttributeTargets.Class | AttributeTargets.Method)]
internal sealed class AnyKeyLocallyAttribute : Attribute;
