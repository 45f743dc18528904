using System.Runtime.InteropServices;
using System.Text.Json;

namespace ImageQueue.Core.Forge;

/// <summary>Reads out of a server's answers what it is and what it can do. See <see cref="ForgeKind"/>.</summary>
internal static class ForgeKinds
{
    /// <summary>What stable-diffusion.cpp and KoboldCpp give for every model's hash.</summary>
    private const string HashOfSdCpp = "8888888888";

    /// <summary>What a server answered; null where it did not.</summary>
    internal readonly record struct Answers(JsonDocument? OpenApi, JsonDocument? Options, JsonDocument? Models, JsonDocument? Samplers, JsonDocument? Schedulers, JsonDocument? Kobold)
    {
        public bool? HasTasks { get; init; }

        public bool? HasProgress { get; init; }

        public bool? HasSchedulers { get; init; }
    }

    /// <summary>What the answers say.</summary>
    public static ForgeCapabilities Describe(Answers answers)
    {
        var kind = KindOf(answers);
        var isSdCpp = kind is ForgeKind.SdCpp or ForgeKind.KoboldCpp;
        var api = answers.OpenApi is { } document ? Raw(document) : default;
        var options = answers.Options?.RootElement;
        return new ForgeCapabilities
        {
            Kind = kind,

            // Older A1111 and SD.Next have /internal/progress, but no request of ours has an id there.
            TaskIds = isSdCpp ? false
                : api.IsEmpty ? (kind == ForgeKind.SdNext ? false : answers.HasTasks)
                : Has(api, "\"force_task_id\"") && (answers.HasTasks == true || Has(api, "\"/internal/progress\"")),
            GlobalProgress = answers.HasProgress,
            Interrupt = api.IsEmpty ? answers.HasProgress : Has(api, "/sdapi/v1/interrupt\""),
            Scheduler = answers.HasSchedulers != false,
            Modules = options is null ? null : HasProperty(options, "forge_additional_modules"),
            Models = ReadModels(answers.Models?.RootElement),
            Samplers = ReadSamplers(answers.Samplers?.RootElement),
            SamplerNames = ReadNames(answers.Samplers?.RootElement, "name", "aliases"),
            SchedulerNames = ReadNames(answers.Schedulers?.RootElement, "label", "name"),
            LoadedModel = options is { ValueKind: JsonValueKind.Object } set ? TextOf(set, "sd_model_checkpoint") : null,
            LargestSeed = kind == ForgeKind.KoboldCpp ? int.MaxValue : uint.MaxValue,
        };
    }

    /// <summary>Whether it is stable-diffusion.cpp's server, or KoboldCpp, which has that inside.</summary>
    public static bool IsFamilyOfSdCpp(JsonDocument? models) =>
        models?.RootElement is { ValueKind: JsonValueKind.Array } list && list.EnumerateArray().Any(model => TextOf(model, "hash") == HashOfSdCpp);

    private static ForgeKind KindOf(Answers answers)
    {
        if (IsFamilyOfSdCpp(answers.Models))
        {
            return answers.Kobold?.RootElement is { } version && TextOf(version, "result")?.Contains("KoboldCpp", StringComparison.OrdinalIgnoreCase) == true
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

    private static Dictionary<string, string> ReadModels(JsonElement? list)
    {
        var models = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        foreach (var model in Items(list))
        {
            if ((TextOf(model, "model_name") ?? TextOf(model, "title")) is not { } name)
                continue;
            foreach (var alias in (string?[])[name, TextOf(model, "title"), TextOf(model, "filename")])
            {
                if (alias is null)
                    continue;
                models.TryAdd(alias, name);
                models.TryAdd(ForgeNames.Model(alias), name);
            }

            foreach (var hash in (string?[])[TextOf(model, "hash"), TextOf(model, "sha256")])
            {
                if (hash is { Length: > 0 } and not HashOfSdCpp)
                    models.TryAdd(hash, name);
            }
        }

        return models;
    }

    private static Dictionary<string, string> ReadSamplers(JsonElement? list)
    {
        var samplers = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var sampler in Items(list))
        {
            if (TextOf(sampler, "name") is not { } name)
                continue;
            samplers[ForgeNames.Sampler(name)] = name;
            if (!sampler.TryGetProperty("aliases", out var aliases))
                continue;
            foreach (var alias in Items(aliases))
            {
                if (alias.ValueKind == JsonValueKind.String && ForgeMessages.TextOf(alias) is { Length: > 0 } text)
                    samplers.TryAdd(ForgeNames.Sampler(text), name);
            }
        }

        return samplers;
    }

    private static List<string> ReadNames(JsonElement? list, string name, string others)
    {
        var names = new List<string>();
        foreach (var item in Items(list))
        {
            if (TextOf(item, name) is { } text)
                names.Add(text);
            if (item.ValueKind != JsonValueKind.Object || !item.TryGetProperty(others, out var more))
                continue;
            if (TextOf(item, others) is { } other)
                names.Add(other);
            foreach (var alias in Items(more))
            {
                if (alias.ValueKind == JsonValueKind.String && ForgeMessages.TextOf(alias) is { Length: > 0 } also)
                    names.Add(also);
            }
        }

        return [.. names.Distinct(StringComparer.OrdinalIgnoreCase)];
    }

    private static JsonElement.ArrayEnumerator Items(JsonElement? list) => list is { ValueKind: JsonValueKind.Array } array ? array.EnumerateArray() : default;

    private static bool HasProperty(JsonElement? parent, string name) => parent is { ValueKind: JsonValueKind.Object } there && there.TryGetProperty(name, out _);

    private static string? TextOf(JsonElement parent, string name) =>
        parent.ValueKind == JsonValueKind.Object
        && parent.TryGetProperty(name, out var value)
        && value.ValueKind == JsonValueKind.String
        && ForgeMessages.TextOf(value) is { Length: > 0 } text
            ? text
            : null;

    /// <summary>An OpenAPI document is a megabyte; whether a name is in it needs no reading.</summary>
    private static ReadOnlySpan<byte> Raw(JsonDocument document) => JsonMarshal.GetRawUtf8Value(document.RootElement);

    private static bool Has(ReadOnlySpan<byte> json, string text) => json.IndexOf(System.Text.Encoding.UTF8.GetBytes(text)) >= 0;
}
