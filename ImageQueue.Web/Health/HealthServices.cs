using System.Text.Encodings.Web;
using System.Text.Json.Serialization;
using ImageQueue.Core.Hosting;
using ImageQueue.Web.Auth;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace ImageQueue.Web.Health;

/// <summary>
/// <c>/health/live</c>: the process answers. <c>/health/ready</c>: each part, and for operators the reasons. It is 503 only when submits
/// fail. Other faults are 200 and <c>degraded</c>: requests are accepted and wait, and another instance would do no better.
/// </summary>
internal static class HealthServices
{
    /// <summary>The parts of <see cref="SystemConditions"/>; "webhooks" has no source without a receiver.</summary>
    private static readonly string[] Parts = ["job_servers", "recurring_jobs", "leader", "queue", "backends", "models", "disk", "webhooks"];

    /// <summary>A part that does not answer for so long is unhealthy.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    private static readonly JsonSerializerOptions Json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    public static void AddHealth(this IServiceCollection services)
    {
        services.AddSingleton<DatabaseCheck>(); // It holds a lease.
        services.AddHealthChecks()
            .AddCheck<DatabaseCheck>("database", timeout: Patience)
            .AddCheck<SchemaCheck>("schema", timeout: Patience);
        services.AddSingleton<IConditionSource, JobServerConditions>();
        services.Configure<HealthCheckServiceOptions>(options =>
        {
            foreach (var part in Parts)
            {
                options.Registrations.Add(new(
                    part, provider =>
                        ActivatorUtilities.CreateInstance<ConditionsCheck>(provider, part), HealthStatus.Degraded, tags: null, Patience));
            }
        });
        // The response has the reasons; probes every few seconds would flood the log.
        services.AddLogging(
            logging => logging.AddFilter("Microsoft.Extensions.Diagnostics.HealthChecks.DefaultHealthCheckService", LogLevel.None));
    }

    public static void AddHealthGauge(this IServiceCollection services)
    {
        services.AddSingleton<IHealthCheckPublisher, HealthGauge>();
        services.Configure<HealthCheckPublisherOptions>(
            options => (options.Delay, options.Period) = (TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(15)));
    }

    public static void MapHealth(this WebApplication app)
    {
        app.MapHealthChecks("/health/live", new() { Predicate = _ => false, ResponseWriter = WriteLiveAsync }).AllowAnonymous();
        app.MapHealthChecks("/health/ready", new() { ResponseWriter = WriteAsync }).AllowAnonymous();
    }

    private static Task WriteAsync(HttpContext context, HealthReport report)
    {
        var isOperator = context.User.Is(Roles.Operator, Roles.OperatorRead);
        var parts = report.Entries.ToDictionary(
            part => part.Key,
            part => new { Status = NameOf(part.Value.Status), Reason = isOperator ? part.Value.Description : null });
        return context.Response.WriteAsJsonAsync(
            new { Status = NameOf(report.Status), Parts = parts.Count == 0 ? null : parts }, Json, context.RequestAborted);
    }

    private static Task WriteLiveAsync(HttpContext context, HealthReport report) =>
        context.Response.WriteAsJsonAsync(
            new { Status = NameOf(report.Status), Version = ProductVersion.Value }, Json, context.RequestAborted);

    private static string NameOf(HealthStatus status) => JsonNamingPolicy.SnakeCaseLower.ConvertName(status.ToString());
}
