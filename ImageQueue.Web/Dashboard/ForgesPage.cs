using ImageQueue.Core.Forge;
using ImageQueue.Core.Queue;

namespace ImageQueue.Web.Dashboard;

/// <summary>The Forge servers: how each is, since when and why, what it is at, and how it has done in the last day.</summary>
internal static class ForgesPage
{
    public static async Task<Markup> ShowAsync(DeskRequest request)
    {
        var summary = request.Get<DeskSummary>();
        var (figures, ends) = (await summary.GetAsync(request.Aborted), await summary.GetEndsAsync(request.Aborted));
        return Markup.Of(
            $"""
            {await ImagesPage.Head(request)}
            <div class="desk-cards">{Markup.Join(request.Get<ForgePool>().Status.Select(forge => Card(request, forge, figures, ends)))}</div>
            """);
    }

    private static Markup Card(DeskRequest request, ForgeBackendStatus forge, DeskSummary.Figures figures, DeskSummary.DayOfEnds ends)
    {
        var pause = request.Get<Pauses>().Of(forge.Name);
        var (state, words) = forge switch
        {
            { Paused: true, Busy: true } => ("paused", "Paused, finishes its picture"),
            { Paused: true, Draining: true } => ("draining", "Paused, ends what it left"),
            { Paused: true } => ("paused", "Paused, empty"),
            { Healthy: null } => ("unknown", "Not asked yet"),
            { Healthy: false } => ("down", "Down"),
            { Draining: true } => ("draining", "Draining"),
            { Busy: true } => ("busy", "Painting"),
            { Leased: false } => ("elsewhere", "Used by another process"),
            _ => ("up", "Healthy and free"),
        };
        var painting = figures.Painting.FirstOrDefault(message => message.Backend == forge.Name);
        var failures = ends.Errors.Where(end => end.Backend == forge.Name).GroupBy(end => end.ErrorCode ?? "?").OrderByDescending(group => group.Count()).ToList();
        return Markup.Of(
            $"""
            <section class="desk-card desk-{state}" aria-label="{forge.Name}">
            <h2>{forge.Name} <span class="label desk-status desk-{state}">{words}</span></h2>
            <p class="text-muted desk-words">{forge.Url}</p>
            <dl class="dl-horizontal">
            <dt>{(forge.Healthy == false ? "Down" : "Up")} since</dt><dd>{Words.Time(forge.Since)} ({Words.Ago(figures.At, forge.Since)})</dd>
            {(forge is { Healthy: false, LastError: { } why } ? Markup.Of($"<dt>Why</dt><dd class=\"desk-words\">{why}</dd>") : Markup.None)}
            {(pause is { } stopped ? Markup.Of($"<dt>Paused by</dt><dd>{stopped.By}, {Words.Time(stopped.At)}</dd>") : Markup.None)}
            <dt>Model loaded</dt><dd>{forge.LoadedModel ?? "not known"}</dd>
            <dt>Paints now</dt><dd>{(painting is null ? Markup.Of($"nothing of ours") : Markup.Of($"<a href=\"{request.Root}/images/{painting.Id}\">Image {painting.Id}</a>, {painting.Progress} %"))}</dd>
            <dt>Last hour</dt><dd>{ends.Complete.Count(end => end.Backend == forge.Name && ends.At - end.At < TimeSpan.FromHours(1))} pictures</dd>
            <dt>Median</dt><dd>{Words.Duration(ends.Median(forge.Name))}</dd>
            <dt>Failed, 24 h</dt><dd>{(failures.Count == 0 ? Markup.Of($"none") : Markup.Join(failures.Select(group => Markup.Of($"<a href=\"{request.Root}/images{Words.Query(("show", "error"), ("forge", forge.Name), ("code", group.Key))}\"><code>{group.Key}</code> {group.Count()}</a> "))))}</dd>
            </dl>
            <p>{(forge.Paused
                ? request.Button("Resume", "/desk/forges/resume", forge.Name, style: "success")
                : request.Button("Pause", "/desk/forges/pause", forge.Name, $"Pause {forge.Name}? It finishes what it paints and gets nothing more."))}{(forge is { Paused: true, Busy: false }
                ? Markup.None
                : request.Button("Drain", "/desk/forges/drain", forge.Name, $"Drain {forge.Name}? It is paused, and what it paints is begun again at another Forge, with its turn."))}{request.Button("Probe now", "/desk/forges/probe", forge.Name)}</p>
            </section>
            """);
    }
}
