using System.Text.RegularExpressions;
using ImageQueue.Tests.Support;
using NUnit.Framework;

namespace ImageQueue.Tests.Architecture;

/// <summary>What the house style says of a file's text: CONTRIBUTING.md.</summary>
[TestFixture]
[Category(Categories.Fast)]
internal sealed partial class SourceTests
{
    private const int LongestFile = 350;
    private const int LongestLine = 140;

    [Test]
    public void Files_OfTheProduct_HaveAtMost350Lines() => AssertNone(
        from file in Repository.Sources("ImageQueue.Core", "*.cs").Concat(Repository.Sources("ImageQueue.Web", "*.cs", "*.cshtml"))
        let lines = File.ReadLines(file).Count()
        where lines > LongestFile
        select $"{Repository.Relative(file)}: {lines}");

    [Test]
    public void Lines_HaveAtMost140Characters() => AssertNone(
        from file in Repository.Sources("ImageQueue.Core", "*.cs").Concat(Repository.Sources("ImageQueue.Web", "*.cs"))
            .Concat(Repository.Sources("ImageQueue.Tests", "*.cs"))
        from line in File.ReadLines(file).Index()
        where line.Item.Length > LongestLine
        select $"{Repository.Relative(file)}:{line.Index + 1}: {line.Item.Length}");

    /// <summary>Words of a private dialect: an operator cannot search a log for words that only this code uses.</summary>
    [Test]
    public void Sources_UseStandardWords() => AssertNone(
        from file in Repository.Sources("ImageQueue.Core", "*").Concat(Repository.Sources("ImageQueue.Web", "*"))
            .Concat(Repository.Sources("docs", "*")).Concat(Repository.Sources("sql", "*"))
            .Concat([Repository.File("README.md"), Repository.File("CONTRIBUTING.md")])
        where !IsTextForUsers(file) && !DrawsImages(file)
        from line in File.ReadLines(file).Index()
        from word in Dialect().Matches(line.Item.Replace("<picture>", "", StringComparison.Ordinal))
        select $"{Repository.Relative(file)}:{line.Index + 1}: {word.Value}: {line.Item.Trim()}");

    /// <summary>What people read in the chat may say "somebody".</summary>
    private static bool IsTextForUsers(string file) => Repository.Relative(file) is var name
        && (name.EndsWith(".resx", StringComparison.Ordinal) || name.Contains("/wwwroot/", StringComparison.Ordinal)
            || name.Contains("/Views/", StringComparison.Ordinal) || name.EndsWith(".ttf", StringComparison.Ordinal));

    /// <summary>SkiaSharp calls its brush a paint.</summary>
    private static bool DrawsImages(string file) =>
        Repository.Relative(file).StartsWith("ImageQueue.Web/Simulator/", StringComparison.Ordinal)
        && File.ReadAllText(file).Contains("using SkiaSharp;", StringComparison.Ordinal);

    private static void AssertNone(IEnumerable<string> found)
    {
        var list = found.ToList();
        Assert.That(list, Is.Empty, string.Join('\n', list));
    }

    [GeneratedRegex(@"\b(nobody|somebody|whoever|wish(es)?|desk|paint(s|ed|er|ing)?)\b", RegexOptions.IgnoreCase)]
    private static partial Regex Dialect();
}
