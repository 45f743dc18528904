using Hangfire.Dashboard;
using Hangfire.Dashboard.Pages;

namespace ImageQueue.Web.Dashboard;

/// <summary>An image page in Hangfire's layout. The script refreshes its content every two seconds.</summary>
internal sealed class ImageDashboardPage(string title, Func<ImageDashboardRequest, Task<Markup>> content) : RazorPage
{
    public override void Execute()
    {
        Layout = new LayoutPage(title);
        var http = Context.GetHttpContext();
        // Hangfire writes its pages synchronously.
        var shown = content(new ImageDashboardRequest(http, Context.IsReadOnly)).GetAwaiter().GetResult();
        WriteLiteral(Markup.Of(
            $"""
            <div class="iq" data-iq-live="{http.Request.PathBase}/live{http.Request.Path}{http.Request.QueryString}">
            <h1 class="page-header">{title}</h1>
            <p class="iq-said" role="status" aria-live="polite" tabindex="-1" data-iq-said></p>
            <div data-iq-part>{shown}</div>
            </div>
            """).ToString());
    }

    /// <summary>The content without the layout.</summary>
    internal sealed class Part(Func<ImageDashboardRequest, Task<Markup>> content) : IDashboardDispatcher
    {
        public async Task Dispatch(DashboardContext context)
        {
            var http = context.GetHttpContext();
            var shown = await content(new ImageDashboardRequest(http, context.IsReadOnly));
            http.Response.ContentType = "text/html; charset=utf-8";
            http.Response.Headers.CacheControl = "no-store";
            await http.Response.WriteAsync(shown.ToString(), Encoding.UTF8, http.RequestAborted);
        }
    }
}

/// <param name="Http">The HTTP request; its path base is the dashboard's.</param>
/// <param name="IsReadOnly">Whether the operator may only read, and gets no buttons.</param>
internal sealed record ImageDashboardRequest(HttpContext Http, bool IsReadOnly)
{
    public CancellationToken Aborted => Http.RequestAborted;

    public string Root { get; init; } = Http.Request.PathBase.Value ?? "";

    public T Get<T>()
        where T : notnull => Http.RequestServices.GetRequiredService<T>();

    public string? QueryValue(string key) => Http.Request.Query[key].ToString() is { Length: > 0 } value ? value : null;

    public long Number(string key, long otherwise) => long.TryParse(QueryValue(key), out var number) && number >= 0 ? number : otherwise;

    /// <summary>A button that posts a command; nothing for a read-only operator.</summary>
    public Markup Button(string text, string command, string? value, string? confirm = null, string style = "default") => IsReadOnly
        ? Markup.None
        : Markup.Of(
            $"""
            <button type="button" class="btn btn-xs btn-{style}" data-iq-post="{Root}{command}"
            data-iq-value="{value}" data-iq-confirm="{confirm}">{text}</button>

            """);

    public Markup Link(string path, object text) => Markup.Of($"<a href=\"{Root}{path}\">{text}</a>");
}
