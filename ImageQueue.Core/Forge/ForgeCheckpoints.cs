using System.Text.RegularExpressions;

namespace ImageQueue.Core.Forge;

/// <summary>A backend's checkpoints; the one place that compares their names.</summary>
public sealed class ForgeCheckpoints
{
    private readonly IReadOnlyList<ForgeCheckpoint> _all;

    internal ForgeCheckpoints(IReadOnlyList<ForgeCheckpoint> all) => _all = all;

    public static ForgeCheckpoints None { get; } = new([]);

    public int Count => _all.Count;

    /// <summary>One short name for each.</summary>
    public IEnumerable<string> Names => _all.Select(checkpoint => checkpoint.Name);

    /// <summary>The checkpoint of this name, in any of its spellings; null when there is none.</summary>
    public ForgeCheckpoint? Find(string name) =>
        _all.FirstOrDefault(checkpoint => checkpoint.HasFullName(name)) ?? _all.FirstOrDefault(checkpoint => checkpoint.HasName(name));

    /// <summary>Whether two names, such as the requested one and the one in <c>info</c>, mean the same checkpoint.</summary>
    public bool AreSame(string one, string other) =>
        Find(one) is { } found ? found.HasName(other) || Find(other) == found
        : Find(other)?.HasName(one) ?? string.Equals(
            ForgeCheckpoint.BareName(one), ForgeCheckpoint.BareName(other), StringComparison.Ordinal);
}

/// <summary>
/// A checkpoint by all names that Forge's <c>modules/sd_models.py</c> gives it: in a subfolder it is listed as
/// <c>sub/a.safetensors [hash]</c> (title) and <c>sub_a</c> (model_name), and reported in <c>info</c> as <c>a</c>.
/// </summary>
public sealed partial class ForgeCheckpoint
{
    private const int ShortHashLength = 10;

    private readonly HashSet<string> _fullNames = new(StringComparer.Ordinal);
    private readonly HashSet<string> _bareNames = new(StringComparer.Ordinal);
    private readonly bool _isInFolder;

    internal ForgeCheckpoint(string title, string? modelName = null, string? fileName = null, params IEnumerable<string> hashes)
    {
        Title = TitleHash.Replace(title.Trim(), "");
        Name = string.IsNullOrWhiteSpace(modelName) ? Title : modelName;
        _isInFolder = FullName(title).Contains('/', StringComparison.Ordinal);
        foreach (var name in (string?[])[title, modelName, fileName])
        {
            if (string.IsNullOrWhiteSpace(name))
                continue;
            _fullNames.Add(FullName(name));
            _bareNames.Add(BareName(name));
        }

        foreach (var hash in hashes)
        {
            _fullNames.Add(hash.ToLowerInvariant());
            _fullNames.Add(hash[..Math.Min(hash.Length, ShortHashLength)].ToLowerInvariant());
        }

        if (TitleHash.Match(title) is { Success: true } match)
            _fullNames.Add(match.Groups[1].Value.ToLowerInvariant());
    }

    /// <summary>The title without its hash, which it gains after the first load: the name that Forge knows at all times.</summary>
    public string Title { get; }

    /// <summary>Its model_name, else its title.</summary>
    public string Name { get; }

    /// <summary>Whether the name means this checkpoint and says its folder, if it is in one.</summary>
    internal bool HasFullName(string name) => _fullNames.Contains(FullName(name));

    /// <summary>Whether the name means this checkpoint. A name with another folder does not.</summary>
    internal bool HasName(string name)
    {
        var full = FullName(name);
        return _fullNames.Contains(full)
            || ((!_isInFolder || !full.Contains('/', StringComparison.Ordinal)) && _bareNames.Contains(BareName(name)));
    }

    /// <summary>Without folder, extension and hash, in lower case.</summary>
    internal static string BareName(string name)
    {
        var full = FullName(name);
        return full[(full.LastIndexOf('/') + 1)..];
    }

    /// <summary>Whether it can only be a hash: no backend reports that as the model that it used.</summary>
    internal static bool IsHash(string name) => name.Length >= 8 && name.All(char.IsAsciiHexDigit);

    private static string FullName(string name) =>
        Extension.Replace(TitleHash.Replace(name.Trim(), ""), "").Replace('\\', '/').ToLowerInvariant();

    [GeneratedRegex(@"\s*\[([0-9a-f]{6,64})\]$", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex TitleHash { get; }

    [GeneratedRegex(@"\.(safetensors|ckpt|pt|pth|bin|gguf|sft)$", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Extension { get; }
}
