namespace ImageQueue.Web.Telemetry;

/// <summary>Settings under <c>Telemetry</c>. OTLP export is set by the standard <c>OTEL_</c> variables.</summary>
public sealed class TelemetryOptions
{
    /// <summary>The configuration section.</summary>
    public const string Section = "Telemetry";

    /// <summary>Whether <c>/metrics</c> shows the metrics to Prometheus. Default false.</summary>
    public bool Prometheus { get; set; }
}
