using System.Collections;
using System.Globalization;
using System.Resources;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Unicode;
using ImageQueue.Core.Forge;
using ImageQueue.Web.Auth;

namespace ImageQueue.Web.Chat;

/// <summary>What the chat page says, in the reader's language, and the choices that it offers.</summary>
public sealed class ChatPage
{
    /// <summary>The longest prompt that the API takes, in characters.</summary>
    public const int LongestPrompt = 4000;

    /// <summary>The sizes to pick from: about one megapixel each, which is what Flux models were trained on.</summary>
    public static readonly IReadOnlyList<ImageSize> Sizes =
    [
        new("square", "SizeSquare", 1024, 1024),
        new("portrait", "SizePortrait", 832, 1216),
        new("landscape", "SizeLandscape", 1216, 832),
    ];

    private static readonly ResourceManager Resources = new("ImageQueue.Web.Chat.ChatTexts", typeof(ChatPage).Assembly);

    // Escapes <, > and & whatever the range, so that the JSON can stand inside a script element.
    private static readonly JsonSerializerOptions ScriptJson = new()
    {
        Encoder = JavaScriptEncoder.Create(UnicodeRanges.All),
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
    };

    private readonly string _assets;

    /// <param name="language"><see cref="PageLanguage.Turkish"/> or <see cref="PageLanguage.English"/>.</param>
    /// <param name="models">What images can be generated with, the default first.</param>
    /// <param name="assets">Where the page's files are, with a slash at the end.</param>
    public ChatPage(string language, IReadOnlyList<ForgeModel>? models = null, string assets = "/")
    {
        Language = language;
        Models = models is { Count: > 1 } ? models : [];
        _assets = assets;
        Texts = Keys().ToDictionary(key => key, key => TextOf(key, language), StringComparer.Ordinal);
    }

    /// <summary>For <c>&lt;html lang&gt;</c>; the script formats numbers and times by it.</summary>
    public string Language { get; }

    /// <summary>The one to switch to.</summary>
    public string OtherLanguage => Language == PageLanguage.Turkish ? PageLanguage.English : PageLanguage.Turkish;

    /// <summary>A text in the other language.</summary>
    public string InOtherLanguage(string key) => TextOf(key, OtherLanguage);

    /// <summary>The address of one of the page's files.</summary>
    public string Asset(string path) => _assets + path;

    /// <summary>The models to pick from; empty where there is nothing to pick.</summary>
    public IReadOnlyList<ForgeModel> Models { get; }

    /// <summary>Every text of the page by its resource name.</summary>
    public IReadOnlyDictionary<string, string> Texts { get; }

    /// <summary>The prompts offered in an empty conversation.</summary>
    public IEnumerable<string> Examples =>
        Texts.Where(text => text.Key.StartsWith("Example", StringComparison.Ordinal) && char.IsAsciiDigit(text.Key[^1]))
            .OrderBy(text => text.Key, StringComparer.Ordinal)
            .Select(text => text.Value);

    /// <summary>The text with this resource name.</summary>
    public string this[string key] => Texts[key];

    /// <summary>What the script reads from the page's JSON element.</summary>
    /// <param name="root">Where the application is mounted, with a slash at the end.</param>
    public string ForScript(string root) =>
        JsonSerializer.Serialize(new { Root = root, LongestPrompt, Texts }, ScriptJson);

    internal static IEnumerable<string> Keys() =>
        Resources.GetResourceSet(CultureInfo.InvariantCulture, createIfNotExists: true, tryParents: false)!  // embedded, so always there
            .Cast<DictionaryEntry>()
            .Select(entry => (string)entry.Key);

    internal static string TextOf(string key, string language) =>
        Resources.GetString(key, CultureInfo.GetCultureInfo(language))
            ?? throw new MissingManifestResourceException($"ChatTexts has no text named {key}.");
}

/// <summary>A size of image to pick, and the name of its text.</summary>
public sealed record ImageSize(string Id, string TextKey, int Width, int Height);
