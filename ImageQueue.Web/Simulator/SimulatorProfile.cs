namespace ImageQueue.Web.Simulator;

/// <summary>The shape of an error.</summary>
public enum ErrorForm
{
    /// <summary>Forge: the text in <c>message</c>.</summary>
    Message,

    /// <summary>A1111, reForge, forge-classic, SD.Next: the text in <c>errors</c>.</summary>
    Errors,

    /// <summary>stable-diffusion.cpp: <c>{error, message}</c>.</summary>
    Brief,

    /// <summary>KoboldCpp: a failed generation is 200 with <c>images: [""]</c>, everything else <c>detail.msg</c>.</summary>
    BlankImage,
}

/// <summary>What a server does with an unknown sampler.</summary>
public enum UnknownSampler
{
    /// <summary>Silently uses its default; <c>info.sampler_name</c> says so.</summary>
    Replaced,

    /// <summary>Generates, and then answers 500 that it does not support it.</summary>
    FailsAfterwards,

    /// <summary>404 <c>Sampler not found</c>.</summary>
    NotFound,

    /// <summary>400.</summary>
    BadRequest,
}

/// <summary>
/// How one kind of server differs from Forge in what it serves, how it fails and how it waits: a row of the table "other servers
/// to tolerate", not a copy of the server.
/// </summary>
/// <param name="Name">What it is called, such as <c>sdnext</c>.</param>
public sealed record SimulatorProfile(string Name)
{
    /// <summary>Stable Diffusion WebUI Forge.</summary>
    public static SimulatorProfile Forge { get; } = new("forge") { Sampler = UnknownSampler.FailsAfterwards };

    /// <summary>
    /// Forge with <c>--nowebui</c>: nothing under <c>/internal</c>; <c>force_task_id</c> is accepted, but has no progress.
    /// </summary>
    public static SimulatorProfile ForgeNoWebUi { get; } = Forge with { Name = "forge-nowebui", HasInternal = false };

    /// <summary>forge-classic: of the time before schedulers were a setting of their own.</summary>
    public static SimulatorProfile ForgeClassic { get; } =
        new("forge-classic") { Errors = ErrorForm.Errors, Sampler = UnknownSampler.NotFound, HasSchedulers = false, HasModules = false };

    /// <summary>Forge Neo.</summary>
    public static SimulatorProfile Neo { get; } = new("neo");

    /// <summary>A1111 before 1.8: <c>/internal/progress</c> exists, and knows only the tasks of its own page.</summary>
    public static SimulatorProfile A1111Old { get; } = ForgeClassic with { Name = "a1111-old", HasTaskIds = false };

    /// <summary>A1111 from 1.9, and reForge.</summary>
    public static SimulatorProfile A1111 { get; } = new("a1111") { Errors = ErrorForm.Errors, HasModules = false };

    /// <summary>SD.Next: as the old A1111 in its tasks (<c>modules/progress.py</c> there), and it ignores unknown options.</summary>
    public static SimulatorProfile SdNext { get; } = A1111Old with { Name = "sdnext", TakesAnyOption = true };

    /// <summary>stable-diffusion.cpp's <c>sd-server</c>: one model, no progress, no interrupt.</summary>
    public static SimulatorProfile SdCpp { get; } = new("sdcpp")
    {
        Errors = ErrorForm.Brief,
        Sampler = UnknownSampler.BadRequest,
        HasInternal = false,
        HasTaskIds = false,
        HasGlobalProgress = false,
        HasInterrupt = false,
        HasOpenApi = false,
        HasExtras = false,
        HasModules = false,
        HasOneModel = true,
        TakesAnyOption = true,
    };

    /// <summary>KoboldCpp: refuses while it generates, and holds a POST to an unknown path until it is done.</summary>
    public static SimulatorProfile KoboldCpp { get; } = new("koboldcpp")
    {
        Errors = ErrorForm.BlankImage,
        HasInternal = false,
        HasTaskIds = false,
        HasGlobalProgress = false,
        HasInterrupt = false,
        HasSchedulers = false,
        HasOpenApi = false,
        HasExtras = false,
        HasModules = false,
        HasInfo = false,
        HasOneModel = true,
        TakesAnyOption = true,
        IsOneAtATime = true,
    };

    /// <summary>All of them.</summary>
    public static IReadOnlyList<SimulatorProfile> All { get; } =
        [Forge, ForgeNoWebUi, ForgeClassic, Neo, A1111Old, A1111, SdNext, SdCpp, KoboldCpp];

    /// <summary>Whether <c>/internal/progress</c> and <c>/internal/ping</c> are served.</summary>
    public bool HasInternal { get; init; } = true;

    /// <summary>Whether <c>force_task_id</c> is taken, and <c>/internal/pending-tasks</c> served.</summary>
    public bool HasTaskIds { get; init; } = true;

    /// <summary>Whether <c>GET /sdapi/v1/progress</c> is served.</summary>
    public bool HasGlobalProgress { get; init; } = true;

    /// <summary>Whether <c>POST /sdapi/v1/interrupt</c> is served.</summary>
    public bool HasInterrupt { get; init; } = true;

    /// <summary>Whether <c>/sdapi/v1/schedulers</c> is served.</summary>
    public bool HasSchedulers { get; init; } = true;

    /// <summary>Whether it has Forge's options (<c>forge_additional_modules</c>, <c>forge_preset</c>).</summary>
    public bool HasModules { get; init; } = true;

    /// <summary>Whether <c>/openapi.json</c> is served, as FastAPI does.</summary>
    public bool HasOpenApi { get; init; } = true;

    /// <summary>Whether it upscales, and lists upscalers, LoRAs, embeddings and VAEs.</summary>
    public bool HasExtras { get; init; } = true;

    /// <summary>Whether the answer's <c>info</c> is JSON in a string; else it is "".</summary>
    public bool HasInfo { get; init; } = true;

    /// <summary>What stable-diffusion.cpp and KoboldCpp give for every model's hash, which gives them away.</summary>
    public const string HashOfSdCpp = "8888888888";

    /// <summary>Whether it has only the model that it was started with.</summary>
    public bool HasOneModel { get; init; }

    /// <summary>Whether its model folder is mounted.</summary>
    public bool HasModels { get; init; } = true;

    internal int ModelCount => !HasModels ? 0 : HasOneModel ? 1 : int.MaxValue;

    /// <summary>Whether an override of an option that it does not know is ignored; else it is a 500.</summary>
    public bool TakesAnyOption { get; init; }

    /// <summary>Whether txt2img is refused with 503 while it generates, and POSTs to unknown paths wait for its lock.</summary>
    public bool IsOneAtATime { get; init; }

    /// <summary>How it says that something failed.</summary>
    public ErrorForm Errors { get; init; }

    /// <summary>What it does with an unknown sampler.</summary>
    public UnknownSampler Sampler { get; init; }

    internal bool FailsOnUnknownSampler => Sampler == UnknownSampler.FailsAfterwards;

    /// <summary>The profile of this name.</summary>
    /// <exception cref="ArgumentException">There is none.</exception>
    public static SimulatorProfile Named(string name) =>
        All.FirstOrDefault(profile => profile.Name.Equals(name, StringComparison.OrdinalIgnoreCase))
        ?? throw new ArgumentException(
            $"There is no profile '{name}'. These exist: {string.Join(", ", All.Select(profile => profile.Name))}.", nameof(name));

    /// <summary>An exception's answer.</summary>
    internal SimulatedAnswer Failure(string error, string text) => Errors switch
    {
        ErrorForm.Message => SimulatedAnswer.ServerError(error, text),
        ErrorForm.Errors => SimulatedAnswer.ServerErrorOfA1111(error, text),
        ErrorForm.Brief => SimulatedAnswer.Json(new { error, message = text }, StatusCodes.Status500InternalServerError),
        _ => SimulatedAnswer.Json(new { images = (string[])[""], parameters = new { }, info = "" }),
    };

    /// <summary>An HTTPException's answer.</summary>
    internal SimulatedAnswer Refusal(int status, string detail) => Errors switch
    {
        ErrorForm.Errors => SimulatedAnswer.Json(new { error = "HTTPException", detail, body = "", errors = "" }, status),
        ErrorForm.Brief => SimulatedAnswer.Json(new { error = detail }, StatusCodes.Status400BadRequest),
        _ => SimulatedAnswer.Json(new { detail }, status),
    };

    /// <summary>The answer to a path that it does not serve.</summary>
    internal SimulatedAnswer NotServed => Errors switch
    {
        ErrorForm.Brief => new(StatusCodes.Status404NotFound, "text/plain", default),
        ErrorForm.BlankImage => SimulatedAnswer.Html(
            StatusCodes.Status404NotFound, "Error: KoboldCpp HTTP Server is running, but this endpoint does not exist."),
        _ => SimulatedAnswer.NotFound,
    };

    /// <summary>The refusal of a sampler that it does not know; null where it generates.</summary>
    internal SimulatedAnswer? RefuseSampler(string? name) => Sampler switch
    {
        _ when name is null || SimulatorCatalogue.FindSampler(name, null, HasSchedulers).Sampler is not null => null,
        UnknownSampler.NotFound => SimulatedAnswer.Json(new { detail = "Sampler not found" }, StatusCodes.Status404NotFound),
        UnknownSampler.BadRequest =>
            SimulatedAnswer.Json(new { error = $"unknown sample method: {name}" }, StatusCodes.Status400BadRequest),
        _ => null,
    };
}
