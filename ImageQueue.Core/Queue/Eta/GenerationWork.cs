using ImageQueue.Core.Forge;

namespace ImageQueue.Core.Queue.Eta;

/// <summary>The work of an image for a backend.</summary>
/// <param name="Size">Steps times pixels.</param>
/// <param name="Checkpoint">As requested; null: the one that Forge has loaded.</param>
internal readonly record struct GenerationWork(double Size, string? Checkpoint)
{
    public static GenerationWork Of(Message message, GenerationSettings defaults)
    {
        var settings = GenerationSettings.Of(message).OrElse(defaults);
        return new GenerationWork((double)(settings.Steps ?? 1) * (settings.Width ?? 1) * (settings.Height ?? 1), settings.Checkpoint);
    }
}

/// <summary>A complete image, how long it took, and on which backend.</summary>
internal readonly record struct CompletedGeneration(GenerationWork Work, double Seconds, string? Backend = null)
{
    /// <summary>How long a complete message's image took; null when it does not say.</summary>
    public static double? SecondsOf(Message message) =>
        LenientJson.Find(message.Metadata, MetadataFields.Result, JsonValueKind.Object) is var result
        && LenientJson.Find(result, "duration_seconds", JsonValueKind.Number) is { } duration
        && duration.TryGetDouble(out var seconds)
            ? seconds
            : null;
}

/// <summary>An image that is being generated.</summary>
/// <param name="MessageId">Its message.</param>
/// <param name="Work">Its work.</param>
/// <param name="Progress">0..1.</param>
/// <param name="SeenAt">When that progress was first seen here, by this machine's clock.</param>
/// <param name="Backend">The backend that generates it.</param>
internal readonly record struct RunningGeneration(
    long MessageId, GenerationWork Work, double Progress, DateTimeOffset SeenAt, string? Backend = null)
{
    /// <summary>
    /// The first progress above 0 that was seen here: before it the model may have been loading. Null until there is one.
    /// </summary>
    public (double Progress, DateTimeOffset SeenAt)? First { get; init; }

    /// <summary>Seconds for a whole image at the pace seen here; null until there is a pace.</summary>
    public double? OwnTime => First is { } first && Progress > first.Progress && SeenAt > first.SeenAt
        ? (SeenAt - first.SeenAt).TotalSeconds / (Progress - first.Progress)
        : null;

    /// <summary>The same image with newer progress.</summary>
    public RunningGeneration At(double progress, DateTimeOffset now) =>
        this with { Progress = progress, SeenAt = now, First = First ?? (progress > 0 ? (progress, now) : null) };
}
