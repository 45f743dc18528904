namespace ImageQueue.Core.Forge;

/// <summary>One Forge server.</summary>
/// <param name="Url">Base address; a path in it is kept.</param>
/// <param name="Username">User of <c>--api-auth</c>, or null.</param>
/// <param name="Password">Password of <c>--api-auth</c>, or null.</param>
public sealed record ForgeBackend(string Name, Uri Url, string? Username = null, string? Password = null)
{
    /// <summary>
    /// Whether people use it beside ImageQueue. Their model is then restored after each request, and nothing is interrupted where
    /// the backend does not know tasks by id.
    /// </summary>
    public bool Shared { get; init; }

    /// <summary>A PEM file with the authority that signed its certificate, or null.</summary>
    public string? CertificateAuthority { get; init; }

    /// <summary>SHA-256 of its certificate in hex, with or without colons, or null.</summary>
    public string? CertificateFingerprint { get; init; }

    /// <summary>Name and address. The record's own text would hold the password, and end up in logs.</summary>
    public override string ToString() =>
        $"{Name} ({Url.GetComponents(UriComponents.AbsoluteUri & ~UriComponents.UserInfo, UriFormat.UriEscaped)})";
}
