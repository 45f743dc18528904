using System.Net;
using System.Text.RegularExpressions;

namespace ImageQueue.Core.Forge;

/// <summary>The text of an error body, in the forms that Forge, reForge, KoboldCpp and sd-server use.</summary>
internal static class ForgeErrorText
{
    /// <summary>Long enough for a sentence of Forge, short enough for a chat message.</summary>
    private const int MaxLength = 300;

    /// <summary>The text of a JSON body, a page, or plain text; null when there is none.</summary>
    public static string? Of(ReadOnlyMemory<byte> body)
    {
        using var document = LenientJson.TryParse(body);
        return document is null ? OfPlainText(Encoding.UTF8.GetString(body.Span)) : Of(document.RootElement);
    }

    /// <summary>The text of a JSON error body, or null.</summary>
    public static string? Of(JsonElement root)
    {
        if (root.ValueKind != JsonValueKind.Object)
            return root.ValueKind == JsonValueKind.String ? OfValue(root) : null;

        // Forge: message. reForge, A1111, forge-classic: errors. FastAPI: detail. `error` comes last, for at Forge it is
        // only the type of the exception, though at sd-server it is all there is.
        return OfProperty(root, "message"u8) ?? OfProperty(root, "errors"u8) ?? OfProperty(root, "detail"u8) ?? OfProperty(root, "error"u8);
    }

    /// <summary>
    /// PyTorch's, cuBLAS's and cuDNN's, DirectML's, MPS's, XPU's, Vulkan's, the CPU allocator's and the webui's own words.
    /// </summary>
    private static readonly string[] MemoryWords =
    [
        "OutOfMemory", "out of memory", "not enough memory", "not enough GPU video memory", "MemoryError", "_ALLOC_FAILED",
        "bad_alloc", "bad allocation", "Allocation on device", "Invalid buffer size", "OUT_OF_RESOURCES",
        "OUT_OF_DEVICE_MEMORY", "OutOfDeviceMemory", "OUT_OF_HOST_MEMORY",
        "OutOfHostMemory", "cudaErrorMemoryAllocation", "paging file is too small",
    ];

    /// <summary>Whether the body says, in any of its fields, that memory ran out.</summary>
    public static bool IsOutOfMemory(ReadOnlySpan<byte> body) => Says(body, MemoryWords);

    /// <summary>Whether the body holds one of the phrases, in any of its fields.</summary>
    public static bool Says(ReadOnlySpan<byte> body, IEnumerable<string> phrases)
    {
        var text = Encoding.UTF8.GetString(body);
        return phrases.Any(phrase => text.Contains(phrase, StringComparison.OrdinalIgnoreCase));
    }

    /// <summary>One line of at most 300 characters; null when nothing is left.</summary>
    public static string? Shorten(string? text)
    {
        if (text is null)
            return null;
        text = WhiteSpaceAndControls.Replace(text, " ").Trim();
        if (text.Length == 0)
            return null;
        if (text.Length <= MaxLength)
            return text;

        // Never cut a surrogate pair in two.
        var end = char.IsHighSurrogate(text[MaxLength - 2]) ? MaxLength - 2 : MaxLength - 1;
        return string.Concat(text.AsSpan(0, end).TrimEnd(), "…");
    }

    private static string? OfProperty(JsonElement parent, ReadOnlySpan<byte> name) =>
        parent.TryGetProperty(name, out var value) ? OfValue(value) : null;

    private static string? OfValue(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.String => Shorten(LenientJson.TextOf(value)),
        JsonValueKind.Array => Shorten(string.Join("; ", value.EnumerateArray().Select(OfItem).OfType<string>())),
        JsonValueKind.Object => OfItem(value),
        _ => null,
    };

    /// <summary>One error of a list: FastAPI's <c>{loc, msg, type}</c>, KoboldCpp's <c>{msg}</c>, or anything with a text in it.</summary>
    private static string? OfItem(JsonElement item)
    {
        if (item.ValueKind == JsonValueKind.String)
            return Shorten(LenientJson.TextOf(item));
        if (item.ValueKind != JsonValueKind.Object)
            return null;

        var text = OfProperty(item, "msg"u8) ?? OfProperty(item, "message"u8)
            ?? OfProperty(item, "detail"u8) ?? OfProperty(item, "error"u8);
        if (text is null || !item.TryGetProperty("loc"u8, out var loc) || loc.ValueKind != JsonValueKind.Array)
            return text;

        var field = string.Join('.', loc.EnumerateArray()
            .Select(part => part.ValueKind == JsonValueKind.String ? LenientJson.TextOf(part) : part.GetRawText())
            .Where(part => part is not "body"));
        return field.Length == 0 ? text : $"{field}: {text}";
    }

    private static string? OfPlainText(string text)
    {
        if (!text.AsSpan().TrimStart().StartsWith('<'))
            return Shorten(text);

        var title = Title.Match(text);
        var visible = title.Success ? title.Groups[1].Value : Tag.Replace(Unseen.Replace(text, " "), " ");
        return Shorten(WebUtility.HtmlDecode(visible));
    }

    // No backtracking: the body is untrusted, and must take linear time.
    private static readonly Regex WhiteSpaceAndControls = Linear(@"[\s\p{Cc}]+");
    private static readonly Regex Title = Linear(@"<title[^>]*>([^<]*\S)\s*</title>");
    private static readonly Regex Unseen = Linear(@"<script\b.*?</script\s*>|<style\b.*?</style\s*>|<!--.*?-->");
    private static readonly Regex Tag = Linear(@"<[^>]*>");

    private static Regex Linear(string pattern) =>
        new(pattern, RegexOptions.NonBacktracking | RegexOptions.IgnoreCase | RegexOptions.CultureInvariant | RegexOptions.Singleline);
}
