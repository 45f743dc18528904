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
        if (root.ValueKind != JsonValueKind.Object
            || !root.TryGetProperty("images"u8, out var images)
            || images.ValueKind != JsonValueKind.Array
            || images.GetArrayLength() == 0)
        {
            throw new ForgeException(ForgeFailure.BadImage, ForgeErrorText.Of(root) ?? "the answer holds no image");
        }

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
        return document.RootElement is { ValueKind: JsonValueKind.Object } root
            && root.TryGetProperty("image"u8, out var image)
            && image.ValueKind == JsonValueKind.String
            && DecodeImage(image) is { Length: > 0 } bytes
            ? new ForgeImage(bytes, Info: null)
            : throw new ForgeException(ForgeFailure.BadImage, ForgeErrorText.Of(document.RootElement) ?? "the answer holds no image");
    }

    /// <summary>The answer of <c>/internal/progress</c>; null when it is not one (a page that answers for every path).</summary>
    public static ForgeProgress? ReadInternalProgress(ReadOnlyMemory<byte> body)
    {
        using var document = LenientJson.TryParse(body);
        if (document is null
            || document.RootElement.ValueKind != JsonValueKind.Object
            || !document.RootElement.TryGetProperty("active"u8, out _))
        {
            return null;
        }

        var root = document.RootElement;
        var state =
            IsTrue(root, "active"u8) ? ForgeTaskState.Active
            : IsTrue(root, "queued"u8) ? ForgeTaskState.Queued
            : IsTrue(root, "completed"u8) ? ForgeTaskState.Completed
            : ForgeTaskState.Unknown;
        ReadOnlyMemory<byte>? preview = null;
        long? previewId = null;
        if (root.TryGetProperty("live_preview"u8, out var live)
            && live.ValueKind == JsonValueKind.String
            && DecodeImage(live) is { Length: > 0 } bytes)
        {
            preview = bytes;
            if (root.TryGetProperty("id_live_preview"u8, out var id)
                && id.ValueKind == JsonValueKind.Number
                && id.TryGetInt64(out var number))
            {
                previewId = number;
            }
        }

        return new ForgeProgress(state, state == ForgeTaskState.Active ? ReadFraction(root) : null, preview, previewId);
    }

    /// <summary>The answer of the global <c>/sdapi/v1/progress</c>; null when it is not one.</summary>
    /// <remarks>An idle Forge reports 0, no job and a job_count of 0; the rest of its state is stale.</remarks>
    public static ForgeServerState? ReadServerState(ReadOnlyMemory<byte> body)
    {
        using var document = LenientJson.TryParse(body);
        if (document is null
            || document.RootElement.ValueKind != JsonValueKind.Object
            || !document.RootElement.TryGetProperty("progress"u8, out _))
        {
            return null;
        }

        var root = document.RootElement;
        var fraction = ReadFraction(root);
        if (!root.TryGetProperty("state"u8, out var state) || state.ValueKind != JsonValueKind.Object)
            return new ForgeServerState(IsIdle: fraction is not > 0, WasInterrupted: false, fraction);
        var hasJob = state.TryGetProperty("job"u8, out var job)
            && job.ValueKind == JsonValueKind.String
            && LenientJson.TextOf(job) is { Length: > 0 };

        // An interrupt during decoding comes too late to change the image.
        var isAtLastStep = ReadInteger(state, "sampling_steps"u8) is { } steps and > 1
            && ReadInteger(state, "sampling_step"u8) >= steps - 1;
        return new ForgeServerState(
            IsIdle: !hasJob && (ReadInteger(state, "job_count"u8) ?? 0) == 0 && fraction is not > 0,
            WasInterrupted: (IsTrue(state, "interrupted"u8) || IsTrue(state, "skipped"u8)) && !isAtLastStep, fraction);
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
        if (!root.TryGetProperty("info"u8, out var info))
            return default;
        if (info.ValueKind == JsonValueKind.Object)
            return ReadInfoObject(info);
        if (info.ValueKind != JsonValueKind.String || LenientJson.TextOf(info) is not { } text)
            return default;
        using var document = LenientJson.TryParse(Encoding.UTF8.GetBytes(text));
        return document?.RootElement is { ValueKind: JsonValueKind.Object } inner ? ReadInfoObject(inner) : default;
    }

    private static (ForgeImageInfo Info, int FirstImage) ReadInfoObject(JsonElement info)
    {
        var first = ReadInteger(info, "index_of_first_image"u8) is { } index and >= 0 and <= int.MaxValue ? (int)index : 0;
        var text = info.TryGetProperty("infotexts"u8, out var texts) && texts.ValueKind == JsonValueKind.Array && texts.GetArrayLength() > 0
            && texts[first < texts.GetArrayLength() ? first : 0] is { ValueKind: JsonValueKind.String } one
                ? LenientJson.TextOf(one)
                : null;
        return (
            new ForgeImageInfo(
                ReadInteger(info, "seed"u8), ReadSide(info, "width"u8), ReadSide(info, "height"u8), ReadText(info, "sd_model_name"u8),
                ReadText(info, "sampler_name"u8), ReadScheduler(text), text),
            first);
    }

    /// <summary>From the last line alone, which holds the parameters: the lines before it are the prompts.</summary>
    private static string? ReadScheduler(string? infotext) =>
        infotext is not null && ScheduleType().Match(infotext, infotext.LastIndexOf('\n') + 1) is { Success: true } match
            ? match.Groups[1].Value.Trim()
            : null;

    private static string? ReadText(JsonElement parent, ReadOnlySpan<byte> name) =>
        parent.TryGetProperty(name, out var value)
            && value.ValueKind == JsonValueKind.String
            && LenientJson.TextOf(value) is { } text
            && !string.IsNullOrWhiteSpace(text)
            ? text
            : null;

    private static int? ReadSide(JsonElement parent, ReadOnlySpan<byte> name) =>
        ReadInteger(parent, name) is { } value and > 0 and <= int.MaxValue ? (int)value : null;

    private static long? ReadInteger(JsonElement parent, ReadOnlySpan<byte> name) =>
        parent.TryGetProperty(name, out var element) && element.ValueKind == JsonValueKind.Number && element.TryGetInt64(out var value)
            ? value
            : null;

    private static double? ReadFraction(JsonElement parent) =>
        parent.TryGetProperty("progress"u8, out var element)
        && element.ValueKind == JsonValueKind.Number
        && element.TryGetDouble(out var value)
        && double.IsFinite(value)
            ? Math.Clamp(value, 0, 1)
            : null;

    private static bool IsTrue(JsonElement parent, ReadOnlySpan<byte> name) =>
        parent.TryGetProperty(name, out var element) && element.ValueKind == JsonValueKind.True;

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
