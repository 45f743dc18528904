namespace ImageQueue.Web.Dashboard;

/// <summary>A chart as inline SVG in the page's colours, with a summary and a table for screen readers.</summary>
/// <param name="When">The period, such as "last day".</param>
/// <param name="Sum">The summary beside the title.</param>
/// <param name="Times">Start of each bucket, oldest first.</param>
/// <param name="Say">Formats a value.</param>
internal sealed record Chart(
    string Title, string When, string Sum, IReadOnlyList<DateTimeOffset> Times, IReadOnlyList<Chart.Line> Series, Func<double, string> Say)
{
    private const double Left = 76;
    private const double Right = 596;
    private const double Top = 10;
    private const double Bottom = 128;

    private string Ago => (Times[1] - Times[0]) * Times.Count is { TotalDays: > 2 } days
        ? string.Create(CultureInfo.InvariantCulture, $"{days.TotalDays:0} days")
        : string.Create(CultureInfo.InvariantCulture, $"{((Times[1] - Times[0]) * Times.Count).TotalHours:0} h");

    private double Step => (Right - Left) / Times.Count;

    /// <summary>A bar per bucket, series stacked.</summary>
    public Markup Bars()
    {
        var most = Ceiling(Enumerable.Range(0, Times.Count).Max(i => Series.Sum(series => series.Values[i] ?? 0)));
        return Figure(
            most,
            Markup.Join(Enumerable.Range(0, Times.Count).Where(i => Series.Any(series => series.Values[i] > 0)).Select(i => Bar(i, most))));
    }

    /// <summary>A line per series, with a gap where a value is unknown.</summary>
    public Markup Lines()
    {
        var most = Ceiling(Series.SelectMany(series => series.Values).Max() ?? 0);
        return Figure(most, Markup.Join(Series.Select(series => OneLine(series, most))));
    }

    private Markup Bar(int i, double most)
    {
        var parts = new List<Markup>();
        var below = 0.0;
        foreach (var series in Series.Where(series => series.Values[i] > 0))
        {
            var value = series.Values[i]!.Value; // It is more than 0.
            var (top, bottom) = (Y(below + value, most), Y(below, most));
            parts.Add(Markup.Of(
                $"""
                <rect class="{series.Style}" x="{Left + (i * Step) + (Step * 0.1):0.#}" y="{top:0.#}"
                width="{Step * 0.8:0.#}" height="{bottom - top:0.#}"></rect>
                """));
            below += value;
        }

        var values = Series.Where(series => series.Values[i] > 0).Select(series => $"{series.Name} {Say(series.Values[i]!.Value)}");
        return Markup.Of($"<g><title>{DashboardFormat.Utc(Times[i])}: {string.Join(", ", values)}</title>{Markup.Join(parts)}</g>");
    }

    /// <summary>A run of known values is a line; a single value is a dot.</summary>
    private Markup OneLine(Line series, double most)
    {
        var drawn = new List<Markup>();
        for (var i = 0; i < Times.Count; i++)
        {
            var known = Enumerable.Range(i, Times.Count - i).TakeWhile(at => series.Values[at] is not null).ToList();
            if (known.Count == 1)
            {
                drawn.Add(Markup.Of(
                    $"<circle class=\"{series.Style}\" cx=\"{X(i):0.#}\" cy=\"{Y(series.Values[i]!.Value, most):0.#}\" r=\"3\"></circle>"));
            }
            else if (known.Count > 1)
            {
                drawn.Add(Markup.Of($"<polyline class=\"{series.Style}\" points=\"{string.Join(' ', known.Select(Point))}\"></polyline>"));
            }

            i += known.Count;
        }

        return Markup.Join(drawn);

        string Point(int at) => string.Create(CultureInfo.InvariantCulture, $"{X(at):0.#},{Y(series.Values[at]!.Value, most):0.#}");
    }

    private Markup Figure(double most, Markup drawn) => Markup.Of(
        $"""
        <figure class="iq-chart">
        <figcaption><strong>{Title}</strong> {Sum}</figcaption>
        <svg viewBox="0 0 600 156" role="img" aria-label="{Title}, {When}: {Sum}">
        <g class="iq-grid" aria-hidden="true">
        {Markup.Join([Bottom, (Top + Bottom) / 2, Top], GridLine)}
        <text x="{Left - 6}" y="{Top + 6}" text-anchor="end">{Say(most)}</text>
        <text x="{Left - 6}" y="{Bottom + 6}" text-anchor="end">0</text>
        <text x="{Left}" y="150">{Ago} ago</text><text x="{Right}" y="150" text-anchor="end">now</text></g>
        {drawn}
        </svg>
        {(Series.Count > 1 ? Markup.Of($"<ul class=\"iq-legend\">{Markup.Join(Series, Legend)}</ul>") : Markup.None)}
        <details><summary>{Title}, {When}, in numbers</summary>{Table()}</details>
        </figure>
        """);

    private static Markup GridLine(double y) => Markup.Of($"<line x1=\"{Left}\" x2=\"{Right}\" y1=\"{y}\" y2=\"{y}\"></line>");

    private static Markup Legend(Line series) => Markup.Of(
        $"""
        <li><svg viewBox="0 0 10 10" aria-hidden="true"><rect class="{series.Style}" width="10" height="10"></rect></svg> {series.Name}</li>
        """);

    private Markup Table()
    {
        var rows = Enumerable.Range(0, Times.Count).Reverse().Where(i => Series.Any(series => series.Values[i] is not (null or 0)))
            .ToList();
        return rows.Count == 0
            ? Markup.Of($"<p class=\"text-muted\">Nothing.</p>")
            : Markup.Of(
                $"""
                <table class="table table-condensed iq-table" aria-label="{Title}, {When}">
                <thead><tr>{Markup.Columns(Series.Select(series => series.Name).Prepend("From"))}</tr></thead>
                <tbody>{Markup.Join(rows, Row)}</tbody>
                </table>
                """);

        Markup Row(int i) => Markup.Of(
            $"<tr><th scope=\"row\">{DashboardFormat.Time(Times[i])}</th>{Markup.Join(Series, series => Cell(series.Values[i]))}</tr>");

        Markup Cell(double? value) => Markup.Of($"<td class=\"iq-number\">{(value is { } known ? Say(known) : "–")}</td>");
    }

    private double X(int i) => Left + ((i + 0.5) * Step);

    private static double Y(double value, double most) => Bottom - (value / most * (Bottom - Top));

    /// <summary>The axis ends at 1, 2 or 5 times a power of ten.</summary>
    internal static double Ceiling(double most)
    {
        var power = 1.0;
        while (power * 10 < most)
            power *= 10;
        return new[] { power, power * 2, power * 5, power * 10 }.First(end => end >= most);
    }

    /// <param name="Style">The CSS class.</param>
    /// <param name="Values">One per bucket; null is unknown.</param>
    internal sealed record Line(string Name, string Style, IReadOnlyList<double?> Values);
}
