namespace ImageQueue.Web.Dashboard;

/// <summary>Errors of the last day by error code and backend: count, hours and newest examples.</summary>
internal static class FailuresPage
{
    private const int Examples = 5;

    /// <summary>Most requests that one click retries.</summary>
    private const int MostRetries = 5000;

    public static async Task<Markup> ShowAsync(ImageDashboardRequest request)
    {
        var errors = await request.Get<DashboardSummary>().GetErrorsAsync(request.Aborted);
        var groups = errors.All.GroupBy(end => (Code: end.Code ?? "", Backend: end.Backend ?? ""))
            .OrderByDescending(group => group.Count()).ToList();
        if (groups.Count == 0)
            return Markup.Of($"<div class=\"alert alert-success\">No errors in the last 24 hours.</div>");
        var newest = groups.ToDictionary(group => group.Key, group => group.OrderByDescending(end => end.At).Take(Examples).ToList());
        long[] first = [.. newest.Values.Select(examples => examples[0].Id)];
        var known = (await request.Get<IFeedStore>().ReadChangesAsync(first, request.Aborted)).ToDictionary(one => one.Message.Id);
        var histories = await request.Get<IOperatorStore>().ReadEventsAsync([.. known.Keys], request.Aborted);
        return Markup.Of(
            $"""
            <p class="text-muted">Errors of the last 24 hours. A request that was retried since is not counted.</p>
            <div class="table-responsive"><table class="table iq-table" aria-label="Failures">
            <thead><tr>{Markup.Columns("Error", "Backend", "Count", "Hour by hour", "Newest")}
            {(request.IsReadOnly ? Markup.None : Markup.Columns("Action"))}</tr></thead>
            <tbody>{Markup.Join(groups, group =>
                Row(request, errors.At, group.Key, [.. group], Newest(request, errors.At, newest[group.Key], known, histories)))}</tbody>
            </table></div>
            """);
    }

    public static async Task<ImageCommands.Tally> RetryAsync(ImageDashboardRequest request, string group)
    {
        if (group.Split('|', 2) is not [var code, var backend])
            return ImageCommands.Tally.Of(false);
        var ends = await request.Get<DashboardSummary>().ListErrorsAsync(request.Aborted);
        var all = default(ImageCommands.Tally);
        var matching = ends.Where(end => (end.Code ?? "") == code && (end.Backend ?? "") == backend);
        foreach (var end in matching.OrderBy(end => end.QueuedAt).Take(MostRetries))
            all += ImageCommands.Tally.Of(await ImageDashboard.RetryAsync(request, end.Id));
        return all;
    }

    /// <summary>The newest examples of a group, with the backend's own words for the first.</summary>
    private static Markup Newest(
        ImageDashboardRequest request, DateTimeOffset now, List<RequestError> ends, Dictionary<long, MessageChange> known,
        IReadOnlyDictionary<long, IReadOnlyList<RequestEvent>> histories)
    {
        var reason = histories.GetValueOrDefault(ends[0].Id)?.LastOrDefault(step => step.What == RequestEventKinds.Error)?.Why
            ?? known.GetValueOrDefault(ends[0].Id)?.Message.Error;
        return Markup.Of(
            $"""
            {Markup.Join(ends, end => Markup.Of($"{request.Link($"/images/{end.Id}", end.Id)} "))}
            <br>{DashboardFormat.Ago(now, ends[0].At)} ago: <span class="iq-words">{DashboardFormat.OneLine(reason ?? "", 200)}</span>
            """);
    }

    private static Markup Row(
        ImageDashboardRequest request, DateTimeOffset now, (string Code, string Backend) key, List<RequestError> ends, Markup newest)
    {
        var hours = Enumerable.Range(0, 24).Select(hour => ends.Count(end => (int)(now - end.At).TotalHours == 23 - hour)).ToList();
        var most = Math.Max(1, hours.Max());
        var query = DashboardFormat.Query(("show", "error"), ("code", key.Code), ("backend", key.Backend));
        return Markup.Of(
            $"""
            <tr>
            <td>{request.Link($"/images{query}", Markup.Of($"<code>{key.Code}</code>"))}</td>
            <td>{(key.Backend.Length == 0 ? "none" : key.Backend)}</td>
            <td class="iq-number">{ends.Count}</td>
            <td><svg class="iq-bars" viewBox="0 0 96 24" width="96" height="24" role="img"
            aria-label="{ends.Count} in 24 hours, {hours[^1]} in the last">{Markup.Join(hours.Index(), Bar)}</svg></td>
            <td class="iq-newest">{newest}</td>
            {(request.IsReadOnly ? Markup.None : Markup.Of($"<td>{Retry()}</td>"))}
            </tr>
            """);

        Markup Bar((int Hour, int Count) one) => Markup.Of(
            $"<rect x=\"{one.Hour * 4}\" y=\"{24 - (one.Count * 24 / most)}\" width=\"3\" height=\"{one.Count * 24 / most}\"></rect>");

        Markup Retry() => request.Button(
            "Retry all", "/commands/failures/retry", $"{key.Code}|{key.Backend}", $"Retry {Math.Min(ends.Count, MostRetries)} images?",
            "primary");
    }
}
