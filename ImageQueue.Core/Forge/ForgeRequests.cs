namespace ImageQueue.Core.Forge;

/// <summary>Fits a request to one backend, and compares what that backend generated with what was requested.</summary>
internal static class ForgeRequests
{
    /// <summary>stable-diffusion.cpp takes arguments out of this, size and batch among them, past all limits (routes_sdapi.cpp).</summary>
    private const string ExtraArguments = "<sd_cpp_extra_args>";

    /// <summary>The request with the names that this backend takes.</summary>
    /// <exception cref="ForgeException"><see cref="ForgeFailure.Rejected"/>: the backend cannot generate it as requested.</exception>
    public static GenerationRequest Fit(GenerationRequest request, ForgeCapabilities capabilities)
    {
        if (request.Seed is { } seed && seed > capabilities.LargestSeed)
        {
            throw Reject(
                "seed", $"{seed}", [$"-1..{capabilities.LargestSeed}"], $"its seeds end at {capabilities.LargestSeed}, not {seed}");
        }

        var (sampler, scheduler) = FitSampler(request, capabilities);
        return request with
        {
            Sampler = sampler,
            Scheduler = scheduler is null ? null : capabilities.Schedulers.Find(scheduler) ?? scheduler,
            Checkpoint = request.Checkpoint is { } checkpoint ? capabilities.Checkpoints.Find(checkpoint)?.Title ?? checkpoint : null,

            // Other kinds take it for words of the prompt.
            Prompt = capabilities.Kind is ForgeKind.SdCpp or ForgeKind.KoboldCpp or ForgeKind.Unknown
                ? request.Prompt.Replace(ExtraArguments, "< sd_cpp_extra_args>", StringComparison.Ordinal)
                : request.Prompt,
        };
    }

    /// <summary>
    /// Splits "DPM++ 2M Karras" where the backend has the two parts, as Forge's own page does (<c>modules/sd_samplers.py</c>,
    /// get_sampler_and_scheduler). Null when there is nothing to split.
    /// </summary>
    /// <param name="samplers">What the sampler must be one of.</param>
    public static (string Sampler, string Scheduler)? Split(string sampler, ForgeNameList samplers, ForgeNameList schedulers)
    {
        if (samplers.Find(sampler) is not null)
            return null;
        for (var blank = sampler.LastIndexOf(' '); blank > 0; blank = sampler.LastIndexOf(' ', blank - 1))
        {
            if (schedulers.Find(sampler[(blank + 1)..]) is { } scheduler && samplers.Find(sampler[..blank]) is { } name)
                return (name, scheduler);
        }

        return null;
    }

    /// <summary>Compares an answer's <c>info</c> with the request as it was sent.</summary>
    /// <returns>The scheduler that the backend used in place of the requested one; null when it used that, or does not say.</returns>
    /// <exception cref="ForgeException">
    /// <see cref="ForgeFailure.WrongModel"/>, or <see cref="ForgeFailure.Rejected"/> when the sampler was replaced by another.
    /// </exception>
    public static string? Compare(GenerationRequest request, ForgeImageInfo? info, ForgeCapabilities capabilities)
    {
        if (request.Checkpoint is { } checkpoint && info?.Model is { } model
            && !capabilities.Checkpoints.AreSame(checkpoint, model)
            && (capabilities.Checkpoints.Find(checkpoint) is not null || !ForgeCheckpoint.IsHash(checkpoint)))
        {
            throw new ForgeException(ForgeFailure.WrongModel, $"it generated with {model} instead of {checkpoint}");
        }

        if (request.Sampler is { } sampler && info?.Sampler is { } used && !IsSameSampler(sampler, used, capabilities.Samplers))
            throw RejectSampler(sampler, capabilities, $"it generated with the sampler {used} instead of {sampler}");

        // "Automatic" is the backend's own choice.
        return request.Scheduler is { } scheduler && capabilities.Scheduler && info?.Scheduler is { } actual
            && ForgeNameList.Key(scheduler) != "automatic" && !capabilities.Schedulers.AreSame(scheduler, actual)
            ? actual
            : null;
    }

    /// <summary>
    /// A sampler that the backend lists, in its spelling: Forge matches exact names, and fails or takes another only after generating.
    /// </summary>
    private static (string? Sampler, string? Scheduler) FitSampler(GenerationRequest request, ForgeCapabilities capabilities)
    {
        if (request.Sampler is not { } sampler || capabilities.Samplers.Names.Count == 0)
            return (request.Sampler, request.Scheduler);
        if (capabilities.Samplers.Find(sampler) is { } known)
            return (known, request.Scheduler);
        if (Split(sampler, capabilities.Samplers, capabilities.Schedulers) is { } parts)
            return parts;
        throw RejectSampler(sampler, capabilities, $"it has no sampler {sampler}");
    }

    /// <summary>Older backends have the scheduler in the sampler's name.</summary>
    private static bool IsSameSampler(string requested, string used, ForgeNameList samplers)
    {
        var (key, usedKey) = (ForgeNameList.Key(requested), ForgeNameList.Key(used));
        return samplers.AreSame(requested, used)
            || (key.StartsWith(usedKey, StringComparison.Ordinal) && SchedulersInNames.Contains(key[usedKey.Length..]));
    }

    private static readonly string[] SchedulersInNames =
        ["automatic", "karras", "exponential", "polyexponential", "simple", "normal", "sgmuniform", "uniform"];

    private static ForgeException RejectSampler(string sampler, ForgeCapabilities capabilities, string reason)
    {
        string[] choices = [.. capabilities.Samplers.Names.Order(StringComparer.OrdinalIgnoreCase)];
        return Reject("sampler", sampler, choices, choices.Length == 0 ? reason : $"{reason}; it has {string.Join(", ", choices)}");
    }

    private static ForgeException Reject(string field, string value, IReadOnlyList<string> choices, string reason) =>
        new(ForgeFailure.Rejected, reason) { Refusal = new ForgeRefusal(field, value, choices) };
}
