using System.Globalization;
using System.Net;
using System.Text;
using System.Text.RegularExpressions;
using Hangfire.Common;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;
using ImageQueue.Web.Auth;

namespace ImageQueue.Web.Dashboard;

/// <summary>
/// Names image jobs on Hangfire's pages by user and prompt. Hangfire asks for one name at a time, so each job gets a mark first;
/// one query then replaces all marks of the finished page.
/// </summary>
internal static partial class JobNames
{
    // From the private use area: OneLine drops these from names and prompts, and Hangfire's encoder keeps them.
    private const char Before = '\uE0A0';
    private const char After = '\uE0A1';

    /// <summary>A mark for an image job; Hangfire's name for any other.</summary>
    public static string MarkOf(Job job) =>
        ImageJobs.IsImageJob(job) && job.Args is [long id, ..]
            ? string.Create(CultureInfo.InvariantCulture, $"{Before}{id}{After}")
            : job.ToString();

    public static void UseJobNames(this IApplicationBuilder app) => app.UseWhen(
        context => context.Request.Path.StartsWithSegments(Forms.Dashboard) && HttpMethods.IsGet(context.Request.Method),
        dashboard => dashboard.Use(FillAsync));

    private static async Task FillAsync(HttpContext context, RequestDelegate next)
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

        var page = Encoding.UTF8.GetString(written.GetBuffer(), 0, (int)written.Length);
        var ids = Mark.Matches(page).Select(mark => IdOf(mark)).ToHashSet();
        if (ids.Count > 0)
        {
            var names = await NamesAsync(context, ids);
            page = Mark.Replace(page, mark => WebUtility.HtmlEncode(names.GetValueOrDefault(IdOf(mark)) ?? $"Image {IdOf(mark)}"));
        }

        context.Response.ContentLength = null;
        await context.Response.WriteAsync(page, context.RequestAborted);
    }

    private static async Task<Dictionary<long, string>> NamesAsync(HttpContext context, HashSet<long> ids)
    {
        try
        {
            var requests = await context.RequestServices.GetRequiredService<IFeedStore>().ReadChangesAsync(ids, context.RequestAborted);
            return requests.ToDictionary(request => request.Message.Id, DashboardFormat.NameOf);
        }
        catch (StoreUnavailableException e)
        {
            // The page is still useful without the names.
            context.RequestServices.GetRequiredService<ILoggerFactory>().CreateLogger(typeof(JobNames)).LogDebug(
                e, "Job names could not be read.");
            return [];
        }
    }

    private static long IdOf(Match mark) => long.Parse(mark.Groups[1].ValueSpan, CultureInfo.InvariantCulture);

    [GeneratedRegex("\uE0A0([0-9]+)\uE0A1", RegexOptions.CultureInvariant)]
    private static partial Regex Mark { get; }
}
