using System.Globalization;

namespace ImageQueue.Core.Messages;

/// <summary>
/// What has happened to a request, for operators: each transition adds one line to its row, in the same UPDATE. Of a row that has been
/// through very much only the newest lines are kept. The chat app never sees them: they may hold a server's own words.
/// </summary>
internal static class RequestEvents
{
    /// <summary>Characters that a row keeps.</summary>
    public const int MaxLength = 3000;

    /// <summary>Characters of a reason.</summary>
    public const int MaxWhy = 300;

    /// <summary>Between a line's parts: time, what, attempt, backend, reason.</summary>
    private const char Separator = '\t';

    /// <summary>A reason as it is stored: on one line, and short.</summary>
    public static string? ToStored(string? why)
    {
        if (why is null)
            return null;
        var line = string.Create(Math.Min(why.Length, MaxWhy), why, (to, from) =>
        {
            for (var i = 0; i < to.Length; i++)
                to[i] = char.IsControl(from[i]) ? ' ' : from[i];
        });
        return line.Length > 0 && char.IsHighSurrogate(line[^1]) ? line[..^1] : line;
    }

    /// <summary>The steps that are kept, the oldest first. A first line that was cut is none.</summary>
    public static IReadOnlyList<RequestEvent> Read(string? history) =>
        [.. (history ?? "").Split('\n').Select(ReadLine).OfType<RequestEvent>()];

    private static RequestEvent? ReadLine(string line) =>
        line.Split(Separator) is [var at, var what, var attempt, var backend, var why]
        && DateTimeOffset.TryParseExact(
            at, "yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time)
        && int.TryParse(attempt, NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            ? new RequestEvent(time, what, number, backend.Length > 0 ? backend : null, why.Length > 0 ? why : null)
            : null;
}

/// <summary>Something that happened to a request.</summary>
/// <param name="At">When, by the store's clock.</param>
/// <param name="What">One of <see cref="RequestEventKinds"/>.</param>
/// <param name="Attempt">The attempt that began or ended with it.</param>
/// <param name="Backend">The Forge of that attempt.</param>
/// <param name="Why">Why it ended, for operators.</param>
public sealed record RequestEvent(DateTimeOffset At, string What, int Attempt, string? Backend, string? Why);

/// <summary>The values of <see cref="RequestEvent.What"/>.</summary>
public static class RequestEventKinds
{
    /// <summary>An attempt began.</summary>
    public const string Began = "began";

    /// <summary>The attempt ended without an image, and the request waits for another.</summary>
    public const string Back = "back";

    /// <summary>The image is there.</summary>
    public const string Complete = "complete";

    /// <summary>The request ended in error.</summary>
    public const string Error = "error";

    /// <summary>Somebody did not want it any more.</summary>
    public const string Cancelled = "cancelled";

    /// <summary>Somebody has put it back into the queue after its end.</summary>
    public const string Retried = "retried";
}
