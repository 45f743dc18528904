using System.Text.RegularExpressions;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Architecture;

/// <summary>README, docs and CONTRIBUTING: short enough to finish, and every name in them exists.</summary>
[TestFixture]
[Category(Categories.Fast)]
internal sealed partial class DocumentsTests
{
    private static IEnumerable<string> Documents =>
        Repository.Sources("docs", "*.md").Concat(
            new[] { "README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "sql/README.md" }.Select(Repository.File));

    [Test]
    public void Readme_HasAtMost8Kilobytes() => Assert.That(new FileInfo(Repository.File("README.md")).Length, Is.LessThanOrEqualTo(8192));

    [Test]
    public void Links_LeadToFilesAndHeadings()
    {
        var broken =
            from file in Documents
            from link in Link().Matches(File.ReadAllText(file))
            let target = link.Groups["target"].Value.Split('#')
            let path = target[0].Length == 0 ? file : Path.GetFullPath(Path.Combine(Path.GetDirectoryName(file)!, target[0]))
            where !Path.Exists(path) || (target.Length > 1 && !AnchorsOf(path).Contains(target[1]))
            select $"{Repository.Relative(file)}: {link.Groups["target"].Value}";
        Assert.That(broken, Is.Empty);
    }

    [Test]
    public void Paths_InCodeMarks_Exist()
    {
        var missing =
            from file in Documents
            from path in SourcePath().Matches(File.ReadAllText(file))
            where !Path.Exists(Repository.File(path.Groups["path"].Value))
            select $"{Repository.Relative(file)}: {path.Groups["path"].Value}";
        Assert.That(missing, Is.Empty);
    }

    /// <summary>Each promise of the README names the test that holds it.</summary>
    [Test]
    public void Fixtures_ThatDocumentsName_Exist()
    {
        var fixtures = typeof(DocumentsTests).Assembly.GetTypes().Select(type => type.Name).ToHashSet(StringComparer.Ordinal);
        var missing =
            from file in Documents
            from name in FixtureName().Matches(File.ReadAllText(file))
            where !fixtures.Contains(name.Groups["name"].Value)
            select $"{Repository.Relative(file)}: {name.Groups["name"].Value}";
        Assert.That(missing, Is.Empty);
    }

    [Test]
    public void Metrics_ThatTheDocumentNames_Exist()
    {
        var sources = Repository.Sources("ImageQueue.Core", "*.cs")
            .Concat(Repository.Sources("ImageQueue.Web", "*.cs"))
            .Select(File.ReadAllText)
            .ToList();
        var names = MetricName().Matches(File.ReadAllText(Repository.File("docs/telemetry.md"))).Select(name => name.Groups["name"].Value)
            .ToList();

        Assert.That(names, Is.Not.Empty);
        Assert.That(names.Where(name => !sources.Any(source => source.Contains($"\"{name}\"", StringComparison.Ordinal))), Is.Empty);
    }

    /// <summary>GitHub's rule: lower case, punctuation removed, blanks to hyphens.</summary>
    private static HashSet<string> AnchorsOf(string file) => File.ReadLines(file)
        .Where(line => line.StartsWith('#'))
        .Select(line => Punctuation().Replace(line.TrimStart('#').Trim().ToLowerInvariant(), "").Replace(' ', '-'))
        .ToHashSet(StringComparer.Ordinal);

    [GeneratedRegex(@"\]\((?!https?:)(?<target>[^)\s]+)\)")]
    private static partial Regex Link();

    [GeneratedRegex(@"`(?<path>(ImageQueue\.(Core|Web|Tests)|sql|deploy|docs)/[\w./-]*)`")]
    private static partial Regex SourcePath();

    [GeneratedRegex(@"`(?<name>[A-Z]\w+Tests)`")]
    private static partial Regex FixtureName();

    [GeneratedRegex(@"`(?<name>imagequeue\.[a-z._]+)`")]
    private static partial Regex MetricName();

    [GeneratedRegex(@"[^\w -]")]
    private static partial Regex Punctuation();
}
