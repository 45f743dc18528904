using ImageQueue.Core.Messages;

namespace ImageQueue.Core.Queue.Eta;

/// <summary>How much an image asks of a Forge.</summary>
/// <param name="Size">Steps times pixels.</param>
/// <param name="Checkpoint">As asked; null: what Forge has loaded.</param>
internal readonly record struct GenerationWork(double Size, string? Checkpoint)
{
    /// <summary>Of an image message, by its stored settings.</summary>
    public static GenerationWork Of(Message message, GenerationSettings defaults)
    {
        var settings = GenerationSettings.Of(message).OrElse(defaults);
        return new GenerationWork((double)(settings.Steps ?? 1) * (settings.Width ?? 1) * (settings.Height ?? 1), settings.Checkpoint);
    }
}

/// <summary>An image that was generated: what it asked for, and how long that took.</summary>
internal readonly record struct CompletedGeneration(GenerationWork Work, double Seconds);

/// <summary>An image that is being generated.</summary>
/// <param name="MessageId">Of its message.</param>
/// <param name="Work">What it asks for.</param>
/// <param name="Progress">0..1.</param>
/// <param name="SeenAt">When that progress was first seen here, by this machine's clock.</param>
internal readonly record struct RunningGeneration(long MessageId, GenerationWork Work, double Progress, DateTimeOffset SeenAt);
