using Microsoft.Net.Http.Headers;

namespace ImageQueue.Web.Auth;

/// <summary>
/// Whether a page of another website sends a request. Browsers say so in <c>Sec-Fetch-Site</c> (W3C Fetch Metadata) and
/// <c>Origin</c>, which no script can set; other programs say nothing.
/// </summary>
internal static class RequestOrigin
{
    private const string Site = "Sec-Fetch-Site";

    /// <summary>
    /// Whether a page of another website sends it by itself. Opening one of our pages by a link elsewhere is the user's own doing.
    /// </summary>
    public static bool IsForeign(HttpRequest request)
    {
        if (request.Headers[Site] is [{ Length: > 0 } site, ..])
            return site is not ("same-origin" or "none") && !IsNavigation(request);
        return request.Headers.Origin is [{ Length: > 0 } origin, ..] && !IsOwn(request, origin);
    }

    /// <summary>Whether the browser says where it comes from at all.</summary>
    public static bool HasOrigin(HttpRequest request) =>
        request.Headers.ContainsKey(Site) || request.Headers.ContainsKey(HeaderNames.Origin);

    /// <summary>Whether this is our own address, as a browser writes it.</summary>
    public static bool IsOwn(HttpRequest request, string origin) =>
        string.Equals(origin, $"{request.Scheme}://{request.Host}", StringComparison.OrdinalIgnoreCase);

    private static bool IsNavigation(HttpRequest request) =>
        HttpMethods.IsGet(request.Method)
            && request.Headers["Sec-Fetch-Mode"] == "navigate"
            && request.Headers["Sec-Fetch-Dest"] == "document";
}
