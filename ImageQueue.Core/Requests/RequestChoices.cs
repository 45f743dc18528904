using ImageQueue.Core.Forge;
using ImageQueue.Core.Messages;

namespace ImageQueue.Core.Requests;

/// <summary>Refuses models that are not offered, and samplers and schedulers that no backend has.</summary>
public sealed class RequestChoices(ForgeModels models, IForgeCatalogue catalogue)
{
    /// <summary>Checks the choices of a request that passed <see cref="ImageRequest.Check"/>.</summary>
    /// <returns>A sentence for each field that is refused.</returns>
    /// <exception cref="UnknownModelException">It names a model that is not offered.</exception>
    public IReadOnlyDictionary<string, string[]> Check(ImageRequest request)
    {
        if (request.Model is { } model && models.Find(model) is null)
            throw new UnknownModelException(model, [.. models.All.Select(one => one.Name)]);

        var rules = new RequestRules();
        if (request.Checkpoint is not null)
        {
            if (request.Model is not null)
                rules.Add("checkpoint", "checkpoint and model cannot both be sent; leave out one of them.");
            else if (!models.TakesCheckpoints)
                rules.Add("checkpoint", $"checkpoint cannot be chosen here; leave it out, or send one of these as model: {string.Join(", ", models.All.Select(one => one.Name))}.");
        }

        OneOf("sampler", request.Sampler, catalogue.Samplers);
        OneOf("scheduler", request.Scheduler, catalogue.Schedulers);
        return rules.Errors;

        void OneOf(string field, string? value, IReadOnlyCollection<string>? known)
        {
            if (value is not null && known is not null && !known.Contains(value, StringComparer.OrdinalIgnoreCase))
                rules.Add(field, $"{field} '{value}' is not known to any image server here. These are: {string.Join(", ", known.Order(StringComparer.OrdinalIgnoreCase))}.");
        }
    }
}

/// <summary>A request names a model that is not offered.</summary>
public sealed class UnknownModelException(string model, IReadOnlyList<string> known) : Exception(
    known.Count == 0
        ? $"There is no model '{model}'; none can be chosen here. Leave model out."
        : $"There is no model '{model}'. Send one of these, or leave model out: {string.Join(", ", known)}.");
