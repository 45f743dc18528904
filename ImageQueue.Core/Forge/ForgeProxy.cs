namespace ImageQueue.Core.Forge;

/// <summary>The proxy or firewall that answered in a backend's place, and the setting that makes it wait longer.</summary>
/// <param name="Name">As operators know it.</param>
/// <param name="Setting">What to raise when it gives up too early.</param>
internal sealed record ForgeProxy(string Name, string Setting)
{
    private static readonly ForgeProxy Unknown = new(
        "a proxy before it",
        "raise its time-out (nginx: proxy_read_timeout, Apache: ProxyTimeout, HAProxy: timeout server, "
            + "Traefik: forwardingTimeouts.responseHeaderTimeout, Caddy: response_header_timeout) above Forge:Timeout");

    /// <summary>
    /// Words of the headers <c>Server</c> and <c>Via</c>, then of the page: HAProxy and Traefik send no header of their own.
    /// </summary>
    private static readonly (string Word, ForgeProxy Proxy)[] ByHeader =
    [
        ("cloudfront", new("CloudFront", "raise the origin's response timeout above Forge:Timeout")),
        ("openresty", new("openresty", "raise proxy_read_timeout above Forge:Timeout")),
        ("nginx", new("nginx", "raise proxy_read_timeout above Forge:Timeout")),
        ("apache", new("Apache", "raise ProxyTimeout above Forge:Timeout")),
        ("caddy", new("Caddy", "raise response_header_timeout of reverse_proxy's transport above Forge:Timeout")),
        ("envoy", new("Envoy", "raise the route's timeout above Forge:Timeout")),
        ("awselb", new("AWS load balancer", "raise its idle timeout above Forge:Timeout")),
        ("microsoft-iis", new("IIS", "raise the time-out of Application Request Routing above Forge:Timeout")),
        ("haproxy", new("HAProxy", "raise timeout server above Forge:Timeout")),
        ("traefik", new("Traefik", "raise forwardingTimeouts.responseHeaderTimeout above Forge:Timeout")),
        ("varnish", new("Varnish", "raise first_byte_timeout above Forge:Timeout")),
    ];

    private static readonly (string Word, string Name)[] ByPage =
    [
        ("The server didn't respond in time.", "haproxy"), // HAProxy's errors/504.http.
        ("<center>nginx", "nginx"),
        ("<center>openresty", "openresty"),
        ("upstream request timeout", "envoy"),
        ("CloudFront", "cloudfront"),
    ];

    public static ForgeProxy Of(HttpResponseMessage response, ReadOnlySpan<byte> body)
    {
        var ray = Header(response, "cf-ray");
        var headers = $"{Header(response, "Server")} {Header(response, "Via")}";
        if (ray is not null
            || (int)response.StatusCode is >= 520 and <= 530
            || headers.Contains("cloudflare", StringComparison.OrdinalIgnoreCase))
        {
            return new ForgeProxy(
                ray is null ? "Cloudflare" : $"Cloudflare (ray {ray})",
                "its limit is 100 s, higher in Enterprise plans only: lower Forge:Timeout, or reach Forge past Cloudflare (DNS only)");
        }

        if (Array.Find(ByHeader, entry => headers.Contains(entry.Word, StringComparison.OrdinalIgnoreCase)).Proxy is { } known)
            return known;

        // Traefik answers with the bare status text.
        var page = Encoding.UTF8.GetString(body);
        var name = page.Trim() is "Gateway Timeout" ? "traefik"
            : Array.Find(ByPage, entry => page.Contains(entry.Word, StringComparison.OrdinalIgnoreCase)).Name;
        return Array.Find(ByHeader, entry => entry.Word == name).Proxy ?? Unknown;
    }

    private static string? Header(HttpResponseMessage response, string name) =>
        response.Headers.TryGetValues(name, out var values) ? ForgeErrorText.Shorten(string.Join(", ", values)) : null;
}
