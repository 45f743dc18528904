using System.Net;

namespace ImageQueue.Web.Startup;

/// <summary>
/// <c>health</c>: checks the health of the ImageQueue that runs with these settings, for hosts that go by an exit code, such as Docker.
/// </summary>
internal static class HealthCommand
{
    private const string Usage =
        """
        Usage: dotnet ImageQueue.Web.dll health [live|ready] [address]
          live    whether it answers at all (/health/live); the default
          ready   whether it can take requests (/health/ready)
        The address comes from the settings, such as Urls, if it is not given.
        """;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    /// <returns>The exit code: 0 healthy, 1 not, 2 not understood.</returns>
    public static async Task<int> RunAsync(string[] words, IConfiguration configuration, TextWriter output, TextWriter errors)
    {
        var address = words is [_, var given]
            ? (Uri.TryCreate(given, UriKind.Absolute, out var uri) ? uri : null)
            : OwnAddress.In(configuration);
        if (words.Length > 2 || words is [not ("live" or "ready"), ..] || address is null)
        {
            await errors.WriteLineAsync(Usage);
            return 2;
        }

        var url = new Uri(address, $"/health/{words.FirstOrDefault("live")}");
        try
        {
            using var http = new HttpClient(Handler()) { Timeout = Patience };
            http.DefaultRequestHeaders.Host = ServedName(configuration["AllowedHosts"]);
            using var response = await http.GetAsync(url);
            await output.WriteLineAsync($"{url} answers {(int)response.StatusCode}: {await response.Content.ReadAsStringAsync()}");
            return response.StatusCode == HttpStatusCode.OK ? 0 : 1;
        }
        catch (Exception e) when (e is HttpRequestException or OperationCanceledException)
        {
            await errors.WriteLineAsync($"{url} does not answer: {e.Message}");
            return 1;
        }
    }

    /// <summary>It asks itself: through no proxy, and whatever name the certificate is for.</summary>
    private static HttpClientHandler Handler() => new()
    {
        UseProxy = false,
        ServerCertificateCustomValidationCallback = HttpClientHandler.DangerousAcceptAnyServerCertificateValidator,
    };

    /// <summary>A name that the app answers to; "localhost" may be none. Null when every name is.</summary>
    private static string? ServedName(string? allowedHosts) =>
        allowedHosts?.Split(';', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries) switch
        {
            null or [] => null,
            var names when names.Contains("*") => null,
            [var first, ..] => first.Replace("*.", "health.", StringComparison.Ordinal),
        };
}
