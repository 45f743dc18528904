namespace ImageQueue.Core.Messages;

/// <summary>
/// What happened to a request, for operators: each transition adds a line to its row, in the same UPDATE; the newest lines are kept.
/// The chat app never sees them: they may quote a backend.
/// </summary>
internal static class RequestEvents
{
    /// <summary>Characters of a row's lines together.</summary>
    public const int MaxLength = 3000;

    /// <summary>Characters of a reason.</summary>
    public const int MaxWhy = 300;

    /// <summary>Separates time, kind, attempt, backend, reason and actor.</summary>
    private const char Separator = '\t';

    /// <summary>A text on one line, cut.</summary>
    public static string? ToStored(string? text, int maxLength = MaxWhy)
    {
        if (text is null)
            return null;
        var line = string.Create(Math.Min(text.Length, maxLength), text, (to, from) =>
        {
            for (var i = 0; i < to.Length; i++)
                to[i] = char.IsControl(from[i]) ? ' ' : from[i];
        });
        return line.Length > 0 && char.IsHighSurrogate(line[^1]) ? line[..^1] : line;
    }

    /// <summary>The events, oldest first. A first line that was cut is dropped.</summary>
    public static IReadOnlyList<RequestEvent> Read(string? events) =>
        [.. (events ?? "").Split('\n').Select(ReadLine).OfType<RequestEvent>()];

    private static RequestEvent? ReadLine(string line) =>
        line.Split(Separator) is [var at, var what, var attempt, var backend, var why, var by]
        && DateTimeOffset.TryParseExact(
            at, "yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time)
        && int.TryParse(attempt, NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            ? new RequestEvent(time, what, number, OrNull(backend), OrNull(why), OrNull(by))
            : null;

    private static string? OrNull(string text) => text.Length > 0 ? text : null;
}

/// <summary>One transition of a request.</summary>
/// <param name="At">By the store's clock.</param>
/// <param name="What">One of <see cref="RequestEventKinds"/>.</param>
/// <param name="Attempt">The attempt that it started or ended.</param>
/// <param name="Backend">The backend of that attempt.</param>
/// <param name="Why">Why the attempt ended, for operators.</param>
/// <param name="By">See <see cref="Actor"/>; null: a worker.</param>
public sealed record RequestEvent(DateTimeOffset At, string What, int Attempt, string? Backend, string? Why, string? By);

/// <summary>The values of <see cref="RequestEvent.What"/>.</summary>
public static class RequestEventKinds
{
    public const string Submitted = "submitted";

    /// <summary>An operator moved the waiting request to the front.</summary>
    public const string Prioritized = "prioritized";

    /// <summary>A worker claimed the request.</summary>
    public const string Claimed = "claimed";

    /// <summary>The attempt ended without an image; the request waits again.</summary>
    public const string Requeued = "requeued";

    public const string Complete = "complete";

    public const string Error = "error";

    public const string Cancelled = "cancelled";

    /// <summary>A person put the finished request back into the queue.</summary>
    public const string Retried = "retried";

    /// <summary>The only event that a tombstone has.</summary>
    public const string Erased = "erased";
}
