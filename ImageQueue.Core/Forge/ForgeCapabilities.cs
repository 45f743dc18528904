namespace ImageQueue.Core.Forge;

/// <summary>What one server can do: learnt by GETs, once, when it comes up. See <see cref="ForgeKind"/> for what each kind can.</summary>
public sealed record ForgeCapabilities
{
    /// <summary>Nothing is known: whatever is asked of the server shows what it can.</summary>
    public static ForgeCapabilities Unknown { get; } = new();

    /// <summary>Which of the programs that speak this API it is.</summary>
    public ForgeKind Kind { get; init; }

    /// <summary>Whether it takes <c>force_task_id</c> and says by <c>/internal/progress</c> how far that very task is; null when not known.</summary>
    public bool? TaskIds { get; init; }

    /// <summary>Whether <c>/sdapi/v1/progress</c> says how far the server is with whatever it paints; null when not known.</summary>
    public bool? GlobalProgress { get; init; }

    /// <summary>Whether <c>/sdapi/v1/interrupt</c> ends what is being painted; null when not known.</summary>
    public bool? Interrupt { get; init; }

    /// <summary>Whether it shows pictures while they are painted: by task id only, since a global preview may be another person's picture.</summary>
    public bool Previews => TaskIds == true;

    /// <summary>Whether a request may name a scheduler.</summary>
    public bool Scheduler { get; init; } = true;

    /// <summary>
    /// Its checkpoints by every name that it gives them (title, model name, hash) and by <see cref="ForgeNames.Model"/> of those,
    /// each with the model name that it paints under. Empty when it does not say.
    /// </summary>
    public IReadOnlyDictionary<string, string> Models { get; init; } = new Dictionary<string, string>();

    /// <summary>Its samplers by name and alias, each with its name. Empty when it does not say.</summary>
    public IReadOnlyDictionary<string, string> Samplers { get; init; } = new Dictionary<string, string>();

    /// <summary>The checkpoint that was loaded when it was asked; null when it does not say.</summary>
    public string? LoadedModel { get; init; }

    /// <summary>The largest seed that it keeps as it is.</summary>
    public long LargestSeed { get; init; } = uint.MaxValue;

    /// <summary>Whether the checkpoint is there; null when the server does not list its checkpoints.</summary>
    public bool? HasModel(string checkpoint) => Models.Count == 0 ? null : FindModel(checkpoint) is not null;

    /// <summary>The name that the server paints a checkpoint under; null when it does not know it.</summary>
    public string? FindModel(string checkpoint) =>
        Models.GetValueOrDefault(checkpoint) ?? Models.GetValueOrDefault(ForgeNames.Model(checkpoint));
}

/// <summary>The programs that speak Forge's API, as far as their differences matter.</summary>
public enum ForgeKind
{
    /// <summary>It does not say.</summary>
    Unknown,

    /// <summary>Stable Diffusion WebUI Forge.</summary>
    Forge,
}
