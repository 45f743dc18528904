namespace ImageQueue.Core.Webhooks;

/// <summary>The types of events, and which event a changed row is.</summary>
internal static class WebhookEvents
{
    public const string Complete = "image.complete";

    public const string Error = "image.error";

    public const string Cancelled = "image.cancelled";

    /// <summary>A waiting or processing request has changed.</summary>
    public const string Progress = "image.progress";

    /// <summary>A text message is new, or has changed.</summary>
    public const string Message = "message";

    public const string Deleted = "deleted";

    public static IReadOnlyList<string> All { get; } = [Complete, Error, Cancelled, Progress, Message, Deleted];

    /// <summary>For receivers that name none.</summary>
    public static IReadOnlyList<string> Default { get; } = [Complete, Error, Cancelled];

    /// <summary>The type of the row's event; null when there is none.</summary>
    internal static string? TypeOf(Message message) => message switch
    {
        { IsDeleted: true } => Deleted,
        { IsImage: false } => Message,
        { Status: MessageStatus.Complete } => Complete,
        { Status: MessageStatus.Error } => Error,
        { Status: MessageStatus.Cancelled } => Cancelled,
        { Status: MessageStatus.Queued or MessageStatus.Processing } => Progress,
        _ => null,
    };

    /// <summary>
    /// The event's id, the same however often a row is read: finishing is one event, whatever the chat app writes into the message
    /// afterwards. A retry's is another one.
    /// </summary>
    internal static string IdOf(string type, Message message) => type switch
    {
        Deleted => string.Create(CultureInfo.InvariantCulture, $"msg_{message.Id}_deleted"),
        Complete or Error or Cancelled => string.Create(
            CultureInfo.InvariantCulture,
            $"msg_{message.Id}_{message.Status}_{message.QueuedAt?.ToUnixTimeMilliseconds()}_{message.Attempt}"),
        _ => string.Create(CultureInfo.InvariantCulture, $"msg_{message.Id}_{message.Revision}"),
    };
}
