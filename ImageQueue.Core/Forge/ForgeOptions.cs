using System.ComponentModel.DataAnnotations;
using ImageQueue.Core.Messages;

namespace ImageQueue.Core.Forge;

/// <summary>Settings under <c>Forge</c>: where images are generated, and how long that may take.</summary>
public sealed class ForgeOptions
{
    /// <summary>The configuration section.</summary>
    public const string Section = "Forge";

    /// <summary>The Forge servers; one request is in flight per server. Empty in Development means the simulator.</summary>
    public IList<ForgeBackendOptions> Backends { get; init; } = [];

    /// <summary>Longest time for one image, from the moment Forge begins to generate it; waiting in Forge's own line does not count. Default 180 s.</summary>
    [Range(typeof(TimeSpan), "00:00:01", "1.00:00:00")]
    public TimeSpan Timeout { get; set; } = TimeSpan.FromSeconds(180);

    /// <summary>Longest time without any progress before the run is given up. Default 90 s, which covers loading a Flux model.</summary>
    [Range(typeof(TimeSpan), "00:00:01", "1.00:00:00")]
    public TimeSpan StallTimeout { get; set; } = TimeSpan.FromSeconds(90);

    /// <summary>Time between two questions for progress. Default 0.5 s.</summary>
    [Range(typeof(TimeSpan), "00:00:00.0200000", "00:00:30")]
    public TimeSpan PollInterval { get; set; } = TimeSpan.FromSeconds(0.5);

    /// <summary>
    /// Whether images are shown while they are generated. Default true; costs Forge a small decoding for each preview, as often
    /// as its own settings for live previews say.
    /// </summary>
    public bool LivePreview { get; set; } = true;

    /// <summary>How many times one request may be begun before it ends in error. Default 3.</summary>
    [Range(1, 100)]
    public int MaxAttempts { get; set; } = 3;

    /// <summary>How many times backends may break off one request, by its own fault, before it ends in error. Default 3.</summary>
    [Range(1, 100)]
    public int MaxDisruptions { get; set; } = 3;

    /// <summary>
    /// While no Forge is healthy, requests that have waited for longer than this end in error (no_backend). Default none: they
    /// wait until one is back.
    /// </summary>
    [Range(typeof(TimeSpan), "00:00:00.1000000", "7.00:00:00")]
    public TimeSpan? WaitForBackend { get; set; }

    /// <summary>The built-in simulator.</summary>
    public ForgeSimulatorOptions Simulator { get; init; } = new();

    /// <summary>What a request gets for the settings that it leaves out. Suits Flux; checkpoint: default the one that Forge has loaded.</summary>
    public GenerationSettings Defaults { get; init; } = new()
    {
        Width = 1024,
        Height = 1024,
        Steps = 20,
        Sampler = "Euler",
        Scheduler = "Simple",
        CfgScale = 1m,
        DistilledCfgScale = 3.5m,
    };

    /// <summary>The models that a request may ask for, by name. Default none: all is generated with <see cref="Defaults"/>.</summary>
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
    /// Whether people use the server beside ImageQueue. Default false. True puts their model back after each request, and keeps
    /// ImageQueue from interrupting where it cannot tell whose image that would hit.
    /// </summary>
    public bool Shared { get; set; }

    /// <summary>A PEM file with the authority that signed the server's certificate, where the system does not know it. Default none.</summary>
    public string? CertificateAuthority { get; set; }

    /// <summary>SHA-256 of the server's certificate in hex: it alone is accepted, whoever signed it. Default none.</summary>
    public string? CertificateFingerprint { get; set; }
}

/// <summary>Settings under <c>Forge:Simulator</c>.</summary>
public sealed class ForgeSimulatorOptions
{
    /// <summary>Whether <c>/simulator</c> is served. Default: on in Development when no backend is configured, else off.</summary>
    public bool? Enabled { get; set; }

    /// <summary>Time that the simulator takes for one image of the default size, in seconds. Default 6.</summary>
    [Range(0.0, 3600.0)]
    public double SecondsPerImage { get; set; } = 6;
}
