using System.Text.Json;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Messages;

namespace ImageQueue.Core.Queue;

/// <summary>How much a picture asks of a Forge.</summary>
/// <param name="Size">Steps times pixels.</param>
/// <param name="Checkpoint">As asked; null: what Forge has loaded.</param>
internal readonly record struct Work(double Size, string? Checkpoint)
{
    /// <summary>Of an image message, by its stored settings.</summary>
    public static Work Of(Message message, GenerationDefaults defaults)
    {
        message.Metadata.TryGetProperty(MetadataFields.Settings, out var settings);
        var size = Number("steps", defaults.Steps) * Number("width", defaults.Width) * Number("height", defaults.Height);
        var checkpoint = Find("checkpoint", JsonValueKind.String)?.GetString();
        return new Work(size, checkpoint ?? defaults.Checkpoint);

        double Number(string name, int otherwise) => Find(name, JsonValueKind.Number)?.GetDouble() ?? otherwise;

        JsonElement? Find(string name, JsonValueKind kind) =>
            settings.ValueKind == JsonValueKind.Object && settings.TryGetProperty(name, out var value) && value.ValueKind == kind ? value : null;
    }
}

/// <summary>A picture that was painted: what it asked for, and how long that took.</summary>
internal readonly record struct Painted(Work Work, double Seconds);

/// <summary>A picture that is being painted.</summary>
/// <param name="MessageId">Of its message.</param>
/// <param name="Work">What it asks for.</param>
/// <param name="Progress">0..1.</param>
/// <param name="SeenAt">When that progress was first seen here, by this machine's clock.</param>
internal readonly record struct Painting(long MessageId, Work Work, double Progress, DateTimeOffset SeenAt);
