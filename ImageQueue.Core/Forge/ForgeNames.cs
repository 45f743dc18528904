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

    /// <summary>Letters and digits only: "DPM++ 2M", "dpm++_2m" and "dpmpp2m" are one.</summary>
    public static string Sampler(string name)
    {
        var text = new StringBuilder(name.Length);
        foreach (var c in name)
        {
            if (c == '+') text.Append('p');
            else if (char.IsLetterOrDigit(c)) text.Append(char.ToLowerInvariant(c));
        }

        return text.ToString();
    }

    [GeneratedRegex(@"\s*\[[0-9a-f]{6,64}\]$", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Hash { get; }

    [GeneratedRegex(@"\.(safetensors|ckpt|pt|pth|bin|gguf|sft)$", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Extension { get; }
}
