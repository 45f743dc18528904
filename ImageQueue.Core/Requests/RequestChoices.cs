using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;

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
        if (request.Checkpoint is null && request.Source?.Upscale is null)
            RefuseMissingModel(request.Model);

        var rules = new RequestRules();
        if (request.Checkpoint is not null)
        {
            if (request.Model is not null)
                rules.Add("checkpoint", "checkpoint and model cannot both be sent; leave out one of them.");
            else if (!models.TakesCheckpoints)
                rules.Add("checkpoint", $"checkpoint cannot be chosen here; leave it out, or send one of these as model: {Names()}.");
        }

        OneOf("sampler", request.Sampler, catalogue.HasSampler, catalogue.Samplers);
        OneOf("scheduler", request.Scheduler, catalogue.HasScheduler, catalogue.Schedulers);
        return rules.Errors;

        string Names() => string.Join(", ", models.All.Select(one => one.Name));

        void OneOf(string field, string? value, Func<string, bool> has, IReadOnlyCollection<string>? known)
        {
            if (value is null || known is null || has(value))
                return;
            var choices = string.Join(", ", known.Order(StringComparer.OrdinalIgnoreCase));
            rules.Add(field, $"{field} '{value}' is not known to any image server here. These are: {choices}.");
        }
    }

    /// <summary>A configured model that no backend has is replaced silently by the one that is loaded: refused before.</summary>
    private void RefuseMissingModel(string? name)
    {
        if (models.Chosen(name) is not { } chosen
            || catalogue.MissingModels is not { Count: > 0 } missing
            || missing.All(model => model.Name != chosen.Name))
        {
            return;
        }

        throw new UnknownModelException(
            chosen.Name, [.. models.All.Select(model => model.Name).Except(missing.Select(model => model.Name))], isMissing: true);
    }
}

/// <summary>A request names a model that is not offered, or that no backend has.</summary>
public sealed class UnknownModelException(string model, IReadOnlyList<string> known, bool isMissing = false) : Exception(
    (isMissing ? $"No image server here has the model '{model}'" : $"There is no model '{model}'") + (known.Count == 0
        ? isMissing ? "; an operator has to install it." : "; none can be chosen here. Leave model out."
        : isMissing ? $". Send one of these as model: {string.Join(", ", known)}."
        : $". Send one of these, or leave model out: {string.Join(", ", known)}."));
