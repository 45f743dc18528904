namespace ImageQueue.Core.Forge;

internal static class ForgeBackendSettings
{
    /// <exception cref="OptionsValidationException">The address is missing or wrong.</exception>
    public static ForgeBackend ToBackend(this ForgeBackendOptions options)
    {
        if (options.Url is not { IsAbsoluteUri: true } url)
        {
            throw new OptionsValidationException(
                nameof(ForgeOptions), typeof(ForgeOptions), ["Forge:Backends:n:Url must be an address such as http://gpu1:7860."]);
        }

        // http://user:password@host is understood, but the password goes no further than the header.
        var (user, password) = (options.Username, options.Password);
        if (user is null && url.UserInfo.Split(':', 2) is [{ Length: > 0 } name, .. var rest])
            (user, password) = (Uri.UnescapeDataString(name), Uri.UnescapeDataString(string.Concat(rest)));
        return new ForgeBackend(
            string.IsNullOrWhiteSpace(options.Name) ? string.Create(CultureInfo.InvariantCulture, $"{url.Host}:{url.Port}") : options.Name,
            ForgeAddress.Normalize(url), user, password)
        {
            Shared = options.Shared,
            CertificateAuthority = options.CertificateAuthority,
            CertificateFingerprint = options.CertificateFingerprint,
        };
    }
}
