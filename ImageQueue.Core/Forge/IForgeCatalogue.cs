using ImageQueue.Core.Backends;

namespace ImageQueue.Core.Forge;

/// <summary>What the healthy Forge servers have between them, so that what none of them has is refused at once instead of after its turn.</summary>
public interface IForgeCatalogue
{
    /// <summary>Samplers by every name that a server takes them under; null while that is not known.</summary>
    IReadOnlyCollection<string>? Samplers { get; }

    /// <summary>Schedulers by every name that a server takes them under; null while that is not known.</summary>
    IReadOnlyCollection<string>? Schedulers { get; }
}

/// <summary>What the pool has learnt of those that are healthy now: one of them that does not say makes it unknown.</summary>
internal sealed class ForgeCatalogue(BackendPool pool) : IForgeCatalogue
{
    public IReadOnlyCollection<string>? Samplers => Union(capabilities => capabilities.SamplerNames);

    public IReadOnlyCollection<string>? Schedulers => Union(capabilities => capabilities.SchedulerNames);

    private string[]? Union(Func<ForgeCapabilities, IReadOnlyList<string>> names)
    {
        var lists = pool.Status.Where(backend => backend.Healthy == true).Select(backend => names(backend.Capabilities)).ToList();
        return lists.Count == 0 || lists.Exists(list => list.Count == 0) ? null : [.. lists.SelectMany(list => list).Distinct(StringComparer.OrdinalIgnoreCase)];
    }
}
