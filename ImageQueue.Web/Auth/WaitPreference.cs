namespace ImageQueue.Web.Auth;

/// <summary><c>Prefer: wait=30</c> (RFC 7240, section 4.3).</summary>
internal static class WaitPreference
{
    /// <summary>Longest wait; longer ones are shortened to it.</summary>
    public static readonly TimeSpan Longest = TimeSpan.FromSeconds(60);

    /// <summary>Reads the header. Unknown or malformed preferences are ignored (RFC 7240, section 2).</summary>
    public static TimeSpan In(string? prefer)
    {
        foreach (var preference in (prefer ?? "").Split(','))
        {
            if (preference.Split(';')[0].Split('=', 2, StringSplitOptions.TrimEntries) is [var name, var value]
                && name.Equals("wait", StringComparison.OrdinalIgnoreCase)
                && int.TryParse(value.Trim('"'), NumberStyles.None, CultureInfo.InvariantCulture, out var seconds))
            {
                return seconds < Longest.TotalSeconds ? TimeSpan.FromSeconds(seconds) : Longest;
            }
        }

        return TimeSpan.Zero;
    }
}
