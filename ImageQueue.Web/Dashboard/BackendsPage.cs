using ImageQueue.Core.Backends;

namespace ImageQueue.Web.Dashboard;

/// <summary>The backends: state, since when and why, current image, and the last day's results.</summary>
internal static class BackendsPage
{
    public static async Task<Markup> ShowAsync(ImageDashboardRequest request)
    {
        var summary = request.Get<DashboardSummary>();
        var (figures, ends) = (await summary.GetAsync(request.Aborted), await summary.GetEndsAsync(request.Aborted));
        return Markup.Of(
            $"""
            {await ImagesPage.Head(request)}
            <div class="iq-cards">{Markup.Join(request.Get<BackendPool>().Status.Select(backend => Card(request, backend, figures, ends)))}</div>
            """);
    }

    private static Markup Card(
        ImageDashboardRequest request, BackendStatus backend, DashboardSummary.Figures figures, DashboardSummary.DayOfEnds ends)
    {
        var pause = request.Get<Pauses>().Of(backend.Name);
        var (state, label) = backend switch
        {
            { Paused: true, Busy: true } => ("paused", "Paused, finishing its image"),
            { Paused: true, Draining: true } => ("draining", "Paused, draining"),
            { Paused: true } => ("paused", "Paused"),
            { Healthy: null } => ("unknown", "Not probed yet"),
            { Healthy: false } => ("unhealthy", "Unhealthy"),
            { Draining: true } => ("draining", "Draining"),
            { Busy: true } => ("busy", "Generating"),
            { Leased: false } => ("elsewhere", "Used by another process"),
            _ => ("healthy", "Healthy, free"),
        };
        var generating = figures.Generating.FirstOrDefault(message => message.Backend == backend.Name);
        var failures = ends.Errors.Where(end => end.Backend == backend.Name)
            .GroupBy(end => end.ErrorCode ?? "?")
            .OrderByDescending(group => group.Count())
            .ToList();
        return Markup.Of(
            $"""
            <section class="iq-card iq-{state}" aria-label="{backend.Name}">
            <h2>{backend.Name} <span class="label iq-status iq-{state}">{label}</span></h2>
            <p class="text-muted iq-words">{backend.Url}</p>
            <dl class="dl-horizontal">
            <dt>{(backend.Healthy == false ? "Unhealthy" : "Healthy")} since</dt><dd>{DashboardFormat.Time(backend.Since)} ({DashboardFormat.Ago(figures.At, backend.Since)})</dd>
            {(backend is { Healthy: false, LastError: { } reason } ? Markup.Of($"<dt>Reason</dt><dd class=\"iq-words\">{reason}</dd>") : Markup.None)}
            {(pause is { } paused ? Markup.Of($"<dt>Paused by</dt><dd>{paused.By}, {DashboardFormat.Time(paused.At)}</dd>") : Markup.None)}
            <dt>Model loaded</dt><dd>{backend.LoadedModel ?? "not known"}</dd>
            <dt>Generating</dt><dd>{(generating is null ? Markup.Of($"–") : Markup.Of($"<a href=\"{request.Root}/images/{generating.Id}\">Image {generating.Id}</a>, {generating.Progress} %"))}</dd>
            <dt>Last hour</dt><dd>{ends.Complete.Count(end => end.Backend == backend.Name && ends.At - end.At < TimeSpan.FromHours(1))} images</dd>
            <dt>Median</dt><dd>{DashboardFormat.Duration(ends.Median(backend.Name))}</dd>
            <dt>Failed, 24 h</dt><dd>{(failures.Count == 0 ? Markup.Of($"none") : Markup.Join(failures.Select(group => Markup.Of($"<a href=\"{request.Root}/images{DashboardFormat.Query(("show", "error"), ("backend", backend.Name), ("code", group.Key))}\"><code>{group.Key}</code> {group.Count()}</a> "))))}</dd>
            </dl>
            <p>{(backend.Paused
                ? request.Button("Resume", "/commands/backends/resume", backend.Name, style: "success")
                : request.Button("Pause", "/commands/backends/pause", backend.Name, $"Pause {backend.Name}? It finishes its current image and gets no new request."))}{(backend is { Paused: true, Busy: false }
                ? Markup.None
                : request.Button("Drain", "/commands/backends/drain", backend.Name, $"Drain {backend.Name}? It is paused; its current request is requeued in place and runs on another backend."))}{request.Button("Probe now", "/commands/backends/probe", backend.Name)}</p>
            </section>
            """);
    }
}
