using System.Text.RegularExpressions;

namespace ImageQueue.Core.Forge;

/// <summary>
/// The rules for <c>Forge:Models</c> and <c>Forge:Defaults</c>: the same limits that requests are held to, and names that fit together.
/// </summary>
internal sealed partial class ForgeModelsValidator : IValidateOptions<ForgeOptions>
{
    private const string Simulator = "simulator";

    public ValidateOptionsResult Validate(string? name, ForgeOptions options)
    {
        var rules = new RequestRules();
        Check(rules, "Forge:Defaults", options.Defaults);
        var backends = BackendNames(options);
        foreach (var (model, settings) in options.Models)
        {
            var key = $"Forge:Models:{model}";
            if (!ModelName().IsMatch(model))
            {
                rules.Add(
                    key,
                    $"{key} is no name for a model: use up to 64 letters without accents, digits, dots, dashes and single underscores.");
            }

            if (string.IsNullOrWhiteSpace(settings.Checkpoint))
                rules.Add($"{key}:Checkpoint", $"{key}:Checkpoint must name a checkpoint, as Forge calls it.");
            Check(rules, key, settings);
            foreach (var backend in settings.Backends.Where(backend => !backends.Contains(backend, StringComparer.Ordinal)))
            {
                rules.Add(
                    $"{key}:Backends",
                    $"{key}:Backends names '{backend}', which is no Name in Forge:Backends. There: {string.Join(", ", backends)}.");
            }
        }

        if (options.DefaultModel is { } first && !options.Models.Keys.Contains(first, StringComparer.OrdinalIgnoreCase))
        {
            var names = options.Models.Count == 0 ? "there are none" : $"there are: {string.Join(", ", options.Models.Keys)}";
            rules.Add("Forge:DefaultModel", $"Forge:DefaultModel is '{first}', which is none of Forge:Models; {names}.");
        }

        return rules.Errors.Count == 0
            ? ValidateOptionsResult.Success
            : ValidateOptionsResult.Fail(rules.Errors.Values.SelectMany(sentences => sentences));
    }

    private static void Check(RequestRules rules, string key, GenerationSettings settings)
    {
        settings.Check(rules, name => $"{key}:{name}");
        Refuse(nameof(settings.NegativePrompt), settings.NegativePrompt);
        Refuse(nameof(settings.Seed), settings.Seed);
        Refuse(nameof(settings.Model), settings.Model);

        void Refuse(string name, object? value)
        {
            if (value is not null)
                rules.Add($"{key}:{name}", $"{key}:{name} belongs to a request; remove it.");
        }
    }

    private static List<string> BackendNames(ForgeOptions options)
    {
        List<string> names = [
            .. options.Backends.Where(backend => backend.Url is { IsAbsoluteUri: true }).Select(backend => backend.ToBackend().Name)];
        if (options.Simulator.Enabled ?? names.Count == 0)
            names.Add(Simulator);
        return names;
    }

    [GeneratedRegex(@"^(?!.*__)[A-Za-z0-9][A-Za-z0-9._-]{0,63}\z", RegexOptions.CultureInvariant)]
    private static partial Regex ModelName();
}
