using System.Text.RegularExpressions;
using ImageQueue.Web.Auth;

namespace ImageQueue.Web.Dashboard;

/// <summary>Completes every dashboard page, Hangfire's own included: job names, addresses, language, status bar and version.</summary>
internal static partial class DashboardFrame
{
    public static void UseDashboardFrame(this IApplicationBuilder app) => app.UseWhen(
        context => context.Request.Path.StartsWithSegments(Forms.Dashboard) && HttpMethods.IsGet(context.Request.Method),
        dashboard => dashboard.Use(CompleteAsync));

    private static async Task CompleteAsync(HttpContext context, RequestDelegate next)
    {
        var response = context.Response.Body;
        using var written = new MemoryStream();
        context.Response.Body = written;
        try
        {
            await next(context);
        }
        finally
        {
            context.Response.Body = response;
        }

        written.Position = 0;
        if (context.Response.ContentType?.StartsWith("text/html", StringComparison.OrdinalIgnoreCase) != true)
        {
            await written.CopyToAsync(response, context.RequestAborted);
            return;
        }

        var page = await JobNames.FillAsync(context, Encoding.UTF8.GetString(written.GetBuffer(), 0, (int)written.Length));
        // Addresses that do not know the app's path base, such as an image's; text has no quotation mark that is not encoded.
        page = page.Replace("=\"~/", $"=\"{context.Request.PathBase}/", StringComparison.Ordinal);
        if (Container.IsMatch(page))
            page = await AddFrameAsync(context, page);
        context.Response.ContentLength = null;
        await context.Response.WriteAsync(page, context.RequestAborted);
    }

    private static async Task<string> AddFrameAsync(HttpContext context, string page)
    {
        var root = context.Request.PathBase.Add(Forms.Dashboard).Value!; // Dashboard is a constant.
        var conditions = await StatusBar.ShowAsync(new(context, IsReadOnly: !context.User.Is(Roles.Operator)) { Root = root });
        var bar = Markup.Of(
            $"""
            <section class="iq iq-conditions" aria-label="System status"
            data-iq-conditions="{root}/live/status" data-iq-login="{context.Request.PathBase}/login">
            <p class="iq-old" role="alert" data-iq-stale hidden></p>
            <div aria-live="polite" data-iq-list>{conditions}</div>
            <p class="iq-result" role="status" data-iq-result></p>
            </section>
            """);
        page = Container.Replace(page, match => $"{match.Value}{bar}", count: 1);
        page = Language.Replace(page, "<html lang=\"en\"", count: 1); // The dashboard is in English, whatever Hangfire's culture is.
        return Credit.Replace(page, match => $"{match.Value}<li>{Markup.Of($"ImageQueue {ProductVersion.Value}")}</li>", count: 1);
    }

    [GeneratedRegex("<div class=\"[^\"]*js-page-container[^\"]*\"[^>]*>", RegexOptions.CultureInvariant)]
    private static partial Regex Container { get; }

    [GeneratedRegex("<html lang=\"[^\"]*\"", RegexOptions.CultureInvariant)]
    private static partial Regex Language { get; }

    [GeneratedRegex("<ul class=\"list-inline credit\">", RegexOptions.CultureInvariant)]
    private static partial Regex Credit { get; }
}
