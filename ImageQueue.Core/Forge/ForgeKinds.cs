using System.Runtime.InteropServices;

namespace ImageQueue.Core.Forge;

/// <summary>Reads a backend's kind and capabilities from its answers. See <see cref="ForgeKind"/>.</summary>
internal static class ForgeKinds
{
    /// <summary>What stable-diffusion.cpp and KoboldCpp give for every model's hash.</summary>
    private const string HashOfSdCpp = "8888888888";

    /// <summary>Lists that not every server has, and that are only offered.</summary>
    public static readonly string[] ListPaths = ["loras", "upscalers", "latent-upscale-modes", "sd-modules", "sd-vae", "embeddings"];

    /// <summary>What a backend answered; null where it did not.</summary>
    internal readonly record struct Answers(
        JsonDocument? OpenApi,
        JsonDocument? Options,
        JsonDocument? Models,
        JsonDocument? Samplers,
        JsonDocument? Schedulers,
        JsonDocument? Kobold)
    {
        public bool? HasTasks { get; init; }

        public bool? HasProgress { get; init; }

        public bool? HasSchedulers { get; init; }

        /// <summary>The answers at <see cref="ListPaths"/>, by path.</summary>
        public required IReadOnlyDictionary<string, JsonDocument?> Lists { get; init; }
    }

    public static ForgeCapabilities Describe(Answers answers)
    {
        var kind = KindOf(answers);
        var isSdCpp = kind is ForgeKind.SdCpp or ForgeKind.KoboldCpp;
        var api = answers.OpenApi is { } document ? Raw(document) : default;
        var options = answers.Options?.RootElement;
        var lists = ReadLists(answers);
        return new ForgeCapabilities
        {
            Kind = kind,

            // Older A1111 and SD.Next have /internal/progress, but take no id with a request.
            TaskIds = isSdCpp ? false
                : api.IsEmpty ? (kind == ForgeKind.SdNext ? false : answers.HasTasks)
                : Has(api, "\"force_task_id\"") && (answers.HasTasks == true || Has(api, "\"/internal/progress\"")),
            GlobalProgress = answers.HasProgress,
            Interrupt = api.IsEmpty ? answers.HasProgress : Has(api, "/sdapi/v1/interrupt\""),
            Scheduler = answers.HasSchedulers != false,
            ImageToImage = !api.IsEmpty ? Has(api, "/sdapi/v1/img2img\"") : kind == ForgeKind.Unknown ? null : true,

            // Without a document: the programs made of stable-diffusion.cpp have it where they list upscalers.
            Upscale = !api.IsEmpty ? Has(api, "/sdapi/v1/extra-single-image\"")
                : isSdCpp ? lists.Upscalers.Count > 0
                : kind == ForgeKind.Unknown ? null : true,
            Modules = options is null ? null : HasProperty(options, "forge_additional_modules"),
            Checkpoints = ReadCheckpoints(answers.Models?.RootElement),
            Samplers = ReadNames(answers.Samplers?.RootElement, "name"),
            Schedulers = ReadNames(answers.Schedulers?.RootElement, "label"),
            Lists = lists,
            LoadedModel = options is { ValueKind: JsonValueKind.Object } set ? TextOf(set, "sd_model_checkpoint") : null,
            LargestSeed = kind == ForgeKind.KoboldCpp ? int.MaxValue : uint.MaxValue,
        };
    }

    /// <summary>Whether it is stable-diffusion.cpp's server, or KoboldCpp, which contains it.</summary>
    public static bool IsFamilyOfSdCpp(JsonDocument? models) =>
        models?.RootElement is { ValueKind: JsonValueKind.Array } list
            && list.EnumerateArray().Any(model => TextOf(model, "hash") == HashOfSdCpp);

    private static ForgeKind KindOf(Answers answers)
    {
        if (IsFamilyOfSdCpp(answers.Models))
        {
            return answers.Kobold?.RootElement is { } version
                && TextOf(version, "result")?.Contains("KoboldCpp", StringComparison.OrdinalIgnoreCase) == true
                ? ForgeKind.KoboldCpp
                : ForgeKind.SdCpp;
        }

        var options = answers.Options?.RootElement;
        if (HasProperty(options, "forge_additional_modules") || HasProperty(options, "forge_preset"))
            return ForgeKind.Forge;
        if (answers.OpenApi is { } document && Has(Raw(document), "/sdapi/v1/motd\""))
            return ForgeKind.SdNext;
        return HasProperty(options, "CLIP_stop_at_last_layers") ? ForgeKind.A1111 : ForgeKind.Unknown;
    }

    private static ForgeCheckpoints ReadCheckpoints(JsonElement? list) => new(
    [
        .. Items(list)
            .Where(model => (TextOf(model, "title") ?? TextOf(model, "model_name")) is not null)
            .Select(model => new ForgeCheckpoint(
                TextOf(model, "title") ?? TextOf(model, "model_name")!, // Just checked.
                TextOf(model, "model_name"),
                TextOf(model, "filename"),
                ((string?[])[TextOf(model, "hash"), TextOf(model, "sha256")]).OfType<string>().Where(hash => hash != HashOfSdCpp))),
    ]);

    /// <param name="shown">The property to show; the backend takes <c>name</c> as well.</param>
    private static ForgeNameList ReadNames(JsonElement? list, string shown)
    {
        var entries = new List<(string, IEnumerable<string>, IEnumerable<string>)>();
        foreach (var item in Items(list))
        {
            var name = TextOf(item, "name");
            if ((TextOf(item, shown) ?? name) is { } label)
                entries.Add((label, name is null ? [] : [name], ReadAliases(item)));
        }

        return new ForgeNameList(entries);
    }

    private static ForgeLists ReadLists(Answers answers) => new()
    {
        Loras = ReadList(answers.Lists.GetValueOrDefault("loras"), "name"),
        Upscalers = ReadList(answers.Lists.GetValueOrDefault("upscalers"), "name"),
        LatentUpscaleModes = ReadList(answers.Lists.GetValueOrDefault("latent-upscale-modes"), "name"),
        Vaes =
        [
            .. ReadList(answers.Lists.GetValueOrDefault("sd-modules"), "model_name")
                .Union(ReadList(answers.Lists.GetValueOrDefault("sd-vae"), "model_name")),
        ],
        Embeddings = answers.Lists.GetValueOrDefault("embeddings")?.RootElement is { ValueKind: JsonValueKind.Object } root
            && root.TryGetProperty("loaded", out var loaded) && loaded.ValueKind == JsonValueKind.Object
            ? [.. loaded.EnumerateObject().Select(one => one.Name)]
            : [],
    };

    private static string[] ReadList(JsonDocument? list, string property) =>
        [.. Items(list?.RootElement).Select(item => TextOf(item, property)).OfType<string>()];

    private static IEnumerable<string> ReadAliases(JsonElement item) =>
        item.TryGetProperty("aliases", out var aliases)
            ? Items(aliases).Where(alias => alias.ValueKind == JsonValueKind.String)
                .Select(LenientJson.TextOf).OfType<string>().Where(alias => alias.Length > 0)
            : [];

    private static JsonElement.ArrayEnumerator Items(JsonElement? list) =>
        list is { ValueKind: JsonValueKind.Array } array ? array.EnumerateArray() : default;

    private static bool HasProperty(JsonElement? parent, string name) =>
        parent is { ValueKind: JsonValueKind.Object } there && there.TryGetProperty(name, out _);

    private static string? TextOf(JsonElement parent, string name) =>
        parent.ValueKind == JsonValueKind.Object
        && parent.TryGetProperty(name, out var value)
        && value.ValueKind == JsonValueKind.String
        && LenientJson.TextOf(value) is { Length: > 0 } text
            ? text
            : null;

    /// <summary>An OpenAPI document is a megabyte; to find a name in it needs no parsing.</summary>
    private static ReadOnlySpan<byte> Raw(JsonDocument document) => JsonMarshal.GetRawUtf8Value(document.RootElement);

    private static bool Has(ReadOnlySpan<byte> json, string text) => json.IndexOf(Encoding.UTF8.GetBytes(text)) >= 0;
}
