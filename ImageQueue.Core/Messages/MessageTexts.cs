using System.Resources;

namespace ImageQueue.Core.Messages;

/// <summary>
/// What ImageQueue says to chat users, in the language of <c>Messages:Culture</c>. The sentences are in <c>Texts*.resx</c>.
/// </summary>
public sealed class MessageTexts(IOptions<MessagesOptions> options)
{
    private static readonly ResourceManager Resources = new("ImageQueue.Core.Messages.Texts", typeof(MessageTexts).Assembly);

    private readonly CultureInfo _culture = CultureInfo.GetCultureInfo(options.Value.Culture);

    /// <summary>How the logs name a message's user.</summary>
    internal UsersInLogs UsersInLogs { get; } = options.Value.UsersInLogs;

    /// <summary>The content of a finished message; the chat app finds the file by its second line.</summary>
    public string Complete(string imageUrl) => $"[IMAGE] {Get(nameof(Complete))}\nIMAGE_PATH: {imageUrl}";

    /// <summary>The content of a failed message.</summary>
    public string Failed(string reason) => Get(nameof(Failed), reason);

    /// <summary>The content of a cancelled message.</summary>
    public string Cancelled => Get(nameof(Cancelled));

    /// <summary>The content of a message whose image is kept no longer.</summary>
    public string Expired => Get(nameof(Expired));

    /// <summary>Forge took longer than allowed.</summary>
    public string TimedOut(TimeSpan limit) => Get(nameof(TimedOut), Seconds(limit));

    /// <summary>No Forge server could be used for so long.</summary>
    public string NoBackend(TimeSpan waited) => Get(nameof(NoBackend), Duration(waited));

    /// <summary>No server that is configured can do it.</summary>
    public string NoSuitableBackend => Get(nameof(NoSuitableBackend));

    /// <summary>Nothing moved for so long.</summary>
    public string Stalled(TimeSpan limit) => Get(nameof(Stalled), Seconds(limit));

    /// <summary>Forge does not take the request.</summary>
    public string Rejected => Get(nameof(Rejected));

    /// <summary>A server does not have what the request asks for in one field.</summary>
    public string Refused(string field, string value, IReadOnlyList<string> choices) => choices.Count == 0
        ? Get(nameof(Refused), field, value)
        : Get("RefusedOf", field, value, string.Join(", ", choices));

    /// <summary>The image that it starts from has been erased, or is kept no longer.</summary>
    public string SourceGone => Get(nameof(SourceGone));

    /// <summary>Another model than the one asked for generated it.</summary>
    public string WrongModel => Get(nameof(WrongModel));

    /// <summary>Another client interrupted it at the backend, each time.</summary>
    public string Interrupted => Get(nameof(Interrupted));

    /// <summary>The GPU has too little memory.</summary>
    public string OutOfMemory => Get(nameof(OutOfMemory));

    /// <summary>Forge reported an error.</summary>
    public string ForgeFailed => Get(nameof(ForgeFailed));

    /// <summary>Backends broke the request off so many times.</summary>
    public string Disrupted(int times) => Get(nameof(Disrupted), times);

    /// <summary>Forge's answer holds no usable image.</summary>
    public string BadImage => Get(nameof(BadImage));

    /// <summary>Forge's image is all black.</summary>
    public string BlackImage => Get(nameof(BlackImage));

    /// <summary>The image could not be stored.</summary>
    public string ImageNotStored => Get(nameof(ImageNotStored));

    /// <summary>Its workers died so many times.</summary>
    public string Abandoned(int times) => Get(nameof(Abandoned), times);

    public string Unexpected => Get(nameof(Unexpected));

    private string Duration(TimeSpan time) =>
        time < TimeSpan.FromMinutes(2) ? $"{Seconds(time)} s" : Get("Minutes", Math.Round(time.TotalMinutes).ToString("0", _culture));

    private string Seconds(TimeSpan time) => Math.Round(time.TotalSeconds, 1).ToString("0.#", _culture);

    private string Get(string name, params object[] values)
    {
        var text = Resources.GetString(name, _culture)
            ?? throw new InvalidOperationException($"Texts.resx has no text {name}.");
        return values.Length == 0 ? text : string.Format(_culture, text, values);
    }
}
