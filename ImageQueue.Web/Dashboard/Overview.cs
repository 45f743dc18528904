using ImageQueue.Core.Queue;

namespace ImageQueue.Web.Dashboard;

/// <summary>The home page's charts of the last day and the last week.</summary>
internal static class Overview
{
    /// <summary>Codes in the order of their colours; an unknown code has the last colour.</summary>
    private static readonly string[] Codes =
    [
        ErrorCodes.TimedOut, ErrorCodes.Stalled, ErrorCodes.Rejected, ErrorCodes.OutOfMemory, ErrorCodes.BackendFailed,
        ErrorCodes.NoBackend, ErrorCodes.BadImage, ErrorCodes.Abandoned, ErrorCodes.NotStored, ErrorCodes.Unexpected,
    ];

    public static async Task<Markup> ShowAsync(ImageDashboardRequest request)
    {
        var statistics = await request.Get<StatisticsReader>().GetAsync(request.Aborted);
        var part = TimeSpan.FromMinutes(5);
        var week = OverviewTimes.Of(statistics.Rows, statistics.At, buckets: 28, TimeSpan.FromHours(6));
        return Markup.Of(
            $"""
            {await WaitingUsersAsync(request)}
            {(statistics.Young is { } samples
                ? Period("last 3 hours", "by 5 minutes", OverviewTimes.Of(OverviewTimes.ToRows(samples, part), statistics.At, 36, part))
                : Period("last day", "by hour", statistics.Day))}
            {Period("last week", "by six hours", week)}
            """);
    }

    private static Markup Period(string when, string by, OverviewTimes times) => Markup.Of(
        $"""
        <h2 class="h3">Images, {when} <small class="text-muted">{by}</small></h2>
        <div class="iq-charts">{Charts(times, when)}</div>
        """);

    /// <summary>Who fills the queue: a flood is one user's.</summary>
    private static async Task<Markup> WaitingUsersAsync(ImageDashboardRequest request)
    {
        var figures = await request.Get<DashboardSummary>().GetAsync(request.Aborted);
        if (figures.WaitingUsers.Count == 0)
            return Markup.None;
        var order = request.Get<IOptions<QueueOptions>>().Value.Order;
        return Markup.Of(
            $"""
            <h2 class="h3">Waiting by user <small class="text-muted">{DashboardFormat.Order(order)}</small></h2>
            <div class="table-responsive" tabindex="0" role="region" aria-label="Waiting by user">
            <table class="table table-condensed iq-table" aria-label="Waiting by user">
            <thead><tr>{Markup.Columns("User", "Next position", "Waiting", "Share", "Oldest")}</tr></thead>
            <tbody>{Markup.Join(figures.WaitingUsers, one => Row(one.User, one.Next))}</tbody>
            </table></div>
            """);

        Markup Row(WaitingUser user, int? next)
        {
            var requests = $"/images{DashboardFormat.Query(("show", "waiting"), ("user", user.Username))}";
            return Markup.Of(
                $"""
                <tr><th scope="row" class="iq-user">{request.Link(requests, DashboardFormat.OneLine(user.Username, 40))}</th>
                <td class="iq-number">{next:n0}</td><td class="iq-number">{user.Count:n0}</td>
                <td class="iq-number">{Share((double)user.Count / Math.Max(figures.Waiting, user.Count))}</td>
                <td>{DashboardFormat.Ago(figures.At, user.OldestQueuedAt)}</td></tr>
                """);
        }
    }

    private static Markup Charts(OverviewTimes times, string when)
    {
        var starts = times.All.Select(time => time.Start).ToList();
        var codes = times.All.SelectMany(time => time.Errors.Keys)
            .Distinct()
            .OrderBy(code => Array.IndexOf(Codes, code) is >= 0 and var at ? at : Codes.Length)
            .ThenBy(code => code, StringComparer.Ordinal)
            .ToList();
        var longest = times.All.Max(time => time.Queue);
        return Markup.Join(
        [
            new Chart(
                "Images", when, Count(times.Images, "image"), starts, [new("Images", "iq-series-good", Values(time => time.Images))],
                Number).Bars(),
            new Chart(
                "Errors by code",
                when,
                times.Errors == 0
                    ? "none"
                    : $"{Number(times.Errors)} of {Count(times.Images + times.Errors, "request")}, {Share(times.ErrorShare ?? 0)}",
                starts,
                [.. codes.Select(code => new Chart.Line(code, Style(code), Values(time => time.Errors.GetValueOrDefault(code))))],
                Number).Bars(),
            new Chart(
                "Wait",
                when,
                times.All.Max(time => time.WaitHigh) is { } high ? $"p95 at most {DashboardFormat.Duration(high)}" : "no request started",
                starts,
                [
                    new("p50", "iq-series-line", Values(time => time.WaitMedian)),
                    new("p95", "iq-series-line2", Values(time => time.WaitHigh))],
                value => DashboardFormat.Duration(value)).Lines(),
            new Chart(
                "Queue", when, longest is { } most ? $"{Number(most)} waiting at most" : "no data", starts,
                [new("Longest queue", "iq-series-info", Values(time => time.Queue))], Number).Bars(),
        ]);

        List<double?> Values(Func<OverviewTime, double?> of) => [.. times.All.Select(of)];
    }

    public static string Share(double share) => string.Create(CultureInfo.InvariantCulture, $"{100 * share:0.#} %");

    private static string Style(string code) =>
        string.Create(CultureInfo.InvariantCulture, $"iq-code-{(Array.IndexOf(Codes, code) is >= 0 and var at ? at : Codes.Length - 1)}");

    private static string Number(double value) => value.ToString("#,0.#", CultureInfo.InvariantCulture);

    private static string Count(int count, string what) => $"{Number(count)} {what}{(count == 1 ? "" : "s")}";
}
