using System.Runtime.InteropServices;

namespace ImageQueue.Core.Forge;

/// <summary>Reads a backend's kind and capabilities from its answers. See <see cref="ForgeKind"/>.</summary>
internal static class ForgeKinds
{
    /// <summary>What stable-diffusion.cpp and KoboldCpp give for every model's hash.</summary>
    private const string HashOfSdCpp = "8888888888";

    public const string Progress = "sdapi/v1/progress?skip_current_image=true";
    public const string Models = "sdapi/v1/sd-models";
    public const string KoboldVersion = "api/extra/version";

    private const string OpenApi = "openapi.json";
    private const string Tasks = "internal/pending-tasks";
    private const string Options = "sdapi/v1/options";
    private const string Samplers = "sdapi/v1/samplers";
    private const string Schedulers = "sdapi/v1/schedulers";

    /// <summary>What a backend is asked, to learn what it can do.</summary>
    public static readonly string[] Paths = [OpenApi, Tasks, Progress, Options, Models, Samplers, Schedulers];

    /// <summary>Lists that not every server has, and that are only offered.</summary>
    public static readonly string[] ListPaths =
    [
        "sdapi/v1/loras", "sdapi/v1/upscalers", "sdapi/v1/latent-upscale-modes", "sdapi/v1/sd-modules", "sdapi/v1/sd-vae",
        "sdapi/v1/embeddings",
    ];

    /// <summary>A JSON answer; that the endpoint is not there; or why that is not known.</summary>
    /// <param name="IsThere">Null when not known.</param>
    /// <param name="Trouble">Why it is not known.</param>
    internal readonly record struct Answer(bool? IsThere = null, JsonDocument? Body = null, ForgeException? Trouble = null);

    /// <param name="answers">By path.</param>
    public static ForgeCapabilities Describe(IReadOnlyDictionary<string, Answer> answers)
    {
        var kind = KindOf(answers);
        var isSdCpp = kind is ForgeKind.SdCpp or ForgeKind.KoboldCpp;
        var api = RawApi(answers);
        var options = Root(answers, Options);
        var hasProgress = answers[Progress].IsThere;
        var lists = ReadLists(answers);
        return new ForgeCapabilities
        {
            Kind = kind,

            // Older A1111 and SD.Next have /internal/progress, but take no id with a request.
            TaskIds = isSdCpp ? false
                : api.IsEmpty ? (kind == ForgeKind.SdNext ? false : answers[Tasks].IsThere)
                : Has(api, "\"force_task_id\"") && (answers[Tasks].IsThere == true || Has(api, "\"/internal/progress\"")),
            GlobalProgress = hasProgress,
            Interrupt = api.IsEmpty ? hasProgress : Has(api, "/sdapi/v1/interrupt\""),
            Scheduler = answers[Schedulers].IsThere != false,
            ImageToImage = !api.IsEmpty ? Has(api, "/sdapi/v1/img2img\"") : kind == ForgeKind.Unknown ? null : true,

            // Without a document: the programs made of stable-diffusion.cpp have it where they list upscalers.
            Upscale = !api.IsEmpty ? Has(api, "/sdapi/v1/extra-single-image\"")
                : isSdCpp ? lists.Upscalers.Count > 0
                : kind == ForgeKind.Unknown ? null : true,
            Modules = options is null ? null : HasProperty(options, "forge_additional_modules"),
            Checkpoints = ReadCheckpoints(Root(answers, Models)),
            Samplers = ReadNames(Root(answers, Samplers), "name"),
            Schedulers = ReadNames(Root(answers, Schedulers), "label"),
            Lists = lists,
            LoadedModel = TextOf(options, "sd_model_checkpoint"),
            LargestSeed = kind == ForgeKind.KoboldCpp ? int.MaxValue : uint.MaxValue,
        };
    }

    /// <summary>Whether it is stable-diffusion.cpp's server, or KoboldCpp, which contains it.</summary>
    public static bool IsFamilyOfSdCpp(IReadOnlyDictionary<string, Answer> answers) =>
        Items(Root(answers, Models)).Any(model => TextOf(model, "hash") == HashOfSdCpp);

    private static ForgeKind KindOf(IReadOnlyDictionary<string, Answer> answers)
    {
        if (IsFamilyOfSdCpp(answers))
        {
            return TextOf(Root(answers, KoboldVersion), "result")?.Contains("KoboldCpp", StringComparison.OrdinalIgnoreCase) == true
                ? ForgeKind.KoboldCpp
                : ForgeKind.SdCpp;
        }

        var options = Root(answers, Options);
        if (HasProperty(options, "forge_additional_modules") || HasProperty(options, "forge_preset"))
            return ForgeKind.Forge;
        if (Has(RawApi(answers), "/sdapi/v1/motd\""))
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

    private static ForgeLists ReadLists(IReadOnlyDictionary<string, Answer> answers) => new()
    {
        Loras = ReadList(answers, "sdapi/v1/loras", "name"),
        Upscalers = ReadList(answers, "sdapi/v1/upscalers", "name"),
        LatentUpscaleModes = ReadList(answers, "sdapi/v1/latent-upscale-modes", "name"),
        Vaes = [.. ReadList(answers, "sdapi/v1/sd-modules", "model_name").Union(ReadList(answers, "sdapi/v1/sd-vae", "model_name"))],
        Embeddings = LenientJson.Find(Root(answers, "sdapi/v1/embeddings"), "loaded", JsonValueKind.Object) is { } loaded
            ? [.. loaded.EnumerateObject().Select(one => one.Name)]
            : [],
    };

    private static string[] ReadList(IReadOnlyDictionary<string, Answer> answers, string path, string property) =>
        [.. Items(Root(answers, path)).Select(item => TextOf(item, property)).OfType<string>()];

    private static IEnumerable<string> ReadAliases(JsonElement item) => Items(LenientJson.Find(item, "aliases", JsonValueKind.Array))
        .Where(alias => alias.ValueKind == JsonValueKind.String)
        .Select(LenientJson.TextOf).OfType<string>().Where(alias => alias.Length > 0);

    private static JsonElement? Root(IReadOnlyDictionary<string, Answer> answers, string path) =>
        answers.GetValueOrDefault(path).Body?.RootElement;

    private static JsonElement.ArrayEnumerator Items(JsonElement? list) =>
        list is { ValueKind: JsonValueKind.Array } array ? array.EnumerateArray() : default;

    private static bool HasProperty(JsonElement? parent, string name) =>
        parent is { ValueKind: JsonValueKind.Object } there && there.TryGetProperty(name, out _);

    private static string? TextOf(JsonElement? parent, string name) =>
        LenientJson.FindText(parent, name) is { Length: > 0 } text ? text : null;

    /// <summary>An OpenAPI document is a megabyte; to find a name in it needs no parsing.</summary>
    private static ReadOnlySpan<byte> RawApi(IReadOnlyDictionary<string, Answer> answers) =>
        Root(answers, OpenApi) is { } document ? JsonMarshal.GetRawUtf8Value(document) : default;

    private static bool Has(ReadOnlySpan<byte> json, string text) => json.IndexOf(Encoding.UTF8.GetBytes(text)) >= 0;
}
