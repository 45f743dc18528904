using System.ComponentModel.DataAnnotations;

namespace ImageQueue.Core.Forge;

/// <summary>Settings under <c>Forge</c>: the backends, their models and time limits.</summary>
public sealed class ForgeOptions
{
    /// <summary>The configuration section.</summary>
    public const string Section = "Forge";

    /// <summary>The backends; one request is in flight per backend. None in Development means the simulator.</summary>
    public IList<ForgeBackendOptions> Backends { get; init; } = [];

    /// <summary>Longest time for one image. Waiting in Forge's own queue and loading a model do not count. Default 180 s.</summary>
    [Range(typeof(TimeSpan), "00:00:01", "1.00:00:00")]
    public TimeSpan Timeout { get; set; } = TimeSpan.FromSeconds(180);

    /// <summary>Longest time for loading a model, before the first step. Default 5 min.</summary>
    [Range(typeof(TimeSpan), "00:00:01", "1.00:00:00")]
    public TimeSpan LoadTimeout { get; set; } = TimeSpan.FromMinutes(5);

    /// <summary>Longest time without progress after the first step. Default 90 s.</summary>
    [Range(typeof(TimeSpan), "00:00:01", "1.00:00:00")]
    public TimeSpan StallTimeout { get; set; } = TimeSpan.FromSeconds(90);

    /// <summary>Time between two reads of progress. Default 0.5 s.</summary>
    [Range(typeof(TimeSpan), "00:00:00.0200000", "00:00:30")]
    public TimeSpan PollInterval { get; set; } = TimeSpan.FromSeconds(0.5);

    /// <summary>
    /// Whether clients see previews. Default true; costs Forge a small decoding for each, as often as its own settings say.
    /// </summary>
    public bool LivePreview { get; set; } = true;

    /// <summary>
    /// How many failures may be charged to a request before it ends in error: deaths of the process that generated it, and
    /// interruptions by another client. Default 3. Other failures end it at the first or the second.
    /// </summary>
    [Range(1, 100)]
    public int MaxAttempts { get; set; } = 3;

    /// <summary>How many times backends may break off one request, by its own fault, before it ends in error. Default 3.</summary>
    [Range(1, 100)]
    public int MaxDisruptions { get; set; } = 3;

    /// <summary>
    /// While no backend is healthy, requests that have waited for longer than this end in error (no_backend). Default none: they wait.
    /// </summary>
    [Range(typeof(TimeSpan), "00:00:00.1000000", "7.00:00:00")]
    public TimeSpan? WaitForBackend { get; set; }

    /// <summary>The built-in simulator.</summary>
    public ForgeSimulatorOptions Simulator { get; init; } = new();

    /// <summary>Used for settings that a request leaves out. They suit Flux; no checkpoint means the one that Forge has loaded.</summary>
    public GenerationSettings Defaults { get; init; } = new()
    { Width = 1024, Height = 1024, Steps = 20, Sampler = "Euler", Scheduler = "Simple", CfgScale = 1m, DistilledCfgScale = 3.5m };

    /// <summary>The models that a request may name. Default none: every request uses <see cref="Defaults"/>.</summary>
    public IDictionary<string, ForgeModelOptions> Models { get; init; } = new Dictionary<string, ForgeModelOptions>();

    /// <summary>The model of a request that names none. Default: the first by name.</summary>
    public string? DefaultModel { get; set; }

    /// <summary>Whether a request may name any checkpoint. Default: only where there are no <see cref="Models"/>.</summary>
    public bool? AllowAnyCheckpoint { get; set; }
}

/// <summary>Settings under <c>Forge:Backends:n</c>: one Forge server.</summary>
public sealed class ForgeBackendOptions
{
    /// <summary>Base address, such as <c>http://gpu1:7860</c>. Required.</summary>
    [Required]
    public Uri? Url { get; set; }

    /// <summary>Name shown to operators. Default: host and port.</summary>
    public string? Name { get; set; }

    /// <summary>User of Forge's <c>--api-auth</c>, if it is set there.</summary>
    public string? Username { get; set; }

    /// <summary>Password of Forge's <c>--api-auth</c>.</summary>
    public string? Password { get; set; }

    /// <summary>
    /// Whether people use the server beside ImageQueue. Default false. If true, their model is restored after each request, and
    /// nothing is interrupted where ImageQueue cannot tell whose image that would hit.
    /// </summary>
    public bool Shared { get; set; }

    /// <summary>
    /// A PEM file with the authority that signed the server's certificate, where the system does not know it. Default none.
    /// </summary>
    public string? CertificateAuthority { get; set; }

    /// <summary>SHA-256 of the server's certificate in hex: only that certificate is accepted, whatever its signer. Default none.</summary>
    public string? CertificateFingerprint { get; set; }

    /// <exception cref="OptionsValidationException">The address is missing or wrong.</exception>
    internal ForgeBackend ToBackend()
    {
        if (Url is not { IsAbsoluteUri: true } url)
        {
            throw new OptionsValidationException(
                nameof(ForgeOptions), typeof(ForgeOptions), ["Forge:Backends:n:Url must be an address such as http://gpu1:7860."]);
        }

        // http://user:password@host is understood, but the password goes no further than the header.
        var (user, password) = (Username, Password);
        if (user is null && url.UserInfo.Split(':', 2) is [{ Length: > 0 } name, .. var rest])
            (user, password) = (Uri.UnescapeDataString(name), Uri.UnescapeDataString(string.Concat(rest)));
        return new ForgeBackend(
            string.IsNullOrWhiteSpace(Name) ? $"{url.Host}:{url.Port}" : Name, new Uri(ForgeAddress.Of(url)), user, password)
        { Shared = Shared, CertificateAuthority = CertificateAuthority, CertificateFingerprint = CertificateFingerprint };
    }
}

/// <summary>Settings under <c>Forge:Simulator</c>.</summary>
public sealed class ForgeSimulatorOptions
{
    /// <summary>Whether <c>/simulator</c> is served. Default: on in Development when no backend is configured, else off.</summary>
    public bool? Enabled { get; set; }

    /// <summary>Seconds that the simulator takes for one image of the default size. Default 6.</summary>
    [Range(0.0, 3600.0)]
    public double SecondsPerImage { get; set; } = 6;
}
