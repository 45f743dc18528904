using ImageQueue.Core.Forge;

namespace ImageQueue.Core.Backends;

/// <summary>What the healthy backends have between them, so that a request that none of them can serve is refused at submit.</summary>
public interface IForgeCatalogue
{
    /// <summary>Names of samplers to offer; null while not known.</summary>
    IReadOnlyCollection<string>? Samplers { get; }

    /// <summary>Names of schedulers to offer; null while not known.</summary>
    IReadOnlyCollection<string>? Schedulers { get; }

    /// <summary>What else they have to choose from.</summary>
    ForgeLists Lists { get; }

    /// <summary>Whether a backend takes it, by name, alias or with a scheduler behind it; true while not known.</summary>
    bool HasSampler(string name);

    /// <summary>Whether a backend takes it; true while not known.</summary>
    bool HasScheduler(string name);

    /// <summary>Whether a backend can, or may be able to: false only where each of them is known not to.</summary>
    /// <param name="backends">The names of those that may be used; empty: any.</param>
    bool Can(ForgeTask task, IReadOnlyCollection<string> backends);

    /// <summary>The configured models that every backend which could serve them is known not to have.</summary>
    IReadOnlyList<ForgeModel> MissingModels { get; }
}

/// <summary>The union of what the healthy backends list; one that does not say makes it unknown.</summary>
internal sealed class ForgeCatalogue(BackendPool pool, ForgeModels models) : IForgeCatalogue
{
    public IReadOnlyCollection<string>? Samplers => Union(capabilities => capabilities.Samplers);

    public IReadOnlyCollection<string>? Schedulers => Union(capabilities => capabilities.Schedulers);

    public ForgeLists Lists => ForgeLists.Union([.. Healthy().Select(capabilities => capabilities.Lists)]);

    public IReadOnlyList<ForgeModel> MissingModels
    {
        get
        {
            var backends = pool.Status;
            return [.. models.All.Where(model => IsMissing(model, backends))];
        }
    }

    public bool Can(ForgeTask task, IReadOnlyCollection<string> backends) => Suitable(pool.Status, backends) is var suitable
        && (suitable.Count == 0 || suitable.Exists(backend => backend.Capabilities.Can(task) != false));

    public bool HasSampler(string name) =>
        Samplers is null || Healthy().Any(capabilities =>
            capabilities.Samplers.Find(name) is not null
                || ForgeRequests.Split(name, capabilities.Samplers, capabilities.Schedulers) is not null);

    public bool HasScheduler(string name) =>
        Schedulers is null || Healthy().Any(capabilities => capabilities.Schedulers.Find(name) is not null);

    /// <summary>A backend that has never answered may have it: it is missing only where every backend's list is known.</summary>
    private static bool IsMissing(ForgeModel model, IReadOnlyList<BackendStatus> backends)
    {
        var suitable = Suitable(backends, model.Backends);
        return suitable.Count > 0
            && model.Defaults.Checkpoint is { } checkpoint
            && suitable.TrueForAll(backend => backend.Capabilities.HasModel(checkpoint) == false);
    }

    private static List<BackendStatus> Suitable(IReadOnlyList<BackendStatus> backends, IReadOnlyCollection<string> names) =>
        [.. backends.Where(backend => names.Count == 0 || names.Contains(backend.Name, StringComparer.OrdinalIgnoreCase))];

    private string[]? Union(Func<ForgeCapabilities, ForgeNameList> list)
    {
        var names = Healthy().Select(capabilities => list(capabilities).Names).ToList();
        return names.Count == 0 || names.Exists(one => one.Count == 0)
            ? null
            : [.. names.SelectMany(one => one).Distinct(StringComparer.OrdinalIgnoreCase)];
    }

    private IEnumerable<ForgeCapabilities> Healthy() =>
        pool.Status.Where(backend => backend.Healthy == true).Select(backend => backend.Capabilities);
}
