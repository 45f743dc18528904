using System.Security.Claims;

namespace ImageQueue.Web.Auth;

/// <summary>Who a caller can be, as its claim of type <see cref="ClaimTypes.Role"/> says.</summary>
public static class Roles
{
    /// <summary>The chat app's server: shows a key.</summary>
    public const string Client = "client";

    /// <summary>Somebody who runs ImageQueue: shows a key, or a cookie got for one.</summary>
    public const string Operator = "operator";

    /// <summary>The same, but one who only looks.</summary>
    public const string OperatorRead = "operator-read";

    /// <summary>A browser of the chat app's: shows a token that was made for one conversation.</summary>
    public const string Watcher = "watcher";

    /// <summary>Those that a key can have.</summary>
    public static IReadOnlyList<string> OfKeys { get; } = [Client, Operator, OperatorRead];

    internal static bool Is(this ClaimsPrincipal user, params ReadOnlySpan<string> roles)
    {
        foreach (var role in roles)
        {
            if (user.IsInRole(role))
                return true;
        }

        return false;
    }
}
