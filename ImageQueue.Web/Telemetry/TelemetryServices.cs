using ImageQueue.Core.Telemetry;
using ImageQueue.Web.Auth;
using ImageQueue.Web.Health;
using ImageQueue.Web.Simulator;
using OpenTelemetry.Exporter;
using OpenTelemetry.Logs;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace ImageQueue.Web.Telemetry;

/// <summary>The registrations and endpoint of telemetry, where it is configured (<see cref="TelemetryPlan"/>).</summary>
internal static class TelemetryServices
{
    public const string MetricsPath = "/metrics";

    private const string ServiceName = "imagequeue";

    /// <summary>Paths that are polled, and the simulator, which stands for another server.</summary>
    private static readonly PathString[] Untraced = ["/health", MetricsPath, SimulatorEndpoints.Path, "/hangfire/stats"];

    /// <exception cref="Microsoft.Extensions.Options.OptionsValidationException">A variable of OpenTelemetry's cannot be used.</exception>
    public static void AddTelemetry(this WebApplicationBuilder builder)
    {
        var (services, configuration) = (builder.Services, builder.Configuration);
        var plan = TelemetryPlan.Of(configuration);
        services.AddSingleton(plan);
        if (!plan.IsAnything)
            return;
        var telemetry = services.AddOpenTelemetry().ConfigureResource(resource => resource
            .AddService(ServiceName, serviceVersion: ProductVersion.WithCommit)
            .AddEnvironmentVariableDetector()); // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES override it.
        if (plan.Traces)
        {
            telemetry.WithTracing(
                traces => Trace(traces).AddOtlpExporter(options => TelemetryPlan.Configure(options, configuration, "TRACES")));
        }

        if (plan.Metrics || plan.Prometheus)
            services.AddHealthGauge();
        if (plan.Metrics)
        {
            telemetry.WithMetrics(
                metrics => Measure(metrics).AddOtlpExporter(options => TelemetryPlan.Configure(options, configuration, "METRICS")));
        }

        if (plan.Prometheus)
        {
            telemetry.WithMetrics(metrics => (plan.Metrics ? metrics : Measure(metrics)).AddPrometheusExporter(options =>
                // Dashboards and alerts know these names, whatever the scraper accepts.
                options.TranslationStrategy = PrometheusAspNetCoreTranslationStrategy.UnderscoreEscapingWithSuffixes));
        }

        if (plan.Logs)
        {
            telemetry.WithLogging(
                logs => logs.AddOtlpExporter(options => TelemetryPlan.Configure(options, configuration, "LOGS")),
                options => (options.IncludeScopes, options.IncludeFormattedMessage) = (true, true));
        }
    }

    /// <summary>Maps <see cref="MetricsPath"/> where it is configured.</summary>
    public static void MapTelemetry(this WebApplication app)
    {
        if (app.Services.GetRequiredService<TelemetryPlan>().Prometheus)
            app.MapPrometheusScrapingEndpoint(MetricsPath).RequireAuthorization(Access.Metrics);
    }

    /// <summary>
    /// The spans: an HTTP request, its way through the queue, and the call that generates. Calls for progress and health are left out.
    /// Values in addresses are redacted.
    /// </summary>
    internal static TracerProviderBuilder Trace(TracerProviderBuilder traces) => traces
        .AddSource(QueueTracing.SourceName)
        .AddAspNetCoreInstrumentation(options =>
            options.Filter = context => !Array.Exists(Untraced, path => context.Request.Path.StartsWithSegments(path)))
        .AddHttpClientInstrumentation(options =>
            options.FilterHttpRequestMessage = request =>
                request.Method == HttpMethod.Post
                    && request.RequestUri?.AbsolutePath.EndsWith("/internal/progress", StringComparison.Ordinal) != true);

    /// <summary>The metrics of ImageQueue, web server, HTTP client and runtime.</summary>
    internal static MeterProviderBuilder Measure(MeterProviderBuilder metrics) => metrics
        .AddMeter(QueueMetrics.MeterName)
        .AddAspNetCoreInstrumentation()
        .AddHttpClientInstrumentation()
        .AddRuntimeInstrumentation();
}
