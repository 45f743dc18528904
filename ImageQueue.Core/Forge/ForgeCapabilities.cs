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

    /// <summary>Whether <c>/sdapi/v1/progress</c> says how far the server is with whatever it generates; null when not known.</summary>
    public bool? GlobalProgress { get; init; }

    /// <summary>Whether <c>/sdapi/v1/interrupt</c> ends what is being generated; null when not known.</summary>
    public bool? Interrupt { get; init; }

    /// <summary>Whether it shows images while they are generated: by task id only, since a global preview may be another person's image.</summary>
    public bool Previews => TaskIds == true;

    /// <summary>Whether a request may name a scheduler.</summary>
    public bool Scheduler { get; init; } = true;

    /// <summary>Whether it has the option <c>forge_additional_modules</c>; null when not known. An option that a server does not know makes it answer 500.</summary>
    public bool? Modules { get; init; }

    /// <summary>
    /// Its checkpoints by every name that it gives them (title, model name, hash) and by <see cref="ForgeNames.Model"/> of those,
    /// each with the model name that it generates under. Empty when it does not say.
    /// </summary>
    public IReadOnlyDictionary<string, string> Models { get; init; } = new Dictionary<string, string>();

    /// <summary>Its samplers by <see cref="ForgeNames.Sampler"/> of name and aliases, each with its name. Empty when it does not say.</summary>
    public IReadOnlyDictionary<string, string> Samplers { get; init; } = new Dictionary<string, string>();

    /// <summary>Its samplers, each followed by its aliases. Empty when it does not say.</summary>
    public IReadOnlyList<string> SamplerNames { get; init; } = [];

    /// <summary>Its schedulers, each by label and name. Empty when it does not say, or has none.</summary>
    public IReadOnlyList<string> SchedulerNames { get; init; } = [];

    /// <summary>The checkpoint that was loaded when it was asked; null when it does not say.</summary>
    public string? LoadedModel { get; init; }

    /// <summary>The largest seed that it keeps as it is.</summary>
    public long LargestSeed { get; init; } = uint.MaxValue;

    /// <summary>Whether the checkpoint is there; null when the server does not list its checkpoints.</summary>
    public bool? HasModel(string checkpoint) => Models.Count == 0 ? null : FindModel(checkpoint) is not null;

    /// <summary>The name that the server generates a checkpoint under; null when it does not know it.</summary>
    public string? FindModel(string checkpoint) =>
        Models.GetValueOrDefault(checkpoint) ?? Models.GetValueOrDefault(ForgeNames.Model(checkpoint));
}

/// <summary>The programs that speak Forge's API, as far as their differences matter here.</summary>
/// <remarks>
/// What each can do is learnt from the server itself; this is what to expect.
/// <list type="table">
/// <listheader><term>server</term><description>how it is known, and what it can do</description></listheader>
/// <item><term>Forge, Neo</term><description>
/// The option <c>forge_additional_modules</c>. Task ids, previews, global progress, interrupt, schedulers. An unknown sampler or
/// checkpoint is replaced without a word: <c>info</c> tells.
/// </description></item>
/// <item><term>Forge with <c>--nowebui</c></term><description>
/// As Forge, but without <c>/internal</c>: no task ids and no previews; global progress and interrupt.
/// </description></item>
/// <item><term>forge-classic</term><description>
/// No schedulers of their own; task ids; an unknown sampler is a 404 that names it.
/// </description></item>
/// <item><term>A1111 from 1.8, reForge</term><description>
/// <c>force_task_id</c> in the schema of txt2img. Task ids, previews, global progress, interrupt. The text of a 500 is in <c>errors</c>.
/// </description></item>
/// <item><term>A1111 before that</term><description>
/// <c>/internal/progress</c> is there, but no request can be given an id: global progress and interrupt. Schedulers are part of
/// the sampler's name (<c>DPM++ 2M Karras</c>).
/// </description></item>
/// <item><term>SD.Next</term><description>
/// <c>/sdapi/v1/motd</c> in the OpenAPI document. As the older A1111: global progress and interrupt (204).
/// </description></item>
/// <item><term>stable-diffusion.cpp's <c>sd-server</c></term><description>
/// Every model's hash is 8888888888. No progress, no interrupt, no OpenAPI document; requests wait for a lock. It generates by the one
/// model that it was started with, and takes arguments out of <c>&lt;sd_cpp_extra_args&gt;</c> in the prompt.
/// </description></item>
/// <item><term>KoboldCpp</term><description>
/// The same hash, and a name under <c>/api/extra/version</c>. 503 while it is busy, seeds of 31 bits, a failed image is a 200 with
/// an empty image. Newer versions have global progress and interrupt. A POST to a path that it does not know waits behind its lock.
/// </description></item>
/// </list>
/// </remarks>
public enum ForgeKind
{
    /// <summary>It does not say.</summary>
    Unknown,

    /// <summary>Stable Diffusion WebUI Forge, Neo.</summary>
    Forge,

    /// <summary>Stable Diffusion WebUI of A1111, and what was made of it: reForge, forge-classic.</summary>
    A1111,

    /// <summary>SD.Next.</summary>
    SdNext,

    /// <summary>stable-diffusion.cpp's <c>sd-server</c>.</summary>
    SdCpp,

    /// <summary>KoboldCpp.</summary>
    KoboldCpp,
}
