using System.Text;
using System.Text.RegularExpressions;

namespace ImageQueue.Core.Forge;

/// <summary>Whether two names mean the same: servers write the same checkpoint and the same sampler in several ways.</summary>
internal static partial class ForgeNames
{
    /// <summary>
    /// A checkpoint without what servers add to its name: the hash that a title gains after the first load, folders, the
    /// file's extension.
    /// </summary>
    public static string Model(string name)
    {
        var bare = Hash.Replace(name.Trim(), "");
        bare = bare[(bare.LastIndexOfAny(['/', '\\']) + 1)..];
        return Extension.Replace(bare, "").ToLowerInvariant();
    }

    /// <summary>Whether it can only be a hash of a checkpoint: as good a name as any, but none that a server would paint under.</summary>
    public static bool IsHash(string name) => name.Length >= 8 && name.All(char.IsAsciiHexDigit);

    /// <summary>Letters and digits only, and without k-diffusion's prefix: "DPM++ 2M", "dpm++_2m" and "k_dpmpp_2m" are one.</summary>
    public static string Sampler(string name)
    {
        var text = new StringBuilder(name.Length);
        foreach (var c in name.StartsWith("k_", StringComparison.OrdinalIgnoreCase) ? name.AsSpan(2) : name)
        {
            if (c == '+') text.Append('p');
            else if (char.IsLetterOrDigit(c)) text.Append(char.ToLowerInvariant(c));
        }

        return text.ToString();
    }

    /// <summary>Whether a server has painted by the sampler that it was asked for.</summary>
    /// <param name="asked">By any of its names; older servers have schedulers in them.</param>
    /// <param name="painted">As the server calls it.</param>
    /// <param name="known">The server's own list.</param>
    public static bool IsSameSampler(string asked, string painted, IReadOnlyDictionary<string, string> known)
    {
        var (wanted, got) = (Sampler(asked), Sampler(painted));
        return wanted == got
            || (known.TryGetValue(wanted, out var name) && Sampler(name) == got)
            || (wanted.StartsWith(got, StringComparison.Ordinal) && Schedulers.Contains(wanted[got.Length..]));
    }

    private static readonly string[] Schedulers = ["automatic", "karras", "exponential", "polyexponential", "simple", "normal", "sgmuniform", "uniform"];

    [GeneratedRegex(@"\s*\[[0-9a-f]{6,64}\]$", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Hash { get; }

    [GeneratedRegex(@"\.(safetensors|ckpt|pt|pth|bin|gguf|sft)$", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Extension { get; }
}
