using Hangfire.Dashboard;

namespace ImageQueue.Web.Dashboard;

/// <summary>
/// Something that an operator does to what was picked (<c>jobs[]</c>, as Hangfire's own commands have it). Refused for one who
/// only looks; whether the form is ours, Hangfire has asked before.
/// </summary>
/// <param name="doAsync">Does it to one of them.</param>
internal sealed class ImageCommands(Func<ImageDashboardRequest, string, Task<ImageCommands.Tally>> doAsync) : IDashboardDispatcher
{
    public async Task Dispatch(DashboardContext context)
    {
        var http = context.GetHttpContext();
        if (!HttpMethods.IsPost(http.Request.Method))
        {
            http.Response.StatusCode = StatusCodes.Status405MethodNotAllowed;
            return;
        }

        if (context.IsReadOnly)
        {
            http.Response.StatusCode = StatusCodes.Status403Forbidden;
            return;
        }

        var request = new ImageDashboardRequest(http, IsReadOnly: false);
        var all = default(Tally);
        foreach (var value in (await http.Request.ReadFormAsync(http.RequestAborted))["jobs[]"])
            all += await doAsync(request, value ?? "");
        await request.Get<DashboardSummary>().ForgetAsync();
        await http.Response.WriteAsJsonAsync(new { done = all.Done, refused = all.Refused }, http.RequestAborted);
    }

    /// <summary>What came of it.</summary>
    /// <param name="Done">How many it was done to.</param>
    /// <param name="Refused">How many are in a state that does not allow it.</param>
    internal readonly record struct Tally(int Done, int Refused)
    {
        public static Tally operator +(Tally one, Tally other) => new(one.Done + other.Done, one.Refused + other.Refused);

        public static Tally Of(bool done) => done ? new(1, 0) : new(0, 1);
    }
}
