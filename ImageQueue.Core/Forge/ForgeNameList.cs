namespace ImageQueue.Core.Forge;

/// <summary>The samplers or schedulers of a backend: the names that it takes, found by any spelling.</summary>
public sealed class ForgeNameList
{
    private readonly Dictionary<string, string> _byKey = new(StringComparer.Ordinal);
    private readonly HashSet<string> _taken = new(StringComparer.Ordinal);
    private readonly List<string> _names = [];

    /// <param name="entries">Each with the name to show first, other names that the backend takes as they are, and aliases that it does
    /// not.</param>
    internal ForgeNameList(IEnumerable<(string Name, IEnumerable<string> OtherNames, IEnumerable<string> Aliases)> entries)
    {
        var all = entries.ToList();
        foreach (var (name, otherNames, _) in all)
        {
            _names.Add(name);
            foreach (var taken in (string[])[name, .. otherNames])
            {
                _taken.Add(taken);
                _byKey.TryAdd(Key(taken), name);
            }
        }

        // After all names: an alias never hides another entry's name.
        foreach (var (name, _, aliases) in all)
        {
            foreach (var alias in aliases)
                _byKey.TryAdd(Key(alias), name);
        }
    }

    public static ForgeNameList None { get; } = new([]);

    /// <summary>As the backend spells them, without aliases.</summary>
    public IReadOnlyList<string> Names => _names;

    /// <summary>The backend's own spelling; null when it has no such entry.</summary>
    public string? Find(string name) => _taken.Contains(name) ? name : _byKey.GetValueOrDefault(Key(name));

    /// <summary>Whether two names mean the same entry.</summary>
    internal bool AreSame(string one, string other) =>
        (_byKey.GetValueOrDefault(Key(one)) ?? Key(one)) == (_byKey.GetValueOrDefault(Key(other)) ?? Key(other));

    /// <summary>Letters and digits only, without k-diffusion's prefix: "DPM++ 2M", "dpm++_2m" and "k_dpmpp_2m" are one.</summary>
    internal static string Key(string name)
    {
        var text = new StringBuilder(name.Length);
        foreach (var c in name.StartsWith("k_", StringComparison.OrdinalIgnoreCase) ? name.AsSpan(2) : name)
        {
            if (c == '+')
                text.Append('p');
            else if (char.IsLetterOrDigit(c))
                text.Append(char.ToLowerInvariant(c));
        }

        return text.ToString();
    }
}
