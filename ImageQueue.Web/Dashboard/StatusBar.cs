using Hangfire.Dashboard;
using ImageQueue.Core.Hosting;
using ImageQueue.Web.Auth;

namespace ImageQueue.Web.Dashboard;

/// <summary>What stops or slows the queue now, worst first, each with a control that acts; on every page.</summary>
internal static class StatusBar
{
    public static async Task<Markup> ShowAsync(HttpContext http, string root, bool isReadOnly)
    {
        var conditions = await http.RequestServices.GetRequiredService<SystemConditions>().GetAsync(http.RequestAborted);
        if (conditions.Count == 0)
            return Markup.Of($"<p class=\"iq-calm\">All systems normal</p>");
        var commands = new Commands(root, isReadOnly);
        return Markup.Of($"<ul>{Markup.Join(conditions, one => Row(one, commands))}</ul>");
    }

    private static Markup Row(SystemCondition condition, Commands commands) => Markup.Of(
        $"""
        <li class="iq-condition {(condition.Stops ? "iq-stops" : condition.IsFault ? "iq-slows" : "iq-notice")}"
        data-iq-code="{condition.Code}">
        <span class="iq-words"><strong>{condition.Text}</strong>
        <span class="iq-since">{(condition.By is { Length: > 0 } by ? $"By {by}, since" : "Since")}
        {(condition.Since is { } since ? DashboardFormat.Time(since) : Markup.None)}</span></span>
        <span class="iq-controls">{Controls(condition, commands)}</span>
        </li>
        """);

    private static Markup Controls(SystemCondition condition, Commands commands) => condition.Code switch
    {
        ConditionCodes.QueuePaused => commands.Post("Resume the queue", "/commands/queue/resume", "queue", "/images"),
        ConditionCodes.NotWritable or ConditionCodes.DatabaseUnavailable =>
            commands.Post("Check again", "/commands/conditions/check", "", "/servers"),
        ConditionCodes.NoBackend => commands.Post("Probe all", "/commands/backends/probe", "*", "/backends"),
        ConditionCodes.BackendUnhealthy => commands.Post("Probe now", "/commands/backends/probe", condition.Subject, "/backends"),
        ConditionCodes.BackendPaused => commands.Post("Resume", "/commands/backends/resume", condition.Subject, "/backends"),
        ConditionCodes.ModelMissing or ConditionCodes.BackendDraining => commands.Link("Backends", "/backends"),
        ConditionCodes.SweepMissing => commands.Post("Schedule now", "/commands/sweep/schedule", "", "/recurring"),
        ConditionCodes.WebhookSuspended =>
            commands.Post("Resume", "/commands/webhooks/resume", condition.Subject, "/jobs/enqueued/webhooks"),
        ConditionCodes.WebhookFailing => commands.Link("Deliveries", "/jobs/scheduled"),
        _ => commands.Link("Servers", "/servers"),
    };

    /// <summary>The bar without a page, for its refresh.</summary>
    internal sealed class Part : IDashboardDispatcher
    {
        public async Task Dispatch(DashboardContext context)
        {
            var http = context.GetHttpContext();
            http.Response.ContentType = "text/html; charset=utf-8";
            http.Response.Headers.CacheControl = "no-store";
            var bar = await ShowAsync(http, http.Request.PathBase.Value ?? "", !http.User.Is(Roles.Operator));
            await http.Response.WriteAsync(bar.ToString(), http.RequestAborted);
        }
    }

    private sealed record Commands(string Root, bool IsReadOnly)
    {
        public Markup Link(string text, string path) => Markup.Of($"<a class=\"btn btn-xs btn-default\" href=\"{Root}{path}\">{text}</a>");

        /// <summary>A button; for a read-only operator the page that shows the condition.</summary>
        public Markup Post(string text, string command, string? value, string page) => IsReadOnly
            ? Link("Show", page)
            : Markup.Of(
                $"""
                <button type="button" class="btn btn-xs btn-primary" data-iq-post="{Root}{command}" data-iq-value="{value}">{text}</button>
                """);
    }
}
