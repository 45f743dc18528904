using ImageQueue.Core.Queue;

namespace ImageQueue.Web.Dashboard;

/// <summary>Formats durations, times and image names for the dashboard.</summary>
internal static class DashboardFormat
{
    private const int LongestPrompt = 60;

    /// <summary>Such as "Image 2027 · ayşe · bir kedi, yağlı boya…". Text, not markup.</summary>
    public static string NameOf(MessageChange request)
    {
        var (user, prompt) = (OneLine(request.Username, LongestPrompt), OneLine(request.Message.Prompt ?? "", LongestPrompt));
        return string.Create(CultureInfo.InvariantCulture, $"Image {request.Message.Id} · {user} · {prompt}");
    }

    /// <summary>The start of a text on one line. Keeps text elements whole and drops bidirectional control characters.</summary>
    public static string OneLine(string text, int longest)
    {
        var line = new StringBuilder();
        var letters = StringInfo.GetTextElementEnumerator(text);
        for (var count = 0; letters.MoveNext(); count++)
        {
            if (count == longest)
                return line.Append('…').ToString();
            var letter = letters.GetTextElement();
            line.Append(char.GetUnicodeCategory(letter, 0) switch
            {
                UnicodeCategory.Control or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator => " ",
                UnicodeCategory.Format or UnicodeCategory.PrivateUse or UnicodeCategory.Surrogate when letter.Length == 1 => "",
                _ => letter,
            });
        }

        return line.ToString();
    }

    /// <summary>Such as "45 s", "3 min" or "2 h 5 min".</summary>
    public static string Duration(double? seconds) => seconds switch
    {
        null => "–",
        < 9.95 => string.Create(CultureInfo.InvariantCulture, $"{Math.Max(0, seconds.Value):0.#} s"),
        < 90 => string.Create(CultureInfo.InvariantCulture, $"{seconds:0} s"),
        < 5400 => string.Create(CultureInfo.InvariantCulture, $"{seconds / 60:0} min"),
        < 172_800 =>
            string.Create(
                CultureInfo.InvariantCulture, $"{Math.Floor(seconds.Value / 3600)} h {Math.Floor(seconds.Value % 3600 / 60)} min"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{seconds / 86_400:0} days"),
    };

    public static string Order(QueueOrder order) => order == QueueOrder.FairShare
        ? "fair share: the users in turn"
        : "first come, first served";

    /// <summary>A query of the parts that have a value.</summary>
    public static QueryString Query(params IEnumerable<(string Key, string? Value)> parts) =>
        QueryString.Create(parts.Where(part => part.Value is not null).Select(part => KeyValuePair.Create(part.Key, part.Value)));

    public static string Ago(DateTimeOffset now, DateTimeOffset? then) => then is { } at ? Duration((now - at).TotalSeconds) : "–";

    public static string Utc(DateTimeOffset at) => string.Create(CultureInfo.InvariantCulture, $"{at.UtcDateTime:yyyy-MM-dd HH:mm} UTC");

    /// <summary>A time that the script shows in the browser's zone.</summary>
    public static Markup Time(DateTimeOffset at) =>
        Markup.Of($"<time datetime=\"{at:yyyy-MM-dd'T'HH:mm:ss.fff'Z'}\">{at:yyyy-MM-dd HH:mm:ss} UTC</time>");
}
