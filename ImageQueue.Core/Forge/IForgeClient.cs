using ImageQueue.Core.Messages;

namespace ImageQueue.Core.Forge;

/// <summary>The seam to Forge: turns its HTTP API into a few typed outcomes. See <see cref="ForgeException"/> for what can go wrong.</summary>
/// <remarks>Source of the endpoints: Forge's <c>modules/api/api.py</c> and <c>modules/progress.py</c>.</remarks>
public interface IForgeClient
{
    /// <summary>
    /// <c>POST /sdapi/v1/txt2img</c> with <paramref name="taskId"/> as <c>force_task_id</c>; returns when Forge answers.
    /// Has no deadline of its own: cancel the token. Cancelling only stops waiting; Forge goes on until it is interrupted.
    /// </summary>
    /// <param name="backend">Where.</param>
    /// <param name="taskId">Names the task at Forge.</param>
    /// <param name="request">What is asked for.</param>
    /// <param name="answered">
    /// Called when the server has answered well and is free for its next request: the image, megabytes of base64, is still on its
    /// way then. Not for any other answer. Its task is waited for before the image is unpacked, which takes a processor for a while.
    /// </param>
    /// <param name="cancellationToken">Stops waiting.</param>
    /// <exception cref="ForgeException">Forge could not be reached, refused, failed, or answered without an image.</exception>
    Task<ForgeImage> GenerateAsync(ForgeBackend backend, string taskId, GenerationRequest request, Func<Task> answered, CancellationToken cancellationToken);

    /// <summary>
    /// How far the task is: by its id where the server knows such; else how far the server is with whatever it generates; else
    /// <see cref="ForgeTaskState.Unknown"/>. <see cref="ForgeProgress.Source"/> says which. A live preview is given once: who
    /// asks again gets it when Forge has a newer one.
    /// </summary>
    /// <exception cref="ForgeException">Forge could not be reached or did not answer in time.</exception>
    Task<ForgeProgress> GetProgressAsync(ForgeBackend backend, string taskId, bool withPreview, CancellationToken cancellationToken);

    /// <summary>What the whole server is at (<c>/sdapi/v1/progress</c>); null where it does not say.</summary>
    /// <exception cref="ForgeException">Forge could not be reached or did not answer in time.</exception>
    Task<ForgeServerState?> GetServerStateAsync(ForgeBackend backend, CancellationToken cancellationToken);

    /// <summary>
    /// <c>POST /sdapi/v1/interrupt</c>, but only when it is <paramref name="taskId"/> that it would hit, for it is global: while
    /// that very task is active; on servers without task ids while they are at something and nobody but ImageQueue uses them
    /// (<see cref="ForgeBackend.Shared"/>).
    /// </summary>
    /// <returns>Whether the interrupt was sent.</returns>
    /// <exception cref="ForgeException">Forge could not be reached or did not answer in time.</exception>
    Task<bool> InterruptAsync(ForgeBackend backend, string taskId, CancellationToken cancellationToken);

    /// <summary>Finds out, by GETs only, what kind of server it is and what it can do.</summary>
    /// <exception cref="ForgeException">Forge could not be reached or did not answer in time.</exception>
    Task<ForgeCapabilities> LearnAsync(ForgeBackend backend, CancellationToken cancellationToken);

    /// <summary>Whether the image API (not only the web server, which is up earlier) answers; never throws for an unhealthy server.</summary>
    Task<bool> IsHealthyAsync(ForgeBackend backend, CancellationToken cancellationToken);

    /// <summary>What the last <see cref="IsHealthyAsync"/> of this backend ran into, for operators; null when all was well or nothing is known.</summary>
    string? WhyUnhealthy(ForgeBackend backend) => null;
}

/// <summary>One Forge server.</summary>
/// <param name="Name">Shown to operators.</param>
/// <param name="Url">Base address; a path in it is kept.</param>
/// <param name="Username">User of <c>--api-auth</c>, or null.</param>
/// <param name="Password">Password of <c>--api-auth</c>, or null.</param>
public sealed record ForgeBackend(string Name, Uri Url, string? Username = null, string? Password = null)
{
    /// <summary>
    /// Whether people use it beside ImageQueue. Then its own model is put back after each request, and where it does not know
    /// tasks by id nothing is interrupted.
    /// </summary>
    public bool Shared { get; init; }

    /// <summary>A PEM file with the authority that signed its certificate, or null.</summary>
    public string? CertificateAuthority { get; init; }

    /// <summary>SHA-256 of its certificate in hex, with or without colons, or null.</summary>
    public string? CertificateFingerprint { get; init; }

    /// <summary>Name and address. What a record would print by itself holds the password, and ends up in logs.</summary>
    public override string ToString() => $"{Name} ({Url.GetComponents(UriComponents.AbsoluteUri & ~UriComponents.UserInfo, UriFormat.UriEscaped)})";
}

/// <summary>What to generate; a null setting leaves the choice to Forge.</summary>
public sealed record GenerationRequest : GenerationSettings
{
    public GenerationRequest()
    {
    }

    /// <param name="settings">Copied.</param>
    public GenerationRequest(GenerationSettings settings)
        : base(settings)
    {
    }

    public required string Prompt { get; init; }
}

/// <summary>Forge's answer: encoded image bytes in whatever format the server is set to, not yet checked, and what it says of them.</summary>
/// <param name="Bytes">PNG, JPEG or WebP, as sent.</param>
/// <param name="Info">From the answer's <c>info</c>; null when it was not the JSON that Forge sends.</param>
public sealed record ForgeImage(ReadOnlyMemory<byte> Bytes, ForgeImageInfo? Info);

/// <summary>What Forge reports of an image; each null when the server does not say.</summary>
public sealed record ForgeImageInfo(long? Seed, int? Width, int? Height, string? Model, string? Sampler = null);

/// <summary>Where a task stands.</summary>
public enum ForgeTaskState
{
    /// <summary>Forge does not know it, or cannot say.</summary>
    Unknown,

    /// <summary>It waits for Forge's lock.</summary>
    Queued,

    /// <summary>It is being generated.</summary>
    Active,

    /// <summary>It is over, well or badly.</summary>
    Completed,
}

/// <summary>How far a task is.</summary>
/// <param name="State">Where it stands.</param>
/// <param name="Fraction">0..1 as Forge reports it, null when it does not.</param>
/// <param name="PreviewImage">The encoded live preview, when asked for and there is a new one.</param>
/// <param name="PreviewId">Forge's number of that preview.</param>
public sealed record ForgeProgress(
    ForgeTaskState State, double? Fraction = null, ReadOnlyMemory<byte>? PreviewImage = null, long? PreviewId = null)
{
    /// <summary>Whose progress it is.</summary>
    public ForgeProgressSource Source { get; init; }

    /// <summary>
    /// Whether time counts as generating: the task is active, or, by a server's whole progress, something is; and always on a
    /// server that cannot say, where generating begins with the request. Waiting in Forge's own line is not generating.
    /// </summary>
    public bool IsGenerating => State == ForgeTaskState.Active || Source == ForgeProgressSource.None;

    /// <summary>Whether the first step is done: until then the model may be loading, which shows no progress.</summary>
    public bool HasStepped => State == ForgeTaskState.Active && Fraction > 0.01;
}

/// <summary>Whose progress a <see cref="ForgeProgress"/> is.</summary>
public enum ForgeProgressSource
{
    /// <summary>The very task's.</summary>
    Task,

    /// <summary>The whole server's, which may be at somebody else's image.</summary>
    Server,

    /// <summary>Nobody's: the server does not say.</summary>
    None,
}

/// <summary>What a server is at, whoever asked for it.</summary>
/// <param name="IsIdle">It has no job.</param>
/// <param name="WasInterrupted">The job that it has, or had last, was interrupted or skipped.</param>
/// <param name="Fraction">0..1, null when it does not say.</param>
public sealed record ForgeServerState(bool IsIdle, bool WasInterrupted, double? Fraction);
