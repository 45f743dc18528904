namespace ImageQueue.Core.Messages;

/// <summary>A conversation's title: the first words of its first message.</summary>
internal static class ConversationTitle
{
    private const int MaxLength = 100;

    /// <summary>The first line, cut between grapheme clusters, never inside an emoji.</summary>
    public static string From(string text)
    {
        var line = text.AsSpan().Trim();
        var end = line.IndexOfAny('\r', '\n');
        if (end >= 0)
            line = line[..end];
        if (line.Length <= MaxLength)
            return line.ToString();
        var cut = 0;
        while (true)
        {
            var next = StringInfo.GetNextTextElementLength(line[cut..]);
            if (cut + next >= MaxLength)
                return string.Concat(line[..cut], "…");
            cut += next;
        }
    }
}
