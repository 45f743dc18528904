using System.Buffers;
using System.Buffers.Text;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;

namespace ImageQueue.Core.Forge;

/// <summary>Reads answers tolerantly: the servers that speak Forge's API differ in types and in what they leave out.</summary>
internal static partial class ForgeAnswers
{
    /// <summary>The image in a txt2img answer.</summary>
    /// <exception cref="ForgeException">
    /// <see cref="ForgeFailure.BadImage"/>: not JSON, or without an image in base64. <see cref="ForgeFailure.Disrupted"/>: a page.
    /// </exception>
    public static ForgeImage ReadImage(ReadOnlyMemory<byte> body)
    {
        using var document = ParseImageAnswer(body);
        var root = document.RootElement;
        if (LenientJson.Find(root, "images", JsonValueKind.Array) is not { } images || images.GetArrayLength() == 0)
            throw new ForgeException(ForgeFailure.BadImage, ForgeErrorText.Of(root) ?? "the answer holds no image");
        var (info, firstImage) = ReadInfo(root);

        // With several images a grid of them comes first, and index_of_first_image says how many to skip.
        var image = images[firstImage < images.GetArrayLength() ? firstImage : 0];
        if (image.ValueKind != JsonValueKind.String || DecodeImage(image) is not { Length: > 0 } bytes)
            throw new ForgeException(ForgeFailure.BadImage, ForgeErrorText.Of(root) ?? "the image in the answer is empty or not base64");
        return new ForgeImage(bytes, info);
    }

    /// <summary>The image in an extra-single-image answer.</summary>
    /// <exception cref="ForgeException">As <see cref="ReadImage"/>.</exception>
    public static ForgeImage ReadUpscaled(ReadOnlyMemory<byte> body)
    {
        using var document = ParseImageAnswer(body);
        return LenientJson.Find(document.RootElement, "image", JsonValueKind.String) is { } image
            && DecodeImage(image) is { Length: > 0 } bytes
            ? new ForgeImage(bytes, Info: null)
            : throw new ForgeException(ForgeFailure.BadImage, ForgeErrorText.Of(document.RootElement) ?? "the answer holds no image");
    }

    /// <summary>The answer of <c>/internal/progress</c>; null when it is not one (a page that answers for every path).</summary>
    public static ForgeProgress? ReadInternalProgress(ReadOnlyMemory<byte> body)
    {
        using var document = LenientJson.TryParse(body);
        if (document?.RootElement is not { ValueKind: JsonValueKind.Object } root || !root.TryGetProperty("active", out _))
            return null;
        var state =
            IsTrue(root, "active") ? ForgeTaskState.Active
            : IsTrue(root, "queued") ? ForgeTaskState.Queued
            : IsTrue(root, "completed") ? ForgeTaskState.Completed
            : ForgeTaskState.Unknown;
        ReadOnlyMemory<byte>? preview = null;
        if (LenientJson.Find(root, "live_preview", JsonValueKind.String) is { } live && DecodeImage(live) is { Length: > 0 } bytes)
            preview = bytes;
        return new ForgeProgress(
            state, state == ForgeTaskState.Active ? ReadFraction(root) : null, preview,
            preview is null ? null : ReadInteger(root, "id_live_preview"));
    }

    /// <summary>The answer of the global <c>/sdapi/v1/progress</c>; null when it is not one.</summary>
    /// <remarks>An idle Forge reports 0, no job and a job_count of 0; the rest of its state is stale.</remarks>
    public static ForgeServerState? ReadServerState(ReadOnlyMemory<byte> body)
    {
        using var document = LenientJson.TryParse(body);
        if (document?.RootElement is not { ValueKind: JsonValueKind.Object } root || !root.TryGetProperty("progress", out _))
            return null;
        var fraction = ReadFraction(root);
        if (LenientJson.Find(root, "state", JsonValueKind.Object) is not { } state)
            return new ForgeServerState(IsIdle: fraction is not > 0, WasInterrupted: false, fraction);

        // An interrupt during decoding comes too late to change the image.
        var isAtLastStep = ReadInteger(state, "sampling_steps") is { } steps and > 1 && ReadInteger(state, "sampling_step") >= steps - 1;
        return new ForgeServerState(
            IsIdle: string.IsNullOrEmpty(LenientJson.FindText(state, "job")) && ReadInteger(state, "job_count") is null or 0
                && fraction is not > 0,
            WasInterrupted: (IsTrue(state, "interrupted") || IsTrue(state, "skipped")) && !isAtLastStep, fraction);
    }

    /// <summary>How many items a JSON array has, as <c>/sdapi/v1/samplers</c> answers; null when it is none. A login page is not.</summary>
    public static int? CountItems(ReadOnlyMemory<byte> body)
    {
        using var document = LenientJson.TryParse(body);
        return document?.RootElement is { ValueKind: JsonValueKind.Array } array ? array.GetArrayLength() : null;
    }

    /// <summary>Whether it is a web page: of a proxy, a login, or a web server at the wrong address.</summary>
    public static bool IsPage(ReadOnlySpan<byte> body) => body.TrimStart(" \t\r\n\uFEFF"u8).StartsWith("<"u8);

    private static JsonDocument ParseImageAnswer(ReadOnlyMemory<byte> body) => LenientJson.TryParse(body) ?? throw (IsPage(body.Span)
        ? new ForgeException(ForgeFailure.Disrupted, $"it answers with a page where Forge's API should be: {ForgeErrorText.Of(body)}")
        : new ForgeException(ForgeFailure.BadImage, body.IsEmpty ? "the answer is empty" : "the answer is not JSON, or was cut short"));

    /// <summary>
    /// <c>info</c> is JSON inside a string at Forge, an object at some servers and "" at KoboldCpp. It only adds to the
    /// image, so whatever is not understood is null.
    /// </summary>
    private static (ForgeImageInfo? Info, int FirstImage) ReadInfo(JsonElement root)
    {
        if (LenientJson.Find(root, "info", JsonValueKind.Object) is { } info)
            return ReadInfoObject(info);
        if (LenientJson.FindText(root, "info") is not { } text)
            return default;
        using var document = LenientJson.TryParse(Encoding.UTF8.GetBytes(text));
        return document?.RootElement is { ValueKind: JsonValueKind.Object } inner ? ReadInfoObject(inner) : default;
    }

    private static (ForgeImageInfo Info, int FirstImage) ReadInfoObject(JsonElement info)
    {
        var first = ReadInteger(info, "index_of_first_image") is { } index and >= 0 and <= int.MaxValue ? (int)index : 0;
        var text = LenientJson.Find(info, "infotexts", JsonValueKind.Array) is { } texts && texts.GetArrayLength() > 0
            && texts[first < texts.GetArrayLength() ? first : 0] is { ValueKind: JsonValueKind.String } one
                ? LenientJson.TextOf(one)
                : null;
        return (
            new ForgeImageInfo(
                ReadInteger(info, "seed"), ReadText(info, "sd_model_name"), ReadText(info, "sampler_name"), ReadScheduler(text), text),
            first);
    }

    /// <summary>From the last line alone, which holds the parameters: the lines before it are the prompts.</summary>
    private static string? ReadScheduler(string? infotext) =>
        infotext is not null && ScheduleType().Match(infotext, infotext.LastIndexOf('\n') + 1) is { Success: true } match
            ? match.Groups[1].Value.Trim()
            : null;

    private static string? ReadText(JsonElement parent, string name) =>
        LenientJson.FindText(parent, name) is { } text && !string.IsNullOrWhiteSpace(text) ? text : null;

    private static long? ReadInteger(JsonElement parent, string name) =>
        LenientJson.Find(parent, name, JsonValueKind.Number) is { } element && element.TryGetInt64(out var value) ? value : null;

    private static double? ReadFraction(JsonElement parent) =>
        LenientJson.Find(parent, "progress", JsonValueKind.Number) is { } element && element.TryGetDouble(out var value)
        && double.IsFinite(value)
            ? Math.Clamp(value, 0, 1)
            : null;

    private static bool IsTrue(JsonElement parent, string name) => LenientJson.Find(parent, name, JsonValueKind.True) is not null;

    /// <summary>
    /// The bytes of a base64 string, with or without <c>data:image/...;base64,</c> before it; null when it is not base64.
    /// Decodes from the body's own bytes: an image of megabytes is never a string.
    /// </summary>
    private static byte[]? DecodeImage(JsonElement element)
    {
        var quoted = JsonMarshal.GetRawUtf8Value(element);
        var text = quoted[1..^1];
        if (text.Contains((byte)'\\'))
        {
            // Escapes are legal (\/), though no known backend sends them.
            return LenientJson.TextOf(element) is { } unescaped ? DecodeBase64(Encoding.UTF8.GetBytes(unescaped)) : null;
        }

        return DecodeBase64(text);
    }

    private static byte[]? DecodeBase64(ReadOnlySpan<byte> text)
    {
        if (text.StartsWith("data:"u8))
            text = text[(text.IndexOf((byte)',') + 1)..];

        var bytes = GC.AllocateUninitializedArray<byte>(Base64.GetMaxDecodedFromUtf8Length(text.Length));
        if (Base64.DecodeFromUtf8(text, bytes, out _, out var written) != OperationStatus.Done)
            return null;
        return written == bytes.Length ? bytes : bytes[..written];
    }

    [GeneratedRegex(@"\G(?:.*, )?Schedule type: ([^,]+)", RegexOptions.CultureInvariant)]
    private static partial Regex ScheduleType();
}
