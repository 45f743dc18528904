using OpenTelemetry.Exporter;

namespace ImageQueue.Web.Telemetry;

/// <summary>
/// Which telemetry is configured, by <c>Telemetry:Prometheus</c> and OpenTelemetry's standard variables. Without any, nothing of
/// OpenTelemetry is started.
/// </summary>
/// <param name="Traces">Whether traces are sent by OTLP.</param>
/// <param name="Metrics">Whether metrics are.</param>
/// <param name="Logs">Whether log lines are.</param>
/// <param name="Prometheus">Whether Prometheus may scrape.</param>
internal sealed record TelemetryPlan(bool Traces, bool Metrics, bool Logs, bool Prometheus)
{
    private const string Otlp = "OTEL_EXPORTER_OTLP_";

    public bool IsAnything => Traces || Metrics || Logs || Prometheus;

    /// <exception cref="OptionsValidationException">An endpoint is no address.</exception>
    public static TelemetryPlan Of(IConfiguration configuration)
    {
        var options = new TelemetryOptions();
        configuration.GetSection(TelemetryOptions.Section).Bind(options, binder => binder.ErrorOnUnknownConfiguration = true);
        return string.Equals(configuration["OTEL_SDK_DISABLED"], "true", StringComparison.OrdinalIgnoreCase)
            ? new(false, false, false, false)
            : new(IsSent(configuration, "TRACES"), IsSent(configuration, "METRICS"), IsSent(configuration, "LOGS"), options.Prometheus);
    }

    /// <summary>
    /// A signal's own variables precede those for all signals, which the exporter reads itself. A signal's own endpoint is the whole
    /// address, to which no path is added (OTLP exporter specification).
    /// </summary>
    public static void Configure(OtlpExporterOptions options, IConfiguration configuration, string signal)
    {
        if (Read(configuration, $"{Otlp}{signal}_PROTOCOL") is { } protocol)
            options.Protocol = protocol == "grpc" ? OtlpExportProtocol.Grpc : OtlpExportProtocol.HttpProtobuf;
        if (Read(configuration, $"{Otlp}{signal}_HEADERS") is { } headers)
            options.Headers = headers;
        if (Read(configuration, $"{Otlp}{signal}_ENDPOINT") is { } endpoint)
            options.Endpoint = new Uri(endpoint);
    }

    private static bool IsSent(IConfiguration configuration, string signal)
    {
        var (own, ofAll) = (IsEndpoint(configuration, $"{Otlp}{signal}_ENDPOINT"), IsEndpoint(configuration, $"{Otlp}ENDPOINT"));
        return (own || ofAll) && configuration[$"OTEL_{signal}_EXPORTER"] is not "none";
    }

    private static bool IsEndpoint(IConfiguration configuration, string key) => Read(configuration, key) is { } value
        && (Uri.TryCreate(value, UriKind.Absolute, out var address) && address.Scheme is "http" or "https"
            ? true
            : throw new OptionsValidationException(
                TelemetryOptions.Section, typeof(TelemetryOptions), [$"{key} must be an address such as http://collector:4317."]));

    private static string? Read(IConfiguration configuration, string key) => configuration[key] is { Length: > 0 } value ? value : null;
}
