using System.ComponentModel.DataAnnotations;

namespace ImageQueue.Web.Auth;

/// <summary>Settings under <c>Auth</c>.</summary>
public sealed class AuthOptions
{
    public const string Section = "Auth";

    /// <summary>
    /// The keys that are known, several of a role where one is to replace another. None: Development lets this machine in, and
    /// nothing else starts.
    /// </summary>
    public IList<ApiKeyOptions> ApiKeys { get; init; } = [];

    /// <summary>How long a watcher's token is good for. Default 1 h, at most a day.</summary>
    [Range(typeof(TimeSpan), "00:00:01", "1.00:00:00")]
    public TimeSpan TokenLifetime { get; set; } = TimeSpan.FromHours(1);

    /// <summary>How long an operator stays signed in without doing anything. Default 8 h.</summary>
    [Range(typeof(TimeSpan), "00:01:00", "7.00:00:00")]
    public TimeSpan SessionLifetime { get; set; } = TimeSpan.FromHours(8);

    /// <summary>Wrong keys at <c>/login</c> after which an address has to wait. Default 5.</summary>
    [Range(1, 1000)]
    public int MaxFailedSignIns { get; set; } = 5;

    /// <summary>How long it has to wait. Default 15 min.</summary>
    [Range(typeof(TimeSpan), "00:00:01", "1.00:00:00")]
    public TimeSpan Lockout { get; set; } = TimeSpan.FromMinutes(15);

    /// <summary>
    /// Other websites whose pages may call the API, watch and show images with a watcher's token, such as
    /// <c>https://chat.example.org</c>. Default none.
    /// </summary>
    public IList<string> AllowedOrigins { get; init; } = [];

    /// <summary>
    /// Addresses (<c>10.0.0.5</c>) or networks (<c>10.0.0.0/8</c>) of reverse proxies whose <c>X-Forwarded-For</c>, <c>-Proto</c>
    /// and <c>-Host</c> are believed. Default none: such headers mean nothing.
    /// </summary>
    public IList<string> Proxies { get; init; } = [];

    /// <summary>A certificate that encrypts the data-protection keys where they are kept. Default none.</summary>
    public CertificateOptions Certificate { get; init; } = new();
}

public sealed class ApiKeyOptions
{
    /// <summary>Its holder, as the audit log shows it.</summary>
    public string Name { get; set; } = "";

    /// <summary>The key in plain text; logged as a warning, since anyone who reads the settings can use it.</summary>
    public string? Key { get; set; }

    /// <summary>SHA-256 of the key in UTF-8, 64 hex digits, as <c>key new</c> prints it.</summary>
    public string? KeyHash { get; set; }

    public string Role { get; set; } = "";
}

/// <summary>A certificate with its private key in a file.</summary>
public sealed class CertificateOptions
{
    /// <summary>A PKCS #12 file (.pfx).</summary>
    public string? Path { get; set; }

    public string? Password { get; set; }
}
