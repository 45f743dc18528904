namespace ImageQueue.Core.Forge;

/// <summary>What to generate; a null setting leaves the choice to the backend.</summary>
public sealed record GenerationRequest : GenerationSettings
{
    public GenerationRequest() { }

    /// <param name="settings">Copied.</param>
    public GenerationRequest(GenerationSettings settings) : base(settings) { }

    public required string Prompt { get; init; }

    /// <summary>The image to start from; null: none.</summary>
    public GenerationSource? Source { get; init; }

    internal ForgeTask Task => ForgeTasks.Of(Source?.Asked);
}

/// <summary>The image that a generation starts from, in files, which are read when it is sent.</summary>
/// <param name="Asked">How to start from it.</param>
/// <param name="ImagePath">A PNG.</param>
/// <param name="MaskPath">A PNG; null: no mask was asked for.</param>
public sealed record GenerationSource(ImageSource Asked, string ImagePath, string? MaskPath = null);

/// <summary>
/// A backend's answer: encoded image bytes in the format that the server is set to, not yet checked, and what it reports of them.
/// </summary>
/// <param name="Info">From the answer's <c>info</c>; null when it was not the JSON that Forge sends.</param>
public sealed record ForgeImage(ReadOnlyMemory<byte> Bytes, ForgeImageInfo? Info)
{
    /// <summary>The scheduler that was used in place of the requested one; null when it was not replaced.</summary>
    public string? ReplacedScheduler { get; init; }

    /// <summary>The upscaler that made it larger; null when it was generated.</summary>
    public string? Upscaler { get; init; }
}

/// <summary>What a backend reports of an image; each null when it does not say.</summary>
/// <param name="Scheduler">"Schedule type" of <paramref name="Text"/>.</param>
/// <param name="Text">The image's <c>infotexts</c> entry: prompt and parameters as Forge writes them into a PNG.</param>
public sealed record ForgeImageInfo(
    long? Seed, string? Model, string? Sampler = null, string? Scheduler = null, string? Text = null);
