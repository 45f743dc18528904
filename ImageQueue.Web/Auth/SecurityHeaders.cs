namespace ImageQueue.Web.Auth;

/// <summary>Adds the security headers to every answer. A header that an endpoint has set stays.</summary>
internal static class SecurityHeaders
{
    /// <summary>An answer that is no page: nothing in it may run, load or be framed, whatever a browser takes it for.</summary>
    public const string NoPage = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox";

    /// <summary>
    /// Our pages: only files of our own, nothing inline. A prompt that found its way into the markup could still run nothing.
    /// </summary>
    public const string Page =
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

    /// <summary>
    /// Hangfire's pages. Beside our own files they need: colours in <c>style</c> attributes (JobDetailsPage.cshtml,
    /// HtmlHelper.cs), which <c>style-src-attr</c> allows without allowing style elements; the one style element that Chart.js
    /// writes, by its hash; an empty favicon from a <c>data:</c> address. Scripts come from files alone.
    /// </summary>
    public const string Dashboard =
        "default-src 'none'; script-src 'self'; style-src 'self' '" + ChartStyleHash + "'; style-src-attr 'unsafe-inline'; " +
        "img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

    /// <summary>Of the style that Chart.js 2.9.4 writes into the page; a test computes it from Hangfire's own file.</summary>
    internal const string ChartStyleHash = "sha256-z7zcnw/4WalZqx+PrNaRnoeLz/G9WXuFqV1WCJ129sg=";

    public static void UseSecurityHeaders(this IApplicationBuilder app) => app.Use((context, next) =>
    {
        // At the last moment, since what handles an exception clears the headers first; but Hangfire takes its part out of the path.
        var policy = context.Request.Path.StartsWithSegments(Forms.Dashboard) ? Dashboard : NoPage;
        context.Response.OnStarting(() =>
        {
            Add(context.Response, policy);
            return Task.CompletedTask;
        });
        return next(context);
    });

    private static void Add(HttpResponse response, string contentSecurityPolicy)
    {
        var headers = response.Headers;
        headers.XContentTypeOptions = "nosniff";
        headers.XFrameOptions = "DENY";
        headers.TryAdd("Referrer-Policy", "same-origin");
        if (headers.ContentSecurityPolicy.Count == 0)
            headers.ContentSecurityPolicy = contentSecurityPolicy;
        if (headers.CacheControl.Count == 0 && IsJson(response.ContentType))
            headers.CacheControl = "no-store";
    }

    private static bool IsJson(string? type) => type?.Contains("json", StringComparison.OrdinalIgnoreCase) == true;
}
