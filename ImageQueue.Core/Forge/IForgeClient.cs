namespace ImageQueue.Core.Forge;

/// <summary>The seam to Forge: turns its HTTP API into a few typed outcomes. See <see cref="ForgeException"/> for what can go wrong.</summary>
/// <remarks>Source of the endpoints: Forge's <c>modules/api/api.py</c> and <c>modules/progress.py</c>.</remarks>
public interface IForgeClient
{
    /// <summary>
    /// <c>POST /sdapi/v1/txt2img</c> with <paramref name="taskId"/> as <c>force_task_id</c>; returns when Forge answers.
    /// Has no deadline of its own: cancel the token. Cancelling only stops waiting; Forge goes on until it is interrupted.
    /// </summary>
    /// <exception cref="ForgeException">Forge could not be reached, refused, failed, or answered without an image.</exception>
    Task<ForgePicture> PaintAsync(ForgeBackend backend, string taskId, PaintRequest request, CancellationToken cancellationToken);

    /// <summary>
    /// How far the task is: <c>/internal/progress</c>; where that is not there (404), the global <c>/sdapi/v1/progress</c>;
    /// where that is not there either, <see cref="ForgeTaskState.Unknown"/> for good. A live preview is given once: who asks
    /// again gets it when Forge has a newer one.
    /// </summary>
    /// <exception cref="ForgeException">Forge could not be reached or did not answer in time.</exception>
    Task<ForgeProgress> GetProgressAsync(ForgeBackend backend, string taskId, bool withPreview, CancellationToken cancellationToken);

    /// <summary>
    /// <c>POST /sdapi/v1/interrupt</c>, but only while <c>/internal/progress</c> says that <paramref name="taskId"/> is the
    /// active task: Forge's interrupt is global and would hit somebody else's picture.
    /// </summary>
    /// <returns>Whether the interrupt was sent.</returns>
    /// <exception cref="ForgeException">Forge could not be reached or did not answer in time.</exception>
    Task<bool> InterruptAsync(ForgeBackend backend, string taskId, CancellationToken cancellationToken);

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
    /// <summary>Name and address. What a record would print by itself holds the password, and ends up in logs.</summary>
    public override string ToString() => $"{Name} ({Url.GetComponents(UriComponents.AbsoluteUri & ~UriComponents.UserInfo, UriFormat.UriEscaped)})";
}

/// <summary>What to paint. Null leaves the choice to Forge.</summary>
public sealed record PaintRequest
{
    /// <summary>What to paint.</summary>
    public required string Prompt { get; init; }

    /// <summary>What to avoid.</summary>
    public string? NegativePrompt { get; init; }

    /// <summary>Pixels.</summary>
    public required int Width { get; init; }

    /// <summary>Pixels.</summary>
    public required int Height { get; init; }

    /// <summary>Sampling steps.</summary>
    public required int Steps { get; init; }

    /// <summary>Classifier-free guidance.</summary>
    public required decimal CfgScale { get; init; }

    /// <summary>Distilled guidance (Flux).</summary>
    public required decimal DistilledCfgScale { get; init; }

    /// <summary>Sampler name, such as Euler.</summary>
    public string? Sampler { get; init; }

    /// <summary>Scheduler name, such as Simple.</summary>
    public string? Scheduler { get; init; }

    /// <summary>-1 lets Forge choose.</summary>
    public long Seed { get; init; } = -1;

    /// <summary>Checkpoint for <c>override_settings.sd_model_checkpoint</c>.</summary>
    public string? Checkpoint { get; init; }

    /// <summary>For <c>override_settings.forge_additional_modules</c>; sent only with a checkpoint.</summary>
    public IReadOnlyList<string> AdditionalModules { get; init; } = [];
}

/// <summary>Forge's answer: encoded image bytes in whatever format the server is set to, not yet checked, and what it says of them.</summary>
/// <param name="Bytes">PNG, JPEG or WebP, as sent.</param>
/// <param name="Info">From the answer's <c>info</c>; null when it was not the JSON that Forge sends.</param>
public sealed record ForgePicture(ReadOnlyMemory<byte> Bytes, ForgePictureInfo? Info);

/// <summary>What Forge reports of a picture; each null when the server does not say.</summary>
public sealed record ForgePictureInfo(long? Seed, int? Width, int? Height, string? Model);

/// <summary>Where a task stands.</summary>
public enum ForgeTaskState
{
    /// <summary>Forge does not know it, or cannot say.</summary>
    Unknown,

    /// <summary>It waits for Forge's lock.</summary>
    Queued,

    /// <summary>It is being painted.</summary>
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
    ForgeTaskState State, double? Fraction = null, ReadOnlyMemory<byte>? PreviewImage = null, long? PreviewId = null);
