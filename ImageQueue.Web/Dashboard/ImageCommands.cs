using Hangfire.Dashboard;
using ImageQueue.Core.Hosting;

namespace ImageQueue.Web.Dashboard;

/// <summary>
/// Runs an operator's command on each posted value (<c>jobs[]</c>, as in Hangfire's own commands). Refused for a read-only
/// operator; Hangfire has checked the antiforgery token before.
/// </summary>
internal sealed class ImageCommands(Func<ImageDashboardRequest, string, Task<ImageCommands.Tally>> doAsync) : IDashboardDispatcher
{
    public async Task Dispatch(DashboardContext context)
    {
        var http = context.GetHttpContext();
        var isPost = HttpMethods.IsPost(http.Request.Method);
        if (!isPost || context.IsReadOnly)
        {
            http.Response.StatusCode = isPost ? StatusCodes.Status403Forbidden : StatusCodes.Status405MethodNotAllowed;
            return;
        }

        var request = new ImageDashboardRequest(http, IsReadOnly: false);
        var all = default(Tally);
        foreach (var value in (await http.Request.ReadFormAsync(http.RequestAborted))["jobs[]"])
            all += await doAsync(request, value ?? "");
        request.Get<DashboardSummary>().Invalidate();
        request.Get<SystemConditions>().Invalidate();
        await http.Response.WriteAsJsonAsync(new { done = all.Done, refused = all.Refused, started = all.Started }, http.RequestAborted);
    }

    /// <param name="Refused">Values whose state does not allow the command.</param>
    internal readonly record struct Tally(int Done, int Refused)
    {
        /// <summary>Whether a bulk command runs on in the background.</summary>
        public bool Started { get; init; }

        public static Tally operator +(Tally one, Tally other) =>
            new(one.Done + other.Done, one.Refused + other.Refused) { Started = one.Started || other.Started };

        public static Tally Of(bool done) => done ? new(1, 0) : new(0, 1);
    }
}
