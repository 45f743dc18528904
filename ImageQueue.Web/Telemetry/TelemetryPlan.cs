using Microsoft.Extensions.Options;
using OpenTelemetry.Exporter;

namespace ImageQueue.Web.Telemetry;

/// <summary>
/// What is asked for, read once at the start: <c>Telemetry:Prometheus</c>, and OpenTelemetry's standard variables. With nothing
/// asked for, nothing of OpenTelemetry's is started.
/// </summary>
/// <param name="Traces">Whether traces are sent by OTLP.</param>
/// <param name="Metrics">Whether metrics are.</param>
/// <param name="Logs">Whether log lines are.</param>
/// <param name="Prometheus">Whether Prometheus may scrape.</param>
internal sealed record TelemetryPlan(bool Traces, bool Metrics, bool Logs, bool Prometheus)
{
    private const string Otlp = "OTEL_EXPORTER_OTLP_";

    /// <summary>Whether anything is asked for.</summary>
    public bool IsAnything => Traces || Metrics || Logs || Prometheus;

    /// <summary>Reads it.</summary>
    /// <exception cref="OptionsValidationException">An endpoint is none.</exception>
    public static TelemetryPlan Of(IConfiguration configuration)
    {
        var options = new TelemetryOptions();
        configuration.GetSection(TelemetryOptions.Section).Bind(options, binder => binder.ErrorOnUnknownConfiguration = true);
        return string.Equals(configuration["OTEL_SDK_DISABLED"], "true", StringComparison.OrdinalIgnoreCase)
            ? new(false, false, false, false)
            : new(IsSent(configuration, "TRACES"), IsSent(configuration, "METRICS"), IsSent(configuration, "LOGS"), options.Prometheus);
    }

    /// <summary>
    /// What is said for one signal goes before what is said for all. The exporter itself reads the latter; an endpoint of one
    /// signal is the whole address, to which nothing is added (OTLP exporter specification).
    /// </summary>
    public static void Configure(OtlpExporterOptions options, IConfiguration configuration, string signal)
    {
        if (Said(configuration, $"{Otlp}{signal}_PROTOCOL") is { } protocol)
            options.Protocol = protocol == "grpc" ? OtlpExportProtocol.Grpc : OtlpExportProtocol.HttpProtobuf;
        if (Said(configuration, $"{Otlp}{signal}_HEADERS") is { } headers)
            options.Headers = headers;
        if (Said(configuration, $"{Otlp}{signal}_ENDPOINT") is { } endpoint)
            options.Endpoint = new Uri(endpoint);
    }

    private static bool IsSent(IConfiguration configuration, string signal)
    {
        var (own, ofAll) = (IsEndpoint(configuration, $"{Otlp}{signal}_ENDPOINT"), IsEndpoint(configuration, $"{Otlp}ENDPOINT"));
        return (own || ofAll) && configuration[$"OTEL_{signal}_EXPORTER"] is not "none";
    }

    private static bool IsEndpoint(IConfiguration configuration, string key) => Said(configuration, key) is { } value
        && (Uri.TryCreate(value, UriKind.Absolute, out var address) && address.Scheme is "http" or "https"
            ? true
            : throw new OptionsValidationException(TelemetryOptions.Section, typeof(TelemetryOptions), [$"{key} must be an address such as http://collector:4317."]));

    private static string? Said(IConfiguration configuration, string key) => configuration[key] is { Length: > 0 } value ? value : null;
}
