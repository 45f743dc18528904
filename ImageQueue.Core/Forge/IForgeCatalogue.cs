namespace ImageQueue.Core.Forge;

/// <summary>What the healthy Forge servers have between them, so that what none of them has is refused at once instead of after its turn.</summary>
public interface IForgeCatalogue
{
    /// <summary>Samplers by every name that a server takes them under; null while that is not known.</summary>
    IReadOnlyCollection<string>? Samplers { get; }

    /// <summary>Schedulers by every name that a server takes them under; null while that is not known.</summary>
    IReadOnlyCollection<string>? Schedulers { get; }
}

/// <summary>Knows nothing, so that nothing is refused.</summary>
internal sealed class NoForgeCatalogue : IForgeCatalogue
{
    public IReadOnlyCollection<string>? Samplers => null;

    public IReadOnlyCollection<string>? Schedulers => null;
}
