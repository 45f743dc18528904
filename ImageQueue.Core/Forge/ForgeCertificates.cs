using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace ImageQueue.Core.Forge;

/// <summary>Checks a backend's certificate, and says what is wrong with it.</summary>
internal static class ForgeCertificates
{
    public static RemoteCertificateValidationCallback CheckOf(ForgeBackend backend)
    {
        var authorities = backend.CertificateAuthority is { } file ? ReadAuthorities(file) : null;
        var fingerprint = backend.CertificateFingerprint is { } hex ? Bare(hex) : null;
        return (_, certificate, chain, errors) => WhatIsWrong(certificate, chain, errors, authorities, fingerprint) is { } wrong
            ? throw new ForgeCertificateException(wrong)
            : true;
    }

    /// <summary>The certificates in a PEM file.</summary>
    /// <exception cref="InvalidDataException">It cannot be read, or holds none.</exception>
    public static X509Certificate2Collection ReadAuthorities(string file)
    {
        var authorities = new X509Certificate2Collection();
        try
        {
            authorities.ImportFromPemFile(file);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw new InvalidDataException($"{file} cannot be read as PEM: {exception.Message}", exception);
        }

        return authorities.Count > 0 ? authorities : throw new InvalidDataException($"{file} holds no certificate");
    }

    /// <summary>The hex digits alone; null when it is no SHA-256.</summary>
    public static string? Bare(string fingerprint)
    {
        var bare = fingerprint.Replace(":", "", StringComparison.Ordinal).Replace(" ", "", StringComparison.Ordinal).ToLowerInvariant();
        return bare.Length == 64 && bare.All(char.IsAsciiHexDigit) ? bare : null;
    }

    private static string? WhatIsWrong(
        X509Certificate? certificate, X509Chain? chain, SslPolicyErrors errors, X509Certificate2Collection? authorities,
        string? fingerprint)
    {
        if (certificate is not X509Certificate2 own)
            return "the server shows no certificate";
        if (fingerprint is not null)
        {
            // Pinned: this certificate alone, whatever it says and whatever signed it.
            var shown = own.GetCertHashString(HashAlgorithmName.SHA256).ToLowerInvariant();
            return shown == fingerprint
                ? null
                : $"its certificate's SHA-256 is {shown}, and not that in Forge:Backends:n:CertificateFingerprint";
        }

        if ((errors & SslPolicyErrors.RemoteCertificateNameMismatch) != 0)
            return $"its certificate is for {own.GetNameInfo(X509NameType.DnsName, false)}, and not for this host";
        if (authorities is null)
            return errors == SslPolicyErrors.None ? null : Describe(own, chain);

        using var ours = new X509Chain();
        ours.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        ours.ChainPolicy.CustomTrustStore.AddRange(authorities);
        ours.ChainPolicy.ExtraStore.AddRange(chain?.ChainPolicy.ExtraStore ?? []);
        ours.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck; // A private authority rarely publishes revocations.
        return ours.Build(own) ? null : Describe(own, ours);
    }

    private static string Describe(X509Certificate2 certificate, X509Chain? chain)
    {
        var status = chain?.ChainStatus.FirstOrDefault(
            one => one.Status != X509ChainStatusFlags.NoError).Status ?? X509ChainStatusFlags.NoError;
        var (from, to) = (certificate.NotBefore.ToUniversalTime(), certificate.NotAfter.ToUniversalTime());
        return status switch
        {
            X509ChainStatusFlags.NotTimeValid =>
                FormattableString.Invariant($"its certificate is valid from {from:yyyy-MM-dd} to {to:yyyy-MM-dd} only"),
            X509ChainStatusFlags.UntrustedRoot or X509ChainStatusFlags.PartialChain =>
                $"its certificate is signed by {certificate.GetNameInfo(X509NameType.SimpleName, true)}, which is not trusted "
                    + "(Forge:Backends:n:CertificateAuthority or CertificateFingerprint)",
            _ => $"its certificate is not accepted ({status})",
        };
    }
}

/// <summary>A certificate is not accepted.</summary>
internal sealed class ForgeCertificateException(string message) : Exception(message);
