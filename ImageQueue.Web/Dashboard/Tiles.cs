using Hangfire;
using Hangfire.Dashboard;
using ImageQueue.Core.Hosting;
using ImageQueue.Web.Auth;

namespace ImageQueue.Web.Dashboard;

/// <summary>The tiles of the home page; each links to the page that explains it.</summary>
internal static class Tiles
{
    public static void Add()
    {
        const string root = $"~{Forms.Dashboard}"; // Hangfire writes a tile's address as it is; DashboardFrame completes it.
        Add<DashboardSummary.Figures>("waiting", "Waiting", root + "/images?show=waiting", Summary, figures => new Metric(figures.Waiting));
        Add<DashboardSummary.Figures>(
            "oldest", "Oldest wait", root + "/images?show=waiting", Summary, figures =>
                new Metric(DashboardFormat.Ago(figures.At, figures.OldestQueuedAt)));
        Add<DashboardSummary.Figures>(
            "generating", "Generating", root + "/images?show=running", Summary, figures => new Metric(figures.Generating.Count));
        Add<StatisticsReader.Figures>(
            "hour", "Images per hour", root + "/images?show=complete", Statistics, statistics => new Metric(statistics.PerHour));
        Add<StatisticsReader.Figures>("errors", "Errors, last hour", root + "/failures", Statistics, statistics =>
            new Metric(statistics.ErrorsPerHour) { Style = statistics.ErrorsLastHour > 0 ? MetricStyle.Warning : MetricStyle.Default });
        Add<StatisticsReader.Figures>(
            "errors-day", "Errors, last day", root + "/failures", Statistics, statistics => new Metric(statistics.ErrorsPerDay));
        Add<DashboardSummary.Figures>("backends", "Healthy backends", root + "/backends", Summary, figures =>
            new Metric(string.Create(CultureInfo.InvariantCulture, $"{figures.Healthy} / {figures.Backends.Count}"))
            {
                Style = figures.Healthy == 0
                    ? MetricStyle.Danger
                    : figures.Healthy < figures.Backends.Count ? MetricStyle.Warning : MetricStyle.Success,
                Highlighted = figures.Healthy == 0,
            });
        Add<IReadOnlyList<SystemCondition>>("webhooks", "Webhooks failing", root + "/jobs/scheduled", Conditions, conditions =>
            conditions.Count(one => one.Code is ConditionCodes.WebhookFailing or ConditionCodes.WebhookSuspended) is var failing and > 0
                ? new Metric(failing) { Style = MetricStyle.Danger, Highlighted = true }
                : new Metric(0));
    }

    private static Task<DashboardSummary.Figures> Summary(HttpContext http) =>
        http.RequestServices.GetRequiredService<DashboardSummary>().GetAsync(http.RequestAborted);

    private static Task<StatisticsReader.Figures> Statistics(HttpContext http) =>
        http.RequestServices.GetRequiredService<StatisticsReader>().GetAsync(http.RequestAborted);

    private static Task<IReadOnlyList<SystemCondition>> Conditions(HttpContext http) =>
        http.RequestServices.GetRequiredService<SystemConditions>().GetAsync(http.RequestAborted);

    private static void Add<T>(string name, string title, string page, Func<HttpContext, Task<T>> ask, Func<T, Metric> show) =>
        GlobalConfiguration.Configuration.UseDashboardMetric(new DashboardMetric($"imagequeue:{name}", title, view =>
        {
            var http = view.Context.GetHttpContext();
            try
            {
                // Hangfire computes its tiles synchronously.
                return show(ask(http).GetAwaiter().GetResult());
            }
            catch (StoreUnavailableException)
            {
                return new Metric("–") { Title = "The database does not answer." };
            }
        })
        { Url = page });
}
