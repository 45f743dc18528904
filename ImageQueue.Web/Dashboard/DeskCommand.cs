using Hangfire.Dashboard;

namespace ImageQueue.Web.Dashboard;

/// <summary>
/// Something that an operator does to what was picked (<c>jobs[]</c>, as Hangfire's own commands have it). Refused for one who
/// only looks; whether the form is ours, Hangfire has asked before.
/// </summary>
/// <param name="doAsync">Does it to one; false when that one's state does not allow it.</param>
internal sealed class DeskCommand(Func<DeskRequest, string, Task<bool>> doAsync) : IDashboardDispatcher
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

        var request = new DeskRequest(http, IsReadOnly: false);
        var (done, refused) = (0, 0);
        foreach (var value in (await http.Request.ReadFormAsync(http.RequestAborted))["jobs[]"])
        {
            if (await doAsync(request, value ?? ""))
                done++;
            else
                refused++;
        }

        await http.Response.WriteAsJsonAsync(new { done, refused }, http.RequestAborted);
    }
}
