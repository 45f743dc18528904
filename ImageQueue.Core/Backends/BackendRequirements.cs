using ImageQueue.Core.Forge;

namespace ImageQueue.Core.Backends;

/// <summary>Which backends can serve a request.</summary>
/// <param name="Checkpoint">The model to generate with; null: the loaded one. A backend that has it loaded is preferred.</param>
/// <param name="Backends">The names of those that may be used; null: any.</param>
/// <param name="Except">The names of those that have failed the request: used only when nothing else is healthy.</param>
public sealed record BackendRequirements(
    string? Checkpoint = null, IReadOnlyCollection<string>? Backends = null, IReadOnlyCollection<string>? Except = null)
{
    /// <summary>What it must be able to do.</summary>
    public ForgeTask Task { get; init; }

    public static BackendRequirements Any { get; } = new();

    /// <summary>What a stored request needs.</summary>
    /// <param name="models">For the backends that have the model it was stored with.</param>
    internal static BackendRequirements Of(Message message, ForgeModels models, IReadOnlyCollection<string> except) => new(
        models.RequestOf(message).Checkpoint,
        models.Find(GenerationSettings.Of(message).Model)?.Backends is { Count: > 0 } backends ? backends : null, except)
    { Task = ForgeTasks.Of(ImageSource.Of(message)) };
}
