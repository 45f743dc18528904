using ImageQueue.Core.Hosting;

namespace ImageQueue.Core.Backends;

/// <summary>Warns once of each configured model that no backend has.</summary>
internal sealed class MissingModelsWatch(
    IForgeCatalogue catalogue, DatabaseReadiness readiness, TimeProvider time, ILogger<MissingModelsWatch> logger)
    : PeriodicService(readiness, time, logger)
{
    private readonly HashSet<string> _missing = [];

    protected override string Activity => "Looking for missing models";

    protected override TimeSpan Interval => TimeSpan.FromSeconds(2);

    protected override Task RunPassAsync(CancellationToken cancellationToken)
    {
        var missing = catalogue.MissingModels;
        foreach (var model in missing.Where(model => _missing.Add(model.Name)))
        {
            Logger.LogWarning(
                "Model {Model} is on no backend: none lists checkpoint {Checkpoint}. Requests for it are refused.",
                model.Name, model.Defaults.Checkpoint);
        }

        _missing.IntersectWith(missing.Select(model => model.Name));
        return Task.CompletedTask;
    }
}
