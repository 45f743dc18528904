using System.Globalization;

namespace ImageQueue.Core.Forge;

/// <summary>What of a request a server would take otherwise than it is meant: prevented before painting, or noticed after it.</summary>
internal static class ForgeRequests
{
    /// <summary>stable-diffusion.cpp takes arguments out of this, size and batch among them, past all limits (routes_sdapi.cpp).</summary>
    private const string ExtraArguments = "<sd_cpp_extra_args>";

    /// <summary>The request as this server may have it.</summary>
    /// <exception cref="ForgeException"><see cref="ForgeFailure.Rejected"/>: the server would make another picture of it.</exception>
    public static PaintRequest Suit(PaintRequest request, ForgeCapabilities capabilities)
    {
        if (request.Seed > capabilities.LargestSeed)
        {
            throw new ForgeException(
                ForgeFailure.Rejected, string.Create(CultureInfo.InvariantCulture, $"its seeds end at {capabilities.LargestSeed}, and {request.Seed} was asked for"))
            {
                Refusal = new ForgeRefusal(
                    "seed",
                    request.Seed.ToString(CultureInfo.InvariantCulture),
                    [string.Create(CultureInfo.InvariantCulture, $"-1..{capabilities.LargestSeed}")]),
            };
        }

        // What the others take for words of the prompt stays as it is.
        return capabilities.Kind is ForgeKind.SdCpp or ForgeKind.KoboldCpp or ForgeKind.Unknown && request.Prompt.Contains(ExtraArguments, StringComparison.Ordinal)
            ? request with { Prompt = request.Prompt.Replace(ExtraArguments, "< sd_cpp_extra_args>", StringComparison.Ordinal) }
            : request;
    }

    /// <summary>Holds what was painted against what was asked for.</summary>
    /// <exception cref="ForgeException">
    /// <see cref="ForgeFailure.WrongModel"/>, or <see cref="ForgeFailure.Rejected"/> when the sampler was replaced by another.
    /// </exception>
    public static void Compare(PaintRequest request, ForgePictureInfo? info, ForgeCapabilities capabilities)
    {
        if (request.Checkpoint is { } checkpoint && info?.Model is { } model)
        {
            var known = capabilities.FindModel(checkpoint);
            if (ForgeNames.Model(known ?? checkpoint) != ForgeNames.Model(model) && (known is not null || !ForgeNames.IsHash(checkpoint)))
                throw new ForgeException(ForgeFailure.WrongModel, $"it painted by {model}, and {checkpoint} was asked for");
        }

        if (request.Sampler is { } sampler && info?.Sampler is { } used && !ForgeNames.IsSameSampler(sampler, used, capabilities.Samplers))
        {
            string[] choices = [.. capabilities.Samplers.Values.Distinct().Order(StringComparer.OrdinalIgnoreCase)];
            throw new ForgeException(
                ForgeFailure.Rejected, $"it painted by the sampler {used}, and {sampler} was asked for{(choices.Length == 0 ? "" : $"; it has {string.Join(", ", choices)}")}")
            {
                Refusal = new ForgeRefusal("sampler", sampler, choices),
            };
        }
    }
}
