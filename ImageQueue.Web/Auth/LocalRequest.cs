using System.Net;

namespace ImageQueue.Web.Auth;

/// <summary>Whether a request comes from this very machine, and was meant for it.</summary>
internal static class LocalRequest
{
    /// <summary>A proxy adds one of these, and the middleware that believes a proxy renames them to the last two.</summary>
    private static readonly string[] ProxyHeaders =
        ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via", "X-Original-For", "X-Original-Host"];

    /// <summary>
    /// From loopback, through no proxy, and to a local name: a name that a foreign website's DNS points here (DNS rebinding) is
    /// none.
    /// </summary>
    public static bool IsLoopback(HttpContext context) =>
        context.Connection.RemoteIpAddress is { } remote && IPAddress.IsLoopback(remote)
        && !IsProxied(context.Request)
        && IsLocalName(context.Request.Host.Host);

    /// <summary>
    /// The same, or from the address that this machine listens at: how the app calls its own simulator. A numeric host cannot be
    /// rebound.
    /// </summary>
    public static bool IsThisMachine(HttpContext context) =>
        context.Connection.RemoteIpAddress is { } remote
        && (IPAddress.IsLoopback(remote) || remote.Equals(context.Connection.LocalIpAddress))
        && !IsProxied(context.Request)
        && (IsLocalName(context.Request.Host.Host)
            || IPAddress.TryParse(context.Request.Host.Host, out _)
            || string.Equals(context.Request.Host.Host, Environment.MachineName, StringComparison.OrdinalIgnoreCase));

    private static bool IsProxied(HttpRequest request) => Array.Exists(ProxyHeaders, request.Headers.ContainsKey);

    private static bool IsLocalName(string host) =>
        host.Equals("localhost", StringComparison.OrdinalIgnoreCase)
        || host.EndsWith(".localhost", StringComparison.OrdinalIgnoreCase)
        || (IPAddress.TryParse(host, out var address) && IPAddress.IsLoopback(address));
}
