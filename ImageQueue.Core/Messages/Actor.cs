namespace ImageQueue.Core.Messages;

/// <summary>
/// Who causes what the current call does, such as <c>operator Ayla</c>; null: a worker. It flows with the call, so that no verb passes it
/// on; set inside an async method, it ends with that method.
/// </summary>
public static class Actor
{
    /// <summary>Characters that are kept.</summary>
    public const int MaxLength = 120;

    private static readonly AsyncLocal<string?> Ambient = new();

    public static string? Current
    {
        get => Ambient.Value;
        set => Ambient.Value = RequestEvents.ToStored(value, MaxLength);
    }
}
