using System.Collections.Concurrent;
using ImageQueue.Core.Telemetry;
using ImageQueue.Tests.Support;
using ImageQueue.Web.Startup;
using ImageQueue.Web.Telemetry;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using NUnit.Framework;
using OpenTelemetry.Metrics;
using OpenTelemetry.Trace;

namespace ImageQueue.Tests.Telemetry;

/// <summary>Telemetry is sent where the standard variables ask for it, and nowhere else.</summary>
[NonParallelizable] // Meters and activities are the process's.
[Category(Categories.App)]
internal sealed class TelemetryPlanTests
{
    [TestCase("", "")]
    [TestCase("OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4317", "traces metrics logs")]
    [TestCase("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://c:4318/v1/traces", "traces")]
    [TestCase("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://c:4318/v1/metrics", "metrics")]
    [TestCase("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=http://c:4318/v1/logs", "logs")]
    [TestCase("OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4317 OTEL_LOGS_EXPORTER=none", "traces metrics")]
    [TestCase("OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4317 OTEL_SDK_DISABLED=true Telemetry:Prometheus=true", "")]
    [TestCase("OTEL_EXPORTER_OTLP_ENDPOINT= OTEL_SERVICE_NAME=mine", "")]
    [TestCase("Telemetry:Prometheus=true", "prometheus")]
    public void Plan_MatchesTheSettings(string settings, string wanted)
    {
        var plan = TelemetryPlan.Of(Configuration(settings));

        var asked = new[] { (plan.Traces, "traces"), (plan.Metrics, "metrics"), (plan.Logs, "logs"), (plan.Prometheus, "prometheus") };
        Assert.That(string.Join(' ', asked.Where(one => one.Item1).Select(one => one.Item2)), Is.EqualTo(wanted));
        Assert.That(plan.IsAnything, Is.EqualTo(wanted.Length > 0));
    }

    [TestCase("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317")]
    [TestCase("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "over there")]
    public void Plan_SaysWhichVariableIsWrong(string key, string value)
    {
        var failure = Assert.Throws<OptionsValidationException>(
            () => TelemetryPlan.Of(new ConfigurationBuilder().AddInMemoryCollection([new(key, value)]).Build()));
        Assert.That(StartFailure.SentenceOf(failure!), Does.StartWith($"{key} must be an address"));
    }

    [Test]
    public async Task Telemetry_IsNotStarted_WhenNoneIsConfigured()
    {
        await using var app = await TestApp.StartAsync();

        Assert.That(app.Services.GetService<TracerProvider>(), Is.Null);
        Assert.That(app.Services.GetService<MeterProvider>(), Is.Null);
        Assert.That(app.Services.GetServices<IHealthCheckPublisher>(), Is.Empty);
        Assert.That(QueueTracing.IsOn, Is.False);
        Assert.That((int)(await app.Http.GetAsync("metrics")).StatusCode, Is.EqualTo(404));
    }

    [Test]
    public async Task EverySignal_ReachesTheCollector_ThatTheVariablesName()
    {
        var paths = new ConcurrentQueue<string>();
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(System.Net.IPAddress.Loopback, 0));
        await using var collector = builder.Build();
        collector.Run(context =>
        {
            paths.Enqueue($"{context.Request.Path} {context.Request.Headers["x-tenant"]}");
            return Task.CompletedTask;
        });
        await collector.StartAsync();

        await using (var app = await TestApp.StartAsync(new()
        {
            ["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.Urls.Single(),
            ["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf",
            ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = $"{collector.Urls.Single()}/elsewhere",
            ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] = "http/protobuf",
            ["OTEL_EXPORTER_OTLP_TRACES_HEADERS"] = "x-tenant=a",
        }))
        {
            await app.Http.GetAsync("api/queue");
        }

        Assert.That(paths.Distinct(), Is.EquivalentTo(new[] { "/elsewhere a", "/v1/metrics ", "/v1/logs " }));
    }

    private static IConfiguration Configuration(string settings) => new ConfigurationBuilder()
        .AddInMemoryCollection(
            settings.Split(' ', StringSplitOptions.RemoveEmptyEntries)
                .Select(one => one.Split('=', 2))
                .Select(one => KeyValuePair.Create(one[0], (string?)one[1]))).Build();
}
