namespace ImageQueue.Core.Forge;

/// <summary>What one backend can do: learned by GETs, once, when it comes up. <see cref="ForgeKind"/> says what each kind can.</summary>
public sealed record ForgeCapabilities
{
    /// <summary>Nothing is known yet: the backend's answers show what it can do.</summary>
    public static ForgeCapabilities Unknown { get; } = new();

    public ForgeKind Kind { get; init; }

    /// <summary>Whether it takes <c>force_task_id</c> and <c>/internal/progress</c> reports that task; null when not known.</summary>
    public bool? TaskIds { get; init; }

    /// <summary>Whether <c>/sdapi/v1/progress</c> reports what the backend generates, for any client; null when not known.</summary>
    public bool? GlobalProgress { get; init; }

    /// <summary>Whether <c>/sdapi/v1/interrupt</c> ends what is being generated; null when not known.</summary>
    public bool? Interrupt { get; init; }

    /// <summary>Whether a request may name a scheduler.</summary>
    public bool Scheduler { get; init; } = true;

    /// <summary>Whether it has the option <c>forge_additional_modules</c>; null when not known. An unknown option is a 500 there.</summary>
    public bool? Modules { get; init; }

    /// <summary>Its checkpoints. Empty when it does not say.</summary>
    public ForgeCheckpoints Checkpoints { get; init; } = ForgeCheckpoints.None;

    /// <summary>Its samplers, with aliases. Empty when it does not say.</summary>
    public ForgeNameList Samplers { get; init; } = ForgeNameList.None;

    /// <summary>Its schedulers. Empty when it does not say, or has none.</summary>
    public ForgeNameList Schedulers { get; init; } = ForgeNameList.None;

    /// <summary>Whether it has <c>img2img</c>, with and without a mask; null when not known.</summary>
    public bool? ImageToImage { get; init; }

    /// <summary>Whether it has <c>extra-single-image</c>; null when not known.</summary>
    public bool? Upscale { get; init; }

    /// <summary>What else there is to choose from.</summary>
    public ForgeLists Lists { get; init; } = ForgeLists.None;

    /// <summary>The checkpoint that was loaded when it came up; null when it does not say.</summary>
    public string? LoadedModel { get; init; }

    /// <summary>The largest seed that it accepts unchanged.</summary>
    public long LargestSeed { get; init; } = uint.MaxValue;

    /// <summary>Whether it can; null when not known.</summary>
    public bool? Can(ForgeTask task) => task switch
    {
        ForgeTask.TextToImage => true,
        ForgeTask.Upscale => Upscale,
        _ => ImageToImage,
    };

    /// <summary>Whether the checkpoint is there; null when the backend does not list its checkpoints.</summary>
    public bool? HasModel(string checkpoint) => Checkpoints.Count == 0 ? null : Checkpoints.Find(checkpoint) is not null;
}
