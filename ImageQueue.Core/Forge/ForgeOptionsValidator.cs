using System.Text.RegularExpressions;

namespace ImageQueue.Core.Forge;

/// <summary>The rules for <c>Forge:Backends</c>, which span entries; attributes check the rest.</summary>
internal sealed partial class ForgeOptionsValidator : IValidateOptions<ForgeOptions>
{
    public ValidateOptionsResult Validate(string? name, ForgeOptions options)
    {
        var failures = new List<string>();
        if (options.Simulator.SecondsPerImage is not (>= 0 and <= 3600))
            failures.Add("Forge:Simulator:SecondsPerImage must be between 0 and 3600.");
        var seen = new Dictionary<string, int>(StringComparer.Ordinal);
        for (var i = 0; i < options.Backends.Count; i++)
        {
            var key = $"Forge:Backends:{i}";
            var backend = options.Backends[i];
            if (backend.Url is not { IsAbsoluteUri: true, Scheme: "http" or "https" } url)
            {
                failures.Add($"{key}:Url must be an address such as http://gpu1:7860.");
                continue;
            }

            if (url.Query.Length > 0 || url.Fragment.Length > 0)
                failures.Add($"{key}:Url must not hold a query or fragment.");
            if (EndpointPath().Match(url.AbsolutePath) is { Success: true } endpoint)
                failures.Add($"{key}:Url must be the server's base address, {BaseOf(url, endpoint.Index)}, without {endpoint.Value}.");
            if (backend.Password is not null && backend.Username is null)
                failures.Add($"{key}:Password is set but {key}:Username is not.");
            failures.AddRange(CertificateTroubles(key, backend, url));

            // The same server twice would get two requests at once.
            var address = ForgeAddress.Of(url);
            if (!seen.TryAdd(address, i))
                failures.Add($"{key}:Url is the same server as Forge:Backends:{seen[address]}:Url.");
        }

        return failures.Count == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(failures);
    }

    private static string BaseOf(Uri url, int length) =>
        url.GetComponents(UriComponents.SchemeAndServer, UriFormat.UriEscaped) + url.AbsolutePath[..length];

    private static IEnumerable<string> CertificateTroubles(string key, ForgeBackendOptions backend, Uri url)
    {
        if (backend.CertificateAuthority is null && backend.CertificateFingerprint is null)
            yield break;
        if (url.Scheme != Uri.UriSchemeHttps)
            yield return $"{key}:CertificateAuthority and CertificateFingerprint need an address that begins with https.";
        if (backend.CertificateFingerprint is { } fingerprint && ForgeCertificates.Bare(fingerprint) is null)
            yield return $"{key}:CertificateFingerprint must be a SHA-256 in hex: 64 digits.";
        if (backend.CertificateAuthority is { } file && WhyUnreadable(file) is { } why)
            yield return $"{key}:CertificateAuthority: {why}.";
    }

    private static string? WhyUnreadable(string file)
    {
        try
        {
            _ = ForgeCertificates.ReadAuthorities(file);
            return null;
        }
        catch (InvalidDataException exception)
        {
            return exception.Message.TrimEnd('.');
        }
    }

    /// <summary>What people copy from the address bar or from Forge's API page: its endpoints are added to the base address.</summary>
    [GeneratedRegex("/(sdapi(/.*)?|internal(/.*)?|docs|redoc|openapi\\.json)/?$", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex EndpointPath();
}
