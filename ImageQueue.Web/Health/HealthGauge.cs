using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using ImageQueue.Core.Telemetry;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace ImageQueue.Web.Health;

/// <summary>What <c>/health/ready</c> says, as a metric: each part is 1 while it is well, else 0. Looked at now and then, where metrics are asked for.</summary>
internal sealed class HealthGauge : IHealthCheckPublisher
{
    private readonly ConcurrentDictionary<string, int> _parts = new(StringComparer.Ordinal);

    public HealthGauge(IMeterFactory meters) => meters.Create(QueueMetrics.MeterName).CreateObservableGauge(
        "imagequeue.health",
        () => _parts.Select(part => new Measurement<int>(part.Value, new KeyValuePair<string, object?>("imagequeue.part", part.Key))),
        "{part}",
        "1 while the part is well, as /health/ready has it.");

    public Task PublishAsync(HealthReport report, CancellationToken cancellationToken)
    {
        foreach (var (name, entry) in report.Entries)
            _parts[name] = entry.Status == HealthStatus.Healthy ? 1 : 0;
        return Task.CompletedTask;
    }
}
