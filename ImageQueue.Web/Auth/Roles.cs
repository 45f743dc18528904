using System.Security.Claims;

namespace ImageQueue.Web.Auth;

/// <summary>The roles that a caller can have.</summary>
internal static class Roles
{
    /// <summary>The chat app's server, by a key.</summary>
    public const string Client = "client";

    /// <summary>Runs ImageQueue: a key, or the cookie of a sign-in.</summary>
    public const string Operator = "operator";

    /// <summary>The same, read-only.</summary>
    public const string OperatorRead = "operator-read";

    /// <summary>A browser of the chat app, by a token for one conversation.</summary>
    public const string Watcher = "watcher";

    public static IReadOnlyList<string> OfKeys { get; } = [Client, Operator, OperatorRead];

    /// <summary>The caller as request events name it; see <see cref="Core.Messages.Actor"/>.</summary>
    internal static string? ToActor(this ClaimsPrincipal user) => user.Identity switch
    {
        { AuthenticationType: Credentials.Local } => Credentials.Local,
        { Name: { } name } => $"{(user.Is(Watcher) ? "user" : user.Is(Client) ? "client" : "operator")} {name}",
        _ => null,
    };

    internal static bool Is(this ClaimsPrincipal user, params string[] roles) => Array.Exists(roles, user.IsInRole);
}
