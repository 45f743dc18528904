using ImageQueue.Core.Hosting;

namespace ImageQueue.Web.Dashboard;

/// <summary>What stops or slows the queue now, worst first, each with a control that acts; on every page.</summary>
internal static class StatusBar
{
    public static async Task<Markup> ShowAsync(ImageDashboardRequest request)
    {
        var conditions = await request.Get<SystemConditions>().GetAsync(request.Aborted);
        return conditions.Count == 0
            ? Markup.Of($"<p class=\"iq-calm\">All systems normal</p>")
            : Markup.Of($"<ul>{Markup.Join(conditions, one => Row(one, request))}</ul>");
    }

    private static Markup Row(SystemCondition condition, ImageDashboardRequest request) => Markup.Of(
        $"""
        <li class="iq-condition{(condition.Stops ? " iq-stops" : condition.IsFault ? " iq-slows" : "")}"
        data-iq-code="{condition.Code}">
        <span class="iq-words"><strong>{condition.Text}</strong>
        <span class="iq-since">{(condition.By is { Length: > 0 } by ? $"By {by}, since" : "Since")}
        {(condition.Since is { } since ? DashboardFormat.Time(since) : Markup.None)}</span></span>
        <span class="iq-controls">{Controls(condition, request)}</span>
        </li>
        """);

    private static Markup Controls(SystemCondition condition, ImageDashboardRequest request) => condition.Code switch
    {
        ConditionCodes.QueuePaused => Post(request, "Resume the queue", "/commands/queue/resume", "queue", "/images"),
        ConditionCodes.NotWritable or ConditionCodes.DatabaseUnavailable =>
            Post(request, "Check again", "/commands/conditions/check", "", "/servers"),
        ConditionCodes.NoBackend => Post(request, "Probe all", "/commands/backends/probe", "*", "/backends"),
        ConditionCodes.BackendUnhealthy => Post(request, "Probe now", "/commands/backends/probe", condition.Subject, "/backends"),
        ConditionCodes.BackendPaused => Post(request, "Resume", "/commands/backends/resume", condition.Subject, "/backends"),
        ConditionCodes.ModelMissing or ConditionCodes.BackendDraining => Link(request, "Backends", "/backends"),
        ConditionCodes.SweepMissing => Post(request, "Schedule now", "/commands/sweep/schedule", "", "/recurring"),
        ConditionCodes.WebhookSuspended =>
            Post(request, "Resume", "/commands/webhooks/resume", condition.Subject, "/jobs/enqueued/webhooks"),
        ConditionCodes.WebhookFailing => Link(request, "Deliveries", "/jobs/scheduled"),
        _ => Link(request, "Servers", "/servers"),
    };

    private static Markup Link(ImageDashboardRequest request, string text, string path) =>
        Markup.Of($"<a class=\"btn btn-xs btn-default\" href=\"{request.Root}{path}\">{text}</a>");

    /// <summary>A button; for a read-only operator the page that shows the condition.</summary>
    private static Markup Post(ImageDashboardRequest request, string text, string command, string? value, string page) =>
        request.IsReadOnly ? Link(request, "Show", page) : request.Button(text, command, value, style: "primary");
}
