using System.Net;
using System.Security.Cryptography;
using System.Text.RegularExpressions;
using Hangfire.Common;
using ImageQueue.Core.Queue;

namespace ImageQueue.Web.Dashboard;

/// <summary>
/// Names image jobs on Hangfire's pages by user and prompt. Hangfire asks for one name at a time, so each job gets a mark first;
/// one query then replaces all marks of the finished page.
/// </summary>
internal static class JobNames
{
    // Private-use characters pass Hangfire's encoding unchanged. The random part keeps any text of a user from being taken for a mark.
    private static readonly string Begin = $"\uE0A0{Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16))}:";
    private const char End = '\uE0A1';

    private static readonly Regex Mark = new($"{Begin}([0-9]{{1,19}}){End}", RegexOptions.CultureInvariant | RegexOptions.Compiled);

    /// <summary>A mark for an image job; Hangfire's name for any other.</summary>
    public static string MarkOf(Job job) =>
        ImageJobs.IsImageJob(job) && job.Args is [long id, ..]
            ? string.Create(CultureInfo.InvariantCulture, $"{Begin}{id}{End}")
            : job.ToString();

    public static async Task<string> FillAsync(HttpContext context, string page)
    {
        var ids = Mark.Matches(page).Select(IdOf).OfType<long>().ToHashSet();
        if (ids.Count == 0)
            return page;
        var names = await NamesAsync(context, ids);
        return Mark.Replace(page, mark =>
            WebUtility.HtmlEncode(IdOf(mark) is { } id && names.TryGetValue(id, out var name) ? name : $"Image {mark.Groups[1]}"));
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

    /// <summary>Text of a user with what could pass for a mark taken out.</summary>
    public static string WithoutMarks(string text) =>
        text.Contains(Begin, StringComparison.Ordinal) ? text.Replace(Begin, "", StringComparison.Ordinal) : text;

    private static long? IdOf(Match mark) =>
        long.TryParse(mark.Groups[1].ValueSpan, NumberStyles.None, CultureInfo.InvariantCulture, out var id) ? id : null;
}
