using ImageQueue.Core.Backends;

namespace ImageQueue.Web.Dashboard;

/// <summary>The backends: state, since when and why, current image, and the last day's results.</summary>
internal static class BackendsPage
{
    /// <summary>A backend is marked when it needs this many times the pool's median per megapixel-step.</summary>
    private const double Slow = 2;

    public static async Task<Markup> ShowAsync(ImageDashboardRequest request)
    {
        var summary = request.Get<DashboardSummary>();
        var (figures, results) = (await summary.GetAsync(request.Aborted), await summary.GetBackendsAsync(request.Aborted));
        return Markup.Of(
            $"""
            {await ImagesPage.Head(request)}
            <div class="iq-cards">{Markup.Join(request.Get<BackendPool>().Status, Card)}</div>
            """);

        Markup Card(BackendStatus backend) => BackendsPage.Card(request, backend, figures, results);
    }

    private static Markup Card(
        ImageDashboardRequest request, BackendStatus backend, DashboardSummary.Figures figures, DashboardSummary.BackendFigures all)
    {
        var (state, label) = LabelOf(backend);
        var slow = all.Slowness(backend.Name) is { } slowness and > Slow
            ? Markup.Of($" <span class=\"label iq-status iq-slow\">Slow: {slowness:0.0} times the median</span>")
            : Markup.None;
        var (attempts, results) = (backend.Attempts, all.Of(backend.Name));
        return Markup.Of(
            $"""
            <section class="iq-card iq-{state}" id="backend-{backend.Name}" aria-label="{backend.Name}">
            <h2>{backend.Name} <span class="label iq-status iq-{state}">{label}</span>{slow}</h2>
            <p class="text-muted iq-words">{backend.Url}</p>
            <dl class="dl-horizontal">
            {State(request, backend, figures.At)}
            <dt>Model loaded</dt><dd>{backend.LoadedModel ?? "not known"}</dd>
            <dt>Generating</dt><dd>{Generating(request, backend, figures)}</dd>
            <dt>Last hour</dt><dd>{results.LastHour:n0} images</dd>
            <dt>Median</dt><dd>{DashboardFormat.Duration(results.Median)}</dd>
            <dt>Attempts</dt><dd>{attempts.Completed:n0} completed, {attempts.Failed:n0} failed, {attempts.Disrupted:n0} disrupted
            since the start</dd>
            {LastDisruption(backend, figures.At)}<dt>Errors, 24 h</dt><dd>{Errors(request, results)}</dd>
            </dl>
            <p>{Buttons(request, backend)}</p>
            </section>
            """);
    }

    /// <summary>It stays here when the backend is healthy again: a proxy's time-out names the setting to raise.</summary>
    private static Markup LastDisruption(BackendStatus backend, DateTimeOffset now) => Markup.Fact(
        "Last disruption", backend.LastDisruption is { } last ? $"{last.Reason.TrimEnd('.')} ({DashboardFormat.Ago(now, last.At)})" : null,
        isWords: true);

    private static (string State, string Label) LabelOf(BackendStatus backend) => backend switch
    {
        { Paused: true, Busy: true } => ("paused", "Paused, finishing its image"),
        { Paused: true, Draining: true } => ("draining", "Paused, draining"),
        { Paused: true } => ("paused", "Paused"),
        { IsCanaryRunning: true } => ("suspect", "Canary running"),
        { State: BackendState.Suspect } => ("suspect", "Suspect, waits for a canary"),
        { Healthy: null } => ("unknown", "Not probed yet"),
        { Healthy: false } => ("unhealthy", "Unhealthy"),
        { Draining: true } => ("draining", "Draining"),
        { Busy: true } => ("busy", "Generating"),
        { Leased: false } => ("elsewhere", "Used by another process"),
        _ => ("healthy", "Healthy, free"),
    };

    /// <summary>Since when and why. The time is the state's: a canary does not reset it.</summary>
    private static Markup State(ImageDashboardRequest request, BackendStatus backend, DateTimeOffset now)
    {
        var pause = request.Get<Pauses>().Of(backend.Name);
        var isAtFault = backend.State is BackendState.Unhealthy or BackendState.Suspect || backend.Healthy == false;
        return Markup.Of(
            $"""
            <dt>{backend.State} since</dt><dd>{DashboardFormat.Time(backend.Since)} ({DashboardFormat.Ago(now, backend.Since)})</dd>
            {Markup.Fact("Reason", isAtFault ? backend.LastError : null, isWords: true)}
            {Markup.Fact(
                "Draining", backend.Drain is { } drain ? $"for {DashboardFormat.Ago(now, drain.Since)}: {drain.Why}" : null, isWords: true)}
            {Markup.Fact(
                "Next canary", backend.NextCanary is { } next ? $"in {DashboardFormat.Duration((next - now).TotalSeconds)}" : null)}
            {Markup.Fact("Paused by", pause is { } paused ? Markup.Of($"{paused.By}, {DashboardFormat.Time(paused.At)}") : null)}
            """);
    }

    private static Markup Generating(ImageDashboardRequest request, BackendStatus backend, DashboardSummary.Figures figures) =>
        figures.Generating.FirstOrDefault(message => message.Backend == backend.Name) is { } generating
            ? Markup.Of($"{request.Link($"/images/{generating.Id}", $"Image {generating.Id}")}, {generating.Progress} %")
            : Markup.Of($"–");

    private static Markup Errors(ImageDashboardRequest request, BackendResults results)
    {
        return results.Errors.Count == 0 ? Markup.Of($"none") : Markup.Join(results.Errors.OrderByDescending(error => error.Value), Link);

        Markup Link(KeyValuePair<string, int> error)
        {
            var query = DashboardFormat.Query(("show", "error"), ("backend", results.Backend), ("code", error.Key));
            return Markup.Of($"{request.Link($"/images{query}", Markup.Of($"<code>{error.Key}</code> {error.Value:n0}"))} ");
        }
    }

    private static Markup Buttons(ImageDashboardRequest request, BackendStatus backend)
    {
        var pause = backend.Paused
            ? request.Button("Resume", "/commands/backends/resume", backend.Name, style: "success")
            : request.Button(
                "Pause", "/commands/backends/pause", backend.Name,
                $"Pause {backend.Name}? It finishes its current image and gets no new request.");
        var drain = backend is { Paused: true, Busy: false } ? Markup.None : request.Button(
            "Drain", "/commands/backends/drain", backend.Name,
            $"Drain {backend.Name}? It is paused; its current request is requeued in place and runs on another backend.");
        return Markup.Join([pause, drain, request.Button("Probe now", "/commands/backends/probe", backend.Name)]);
    }
}
