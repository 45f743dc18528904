using System.Net;

namespace ImageQueue.Web.Auth;

/// <summary>Tells requests of this machine from all others.</summary>
internal static class LocalRequest
{
    /// <summary>A proxy adds one of these; the forwarded-headers middleware renames them to the last two.</summary>
    private static readonly string[] ProxyHeaders =
        ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via", "X-Original-For", "X-Original-Host"];

    /// <summary>From loopback, through no proxy, and to a local name; a foreign name pointed here (DNS rebinding) is not local.</summary>
    public static bool IsLoopback(HttpContext context) =>
        context.Connection.RemoteIpAddress is { } remote && IPAddress.IsLoopback(remote)
        && !IsProxied(context.Request)
        && IsLocalName(context.Request.Host.Host);

    /// <summary>The same, or from this machine's own address, as the app calls its simulator. A numeric host cannot be rebound.</summary>
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
