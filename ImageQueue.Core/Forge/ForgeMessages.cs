using System.Buffers;
using System.Buffers.Text;
using System.Runtime.InteropServices;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace ImageQueue.Core.Forge;

/// <summary>
/// What goes over the wire to Forge and comes back, by the names of Forge's <c>modules/api/models.py</c>. Reading is
/// tolerant: the servers that speak this API differ in types and in what they leave out.
/// </summary>
internal static class ForgeMessages
{
    /// <summary>The body of txt2img. What is null in the request is left out: Forge answers an explicit null with 422.</summary>
    /// <param name="taskId">For <c>force_task_id</c>.</param>
    /// <param name="request">What to generate.</param>
    /// <param name="capabilities">What the server knows.</param>
    /// <param name="isShared">
    /// Whether its own model is put back afterwards. That unloads ours with each request, so it is done only where people use the
    /// server beside us.
    /// </param>
    public static byte[] Txt2Img(string taskId, GenerationRequest request, ForgeCapabilities capabilities, bool isShared) =>
        JsonSerializer.SerializeToUtf8Bytes(
            new Txt2ImgBody
            {
                Prompt = request.Prompt,
                NegativePrompt = request.NegativePrompt,
                Width = request.Width,
                Height = request.Height,
                Steps = request.Steps,
                CfgScale = request.CfgScale,
                DistilledCfgScale = request.DistilledCfgScale,
                SamplerName = request.Sampler,
                Scheduler = capabilities.Scheduler ? request.Scheduler : null,
                Seed = request.Seed ?? -1,
                OverrideSettings = request.Checkpoint is null
                    ? null
                    : new OverrideSettingsBody
                    {
                        Checkpoint = request.Checkpoint,

                        // Each time, even when there are none: those of the request before would stay.
                        AdditionalModules = capabilities.Modules ?? request.AdditionalModules.Count > 0 ? request.AdditionalModules : null,
                    },
                RestoreAfterwards = request.Checkpoint is null || isShared ? null : false,
                TaskId = taskId,
            },
            ForgeJson.Default.Txt2ImgBody);

    /// <summary>The body of <c>/internal/progress</c>.</summary>
    /// <param name="taskId">The task.</param>
    /// <param name="withPreview">Whether a live preview is wanted.</param>
    /// <param name="seenPreview">The preview that the asker already has; -1 for none.</param>
    public static byte[] InternalProgress(string taskId, bool withPreview, long seenPreview = -1) =>
        JsonSerializer.SerializeToUtf8Bytes(
            new ProgressBody { TaskId = taskId, LivePreview = withPreview, LivePreviewId = seenPreview },
            ForgeJson.Default.ProgressBody);

    /// <summary>The image in a txt2img answer.</summary>
    /// <param name="body">The whole body of a 200.</param>
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
            throw new ForgeException(
                ForgeFailure.BadImage, ForgeErrorText.Of(root) ?? "the answer holds no image");
        }

        var (info, firstImage) = ReadInfo(root);

        // With several images a grid of them comes first, and index_of_first_image says how many to skip.
        var image = images[firstImage < images.GetArrayLength() ? firstImage : 0];
        if (image.ValueKind != JsonValueKind.String || DecodeImage(image) is not { Length: > 0 } bytes)
        {
            throw new ForgeException(
                ForgeFailure.BadImage, ForgeErrorText.Of(root) ?? "the image in the answer is empty or not base64");
        }

        return new ForgeImage(bytes, info);
    }

    /// <summary>The answer of <c>/internal/progress</c>; null when it is not one (a page that answers for every path).</summary>
    public static ForgeProgress? ReadInternalProgress(ReadOnlyMemory<byte> body)
    {
        using var document = TryParse(body);
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
            if (root.TryGetProperty("id_live_preview"u8, out var id) && id.ValueKind == JsonValueKind.Number && id.TryGetInt64(out var number))
                previewId = number;
        }

        return new ForgeProgress(state, state == ForgeTaskState.Active ? ReadFraction(root) : null, preview, previewId);
    }

    /// <summary>The answer of the global <c>/sdapi/v1/progress</c>; null when it is not one.</summary>
    /// <remarks>An idle Forge reports 0, no job and a job_count of 0, and leaves the rest of the state as it was.</remarks>
    public static ForgeServerState? ReadServerState(ReadOnlyMemory<byte> body)
    {
        using var document = TryParse(body);
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
        var hasJob = state.TryGetProperty("job"u8, out var job) && job.ValueKind == JsonValueKind.String && TextOf(job) is { Length: > 0 };
        return new ForgeServerState(
            IsIdle: !hasJob && (ReadInteger(state, "job_count"u8) ?? 0) == 0 && fraction is not > 0,
            WasInterrupted: IsTrue(state, "interrupted"u8) || IsTrue(state, "skipped"u8),
            fraction);
    }

    /// <summary>How many items a JSON array has, as <c>/sdapi/v1/samplers</c> answers; null when it is none. A login page is not.</summary>
    public static int? CountItems(ReadOnlyMemory<byte> body)
    {
        using var document = TryParse(body);
        return document?.RootElement is { ValueKind: JsonValueKind.Array } array ? array.GetArrayLength() : null;
    }

    /// <summary>Whether it is a page for people: that of a proxy, a login, a web server at the wrong address.</summary>
    public static bool IsPage(ReadOnlySpan<byte> body) => body.TrimStart(" \t\r\n\uFEFF"u8).StartsWith("<"u8);

    /// <summary>The body as JSON, or null when it is not JSON.</summary>
    public static JsonDocument? TryParse(ReadOnlyMemory<byte> body)
    {
        try
        {
            return JsonDocument.Parse(body);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private static JsonDocument ParseImageAnswer(ReadOnlyMemory<byte> body)
    {
        try
        {
            return JsonDocument.Parse(body);
        }
        catch (JsonException exception) when (IsPage(body.Span))
        {
            throw new ForgeException(
                ForgeFailure.Disrupted, $"it answers with a page where Forge's API should be: {ForgeErrorText.Of(body)}", exception);
        }
        catch (JsonException exception)
        {
            throw new ForgeException(
                ForgeFailure.BadImage,
                body.IsEmpty ? "the answer is empty" : "the answer is not JSON, or was cut short",
                exception);
        }
    }

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
        if (info.ValueKind != JsonValueKind.String)
            return default;

        JsonDocument document;
        try
        {
            // GetString also throws for text that is not UTF-16 (a lone surrogate in a prompt that is echoed).
            document = JsonDocument.Parse(info.GetString() ?? "");
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            return default;
        }

        using (document)
        {
            return document.RootElement.ValueKind == JsonValueKind.Object ? ReadInfoObject(document.RootElement) : default;
        }
    }

    private static (ForgeImageInfo Info, int FirstImage) ReadInfoObject(JsonElement info)
    {
        var first = ReadInteger(info, "index_of_first_image"u8) ?? 0;
        return (
            new ForgeImageInfo(
                ReadInteger(info, "seed"u8),
                ReadSide(info, "width"u8),
                ReadSide(info, "height"u8),
                ReadText(info, "sd_model_name"u8),
                ReadText(info, "sampler_name"u8)),
            first is >= 0 and <= int.MaxValue ? (int)first : 0);
    }

    private static string? ReadText(JsonElement parent, ReadOnlySpan<byte> name) =>
        parent.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String && TextOf(value) is { } text && !string.IsNullOrWhiteSpace(text)
            ? text
            : null;

    private static int? ReadSide(JsonElement parent, ReadOnlySpan<byte> name) =>
        ReadInteger(parent, name) is { } value and > 0 and <= int.MaxValue ? (int)value : null;

    private static long? ReadInteger(JsonElement parent, ReadOnlySpan<byte> name) =>
        parent.TryGetProperty(name, out var element)
        && element.ValueKind == JsonValueKind.Number
        && element.TryGetInt64(out var value)
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

    /// <summary>The string, or null when it is no valid UTF-16.</summary>
    internal static string? TextOf(JsonElement element)
    {
        try
        {
            return element.GetString();
        }
        catch (InvalidOperationException)
        {
            return null;
        }
    }

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
            // Escapes are legal (\/), though nobody known sends them.
            return TextOf(element) is { } unescaped ? DecodeBase64(System.Text.Encoding.UTF8.GetBytes(unescaped)) : null;
        }

        return DecodeBase64(text);
    }

    private static byte[]? DecodeBase64(ReadOnlySpan<byte> text)
    {
        if (text.StartsWith("data:"u8))
        {
            text = text[(text.IndexOf((byte)',') + 1)..];
        }

        var bytes = GC.AllocateUninitializedArray<byte>(Base64.GetMaxDecodedFromUtf8Length(text.Length));
        if (Base64.DecodeFromUtf8(text, bytes, out _, out var written) != OperationStatus.Done)
            return null;
        return written == bytes.Length ? bytes : bytes[..written];
    }
}

/// <summary>A txt2img request.</summary>
internal sealed record Txt2ImgBody
{
    [JsonPropertyName("prompt")] public required string Prompt { get; init; }
    [JsonPropertyName("negative_prompt")] public string? NegativePrompt { get; init; }
    [JsonPropertyName("width")] public int? Width { get; init; }
    [JsonPropertyName("height")] public int? Height { get; init; }
    [JsonPropertyName("steps")] public int? Steps { get; init; }
    [JsonPropertyName("cfg_scale")] public decimal? CfgScale { get; init; }
    [JsonPropertyName("distilled_cfg_scale")] public decimal? DistilledCfgScale { get; init; }
    [JsonPropertyName("sampler_name")] public string? SamplerName { get; init; }
    [JsonPropertyName("scheduler")] public string? Scheduler { get; init; }
    [JsonPropertyName("seed")] public long? Seed { get; init; }
    [JsonPropertyName("send_images")] public bool SendImages { get; init; } = true;
    [JsonPropertyName("save_images")] public bool SaveImages { get; init; }
    [JsonPropertyName("override_settings")] public OverrideSettingsBody? OverrideSettings { get; init; }
    [JsonPropertyName("override_settings_restore_afterwards")] public bool? RestoreAfterwards { get; init; }
    [JsonPropertyName("force_task_id")] public required string TaskId { get; init; }
}

/// <summary>Options for one request only. An option that Forge does not know makes it answer 500, so no others are sent.</summary>
internal sealed record OverrideSettingsBody
{
    [JsonPropertyName("sd_model_checkpoint")] public required string Checkpoint { get; init; }
    [JsonPropertyName("forge_additional_modules")] public IReadOnlyList<string>? AdditionalModules { get; init; }
}

/// <summary>A question to <c>/internal/progress</c>.</summary>
internal sealed record ProgressBody
{
    [JsonPropertyName("id_task")] public required string TaskId { get; init; }

    /// <summary>The preview that the asker already has; -1 for none.</summary>
    [JsonPropertyName("id_live_preview")] public long LivePreviewId { get; init; } = -1;

    [JsonPropertyName("live_preview")] public required bool LivePreview { get; init; }
}

[JsonSourceGenerationOptions(DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(Txt2ImgBody))]
[JsonSerializable(typeof(ProgressBody))]
internal sealed partial class ForgeJson : JsonSerializerContext;
