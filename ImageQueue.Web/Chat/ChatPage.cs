using System.Collections;
using System.Resources;
using System.Text.Encodings.Web;
using System.Text.Unicode;
using ImageQueue.Core.Forge;
using ImageQueue.Web.Auth;

namespace ImageQueue.Web.Chat;

/// <summary>The chat page's texts in one language, and its choices.</summary>
public sealed class ChatPage
{
    /// <summary>The longest prompt that the API takes, in characters.</summary>
    public const int LongestPrompt = 4000;

    /// <summary>The most images of one request, as the API has it.</summary>
    public const int MostImages = 4;

    /// <summary>The style sheets in their order: what is narrow or calm overrides the others.</summary>
    public static readonly IReadOnlyList<string> Sheets =
        ["base", "sidebar", "thread", "card", "composer", "lightbox", "start-image", "group", "editor", "narrow", "calm"];

    /// <summary>About one megapixel each, as Flux models were trained on.</summary>
    public static readonly IReadOnlyList<ImageSize> Sizes =
    [new("square", "SizeSquare", 1024, 1024), new("portrait", "SizePortrait", 832, 1216), new("landscape", "SizeLandscape", 1216, 832)];

    private static readonly ResourceManager Resources = new("ImageQueue.Web.Chat.ChatTexts", typeof(ChatPage).Assembly);

    // Escapes <, > and & whatever the range, so that the JSON can stand inside a script element.
    private static readonly JsonSerializerOptions ScriptJson = new()
    {
        Encoder = JavaScriptEncoder.Create(UnicodeRanges.All),
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
    };

    private readonly string _assets;

    /// <param name="language"><see cref="PageLanguage.Turkish"/> or <see cref="PageLanguage.English"/>.</param>
    /// <param name="models">The default first.</param>
    /// <param name="assets">The path of the page's files, with a trailing slash.</param>
    public ChatPage(string language, IReadOnlyList<ForgeModel>? models = null, string assets = "/")
    {
        Language = language;
        Models = models is { Count: > 1 } ? models : [];
        _assets = assets;
        Texts = Keys().ToDictionary(key => key, key => TextOf(key, language), StringComparer.Ordinal);
    }

    /// <summary>The value of <c>&lt;html lang&gt;</c>, which the script formats by.</summary>
    public string Language { get; }

    public string OtherLanguage => Language == PageLanguage.Turkish ? PageLanguage.English : PageLanguage.Turkish;

    public string InOtherLanguage(string key) => TextOf(key, OtherLanguage);

    public string Asset(string path) => _assets + path;

    /// <summary>Empty when there is only one.</summary>
    public IReadOnlyList<ForgeModel> Models { get; }

    public IReadOnlyDictionary<string, string> Texts { get; }

    public IEnumerable<string> Examples =>
        Texts.Where(text => text.Key.StartsWith("Example", StringComparison.Ordinal) && char.IsAsciiDigit(text.Key[^1]))
            .OrderBy(text => text.Key, StringComparer.Ordinal)
            .Select(text => text.Value);

    public string this[string key] => Texts[key];

    /// <param name="root">The application's path base, with a trailing slash.</param>
    public string ForScript(string root) => JsonSerializer.Serialize(new { Root = root, LongestPrompt, Texts }, ScriptJson);

    internal static IEnumerable<string> Keys() =>
        Resources.GetResourceSet(CultureInfo.InvariantCulture, createIfNotExists: true, tryParents: false)!  // embedded, so always there
            .Cast<DictionaryEntry>()
            .Select(entry => (string)entry.Key);

    internal static string TextOf(string key, string language) =>
        Resources.GetString(key, CultureInfo.GetCultureInfo(language))
            ?? throw new MissingManifestResourceException($"ChatTexts has no text named {key}.");
}

public sealed record ImageSize(string Id, string TextKey, int Width, int Height);
