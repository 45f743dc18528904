using System.Runtime.InteropServices;
using NUnit.Framework;

namespace ImageQueue.Tests.Benchmarks.Support;

/// <summary>
/// The one table of a run: each line a figure, its baseline measured in the same run, the ratio, and the bar. A missed bar is a
/// line that says so and no failed test: how quick a machine is proves no mistake.
/// </summary>
internal static class BenchmarkTable
{
    private static readonly string[] Head = ["", "figure", "baseline", "", "ratio", "bar", ""];

    private static readonly Lock Gate = new();
    private static readonly List<Line> Lines = [];

    /// <summary>Adds a line, and says it at once.</summary>
    /// <param name="what">What was measured, under what load.</param>
    /// <param name="unit">Of the figure and of its baseline.</param>
    /// <param name="rounds">One value for each round, warm-up rounds left out.</param>
    /// <param name="against">The same by other means; round by round the ratio is taken, where both have as many.</param>
    /// <param name="bar">What is expected; null: the line is there to be known.</param>
    public static void Add(string what, string unit, IReadOnlyList<double> rounds, Baseline? against = null, Bar? bar = null)
    {
        var line = new Line(what, unit, rounds, against, bar);
        lock (Gate)
            Lines.Add(line);
        TestContext.Progress.WriteLine(string.Join(" | ", line.Cells.Select(cell => cell.Trim()).Where(cell => cell.Length > 0)));
    }

    /// <summary>A line of one value.</summary>
    public static void Add(string what, string unit, double value, Baseline? against = null, Bar? bar = null) =>
        Add(what, unit, [value], against, bar);

    /// <summary>The whole as Markdown, with the machine it ran on; null when nothing was measured.</summary>
    public static string? Print()
    {
        string[][] rows;
        lock (Gate)
            rows = [.. Lines.Select(line => line.Cells)];
        if (rows.Length == 0)
            return null;

        var widths = Head.Select((head, i) => Math.Max(head.Length, rows.Max(row => row[i].Length))).ToArray();
        var text = new StringBuilder().AppendLine(Machine()).AppendLine();
        Append(Head);
        text.Append('|').AppendJoin('|', widths.Select(width => new string('-', width + 2))).AppendLine("|");
        foreach (var row in rows)
            Append(row);
        return text.ToString();

        void Append(string[] cells) =>
            text.Append("| ").AppendJoin(" | ", cells.Select((cell, i) => cell.PadRight(widths[i]))).AppendLine(" |");
    }

    /// <summary>The middle one; the mean of the two middle ones.</summary>
    public static double Median(IEnumerable<double> values)
    {
        var sorted = values.Order().ToList();
        return (sorted[sorted.Count / 2] + sorted[(sorted.Count - 1) / 2]) / 2;
    }

    private static string Machine()
    {
        const string names = "/proc/cpuinfo";
        var name = File.Exists(names)
            ? File.ReadLines(names).FirstOrDefault(line => line.StartsWith("model name", StringComparison.Ordinal))?.Split(':')[^1].Trim()
            : null;
        var build = typeof(Web.WebServices).Assembly.GetCustomAttributes(typeof(System.Reflection.AssemblyConfigurationAttribute), false)
            .OfType<System.Reflection.AssemblyConfigurationAttribute>().FirstOrDefault()?.Configuration;
        var memory = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 1024.0 / 1024 / 1024;
        return string.Create(
            CultureInfo.InvariantCulture,
            $"{TimeProvider.System.GetUtcNow():yyyy-MM-dd}: {Environment.ProcessorCount} cores of "
            + $"{name ?? RuntimeInformation.ProcessArchitecture.ToString()}, {memory:0} GiB, {RuntimeInformation.OSDescription}, "
            + $"{RuntimeInformation.FrameworkDescription}, {build} build"
            + $"{(build == "Release" ? "" : " (which says little: add -c Release)")}.");
    }

    private sealed record Line(string What, string Unit, IReadOnlyList<double> Rounds, Baseline? Against, Bar? Bar)
    {
        public string[] Cells =>
            [What, Show(Rounds), Against is null ? "" : Show(Against.Rounds), Against?.Name ?? "", ShowRatio(), Bar?.Text ?? "", Verdict()];

        private double Figure => Median(Rounds);

        private double? Ratio => Against switch
        {
            null => null,
            var (_, rounds) when rounds.Count == Rounds.Count => Median(Rounds.Zip(rounds, (one, other) => one / other)),
            var (_, rounds) => Figure / Median(rounds),
        };

        private string Verdict() => Bar is null ? "" : Bar.IsMet(Figure, Ratio) ? "met" : "MISSED";

        private string ShowRatio() => Ratio is not { } ratio || !double.IsFinite(ratio) || ratio == 0 ? ""
            : ratio < 0.01 ? $"1/{Number(1 / ratio, "n0")}"
            : Number(ratio, ratio < 10 ? "0.00" : "n0");

        /// <summary>The median, and from the least to the most where there were several.</summary>
        private string Show(IReadOnlyList<double> rounds) => rounds.Count == 1
            ? $"{Number(rounds[0])} {Unit}"
            : $"{Number(Median(rounds))} {Unit} ({Number(rounds.Min())}..{Number(rounds.Max())})";

        private static string Number(double value) => Number(value, Math.Abs(value) switch
        {
            0 => "0",
            < 0.1 => "0.0000",
            < 10 => "0.00",
            < 100 => "0.0",
            _ => "n0",
        });

        private static string Number(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);
    }
}

/// <summary>The same done by other means, in the same run.</summary>
/// <param name="Name">By what.</param>
/// <param name="Rounds">One value for each round.</param>
internal sealed record Baseline(string Name, IReadOnlyList<double> Rounds);

/// <summary>What is expected of a line.</summary>
/// <param name="Text">As the table says it.</param>
/// <param name="IsMet">By the figure and its ratio to the baseline.</param>
internal sealed record Bar(string Text, Func<double, double?, bool> IsMet)
{
    public static Bar AtMost(double value, string unit) =>
        new(FormattableString.Invariant($"at most {value} {unit}"), (figure, _) => figure <= value);

    public static Bar RatioAtLeast(double value) =>
        new(FormattableString.Invariant($"ratio at least {value}"), (_, ratio) => ratio >= value);

    public static Bar RatioAtMost(double value) => new(FormattableString.Invariant($"ratio at most {value}"), (_, ratio) => ratio <= value);
}
