namespace ImageQueue.Web.Startup;

/// <summary>The address at which a process reaches itself: a wildcard cannot be called.</summary>
internal static class OwnAddress
{
    /// <summary>The address to call, plain HTTP first; null when there is none.</summary>
    public static Uri? Of(IReadOnlyCollection<string> addresses)
    {
        var plainFirst = addresses.OrderByDescending(a => a.StartsWith("http://", StringComparison.OrdinalIgnoreCase));
        if (plainFirst.FirstOrDefault() is not { } address)
            return null;
        var url = BindingAddress.Parse(address);
        var host = url.Host is "*" or "+" or "0.0.0.0" or "[::]" ? "localhost" : url.Host;
        return new UriBuilder(url.Scheme, host, url.Port).Uri;
    }

    /// <summary>The same from the settings, for a process beside the one that listens.</summary>
    public static Uri? In(IConfiguration configuration) => Of(
    [
        .. Parts(configuration["Urls"]),
        .. configuration.GetSection("Kestrel:Endpoints").GetChildren().Select(endpoint => endpoint["Url"]).OfType<string>(),
        .. Parts(configuration["HTTP_PORTS"]).Select(port => $"http://localhost:{port}"), // As the .NET images set it.
    ]);

    private static string[] Parts(string? list) =>
        list?.Split(';', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries) ?? [];
}
