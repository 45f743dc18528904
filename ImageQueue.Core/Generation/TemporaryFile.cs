using System.Text.RegularExpressions;

namespace ImageQueue.Core.Generation;

/// <summary>A file of a job that has no final name yet.</summary>
/// <param name="JobId">32 lower-case hex digits.</param>
/// <param name="Attempt">Of an image or a thumbnail; null for other files.</param>
internal sealed partial record TemporaryFile(string Path, string JobId, int? Attempt)
{
    /// <returns>Null when it is another file.</returns>
    internal static TemporaryFile? Of(string path)
    {
        if (Name.Match(System.IO.Path.GetFileName(path)) is not { Success: true, Groups: var parts })
            return null;
        int? attempt = parts["attempt"] is { Success: true } number ? int.Parse(number.Value, CultureInfo.InvariantCulture) : null;
        return new(path, parts["job"].Value, attempt);
    }

    [GeneratedRegex(
        @"^flux_(?<job>[0-9a-f]{32})\.((?<attempt>[0-9]{1,9})(\.thumb)?\.tmp|(.*\.)?tmp|(.*\.)?preview\.jpg)\z",
        RegexOptions.ExplicitCapture | RegexOptions.CultureInvariant)]
    private static partial Regex Name { get; }
}
