using ImageQueue.Core.Backends;

namespace ImageQueue.Web.Dashboard;

/// <summary>The Forge servers: how each is, since when and why, what it is at, and how it has done in the last day.</summary>
internal static class BackendsPage
{
    public static async Task<Markup> ShowAsync(ImageDashboardRequest request)
    {
        var summary = request.Get<DashboardSummary>();
        var (figures, ends) = (await summary.GetAsync(request.Aborted), await summary.GetEndsAsync(request.Aborted));
        return Markup.Of(
            $"""
            {await ImagesPage.Head(request)}
            <div class="iq-cards">{Markup.Join(request.Get<BackendPool>().Status.Select(forge => Card(request, forge, figures, ends)))}</div>
            """);
    }

    private static Markup Card(ImageDashboardRequest request, BackendStatus forge, DashboardSummary.Figures figures, DashboardSummary.DayOfEnds ends)
    {
        var pause = request.Get<Pauses>().Of(forge.Name);
        var (state, words) = forge switch
        {
            { Paused: true, Busy: true } => ("paused", "Paused, finishes its image"),
            { Paused: true, Draining: true } => ("draining", "Paused, ends what it left"),
            { Paused: true } => ("paused", "Paused, empty"),
            { Healthy: null } => ("unknown", "Not asked yet"),
            { Healthy: false } => ("down", "Down"),
            { Draining: true } => ("draining", "Draining"),
            { Busy: true } => ("busy", "Generating"),
            { Leased: false } => ("elsewhere", "Used by another process"),
            _ => ("up", "Healthy and free"),
        };
        var generating = figures.Generating.FirstOrDefault(message => message.Backend == forge.Name);
        var failures = ends.Errors.Where(end => end.Backend == forge.Name).GroupBy(end => end.ErrorCode ?? "?").OrderByDescending(group => group.Count()).ToList();
        return Markup.Of(
            $"""
            <section class="iq-card iq-{state}" aria-label="{forge.Name}">
            <h2>{forge.Name} <span class="label iq-status iq-{state}">{words}</span></h2>
            <p class="text-muted iq-words">{forge.Url}</p>
            <dl class="dl-horizontal">
            <dt>{(forge.Healthy == false ? "Down" : "Up")} since</dt><dd>{DashboardFormat.Time(forge.Since)} ({DashboardFormat.Ago(figures.At, forge.Since)})</dd>
            {(forge is { Healthy: false, LastError: { } why } ? Markup.Of($"<dt>Why</dt><dd class=\"iq-words\">{why}</dd>") : Markup.None)}
            {(pause is { } stopped ? Markup.Of($"<dt>Paused by</dt><dd>{stopped.By}, {DashboardFormat.Time(stopped.At)}</dd>") : Markup.None)}
            <dt>Model loaded</dt><dd>{forge.LoadedModel ?? "not known"}</dd>
            <dt>Generates now</dt><dd>{(generating is null ? Markup.Of($"nothing of ours") : Markup.Of($"<a href=\"{request.Root}/images/{generating.Id}\">Image {generating.Id}</a>, {generating.Progress} %"))}</dd>
            <dt>Last hour</dt><dd>{ends.Complete.Count(end => end.Backend == forge.Name && ends.At - end.At < TimeSpan.FromHours(1))} images</dd>
            <dt>Median</dt><dd>{DashboardFormat.Duration(ends.Median(forge.Name))}</dd>
            <dt>Failed, 24 h</dt><dd>{(failures.Count == 0 ? Markup.Of($"none") : Markup.Join(failures.Select(group => Markup.Of($"<a href=\"{request.Root}/images{DashboardFormat.Query(("show", "error"), ("forge", forge.Name), ("code", group.Key))}\"><code>{group.Key}</code> {group.Count()}</a> "))))}</dd>
            </dl>
            <p>{(forge.Paused
                ? request.Button("Resume", "/commands/forges/resume", forge.Name, style: "success")
                : request.Button("Pause", "/commands/forges/pause", forge.Name, $"Pause {forge.Name}? It finishes what it generates and gets nothing more."))}{(forge is { Paused: true, Busy: false }
                ? Markup.None
                : request.Button("Drain", "/commands/forges/drain", forge.Name, $"Drain {forge.Name}? It is paused, and what it generates is begun again at another Forge, with its turn."))}{request.Button("Probe now", "/commands/forges/probe", forge.Name)}</p>
            </section>
            """);
    }
}
