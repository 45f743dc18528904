using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using ImageQueue.Core.Telemetry;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace ImageQueue.Web.Health;

/// <summary>
/// The parts of <c>/health/ready</c> as a metric: 1 while healthy, else 0. Read at an interval, where metrics are configured.
/// </summary>
internal sealed class HealthGauge : IHealthCheckPublisher
{
    private readonly ConcurrentDictionary<string, int> _parts = new(StringComparer.Ordinal);

    public HealthGauge(IMeterFactory meters) => meters.Create(QueueMetrics.MeterName).CreateObservableGauge(
        "imagequeue.health",
        () => _parts.Select(part => new Measurement<int>(part.Value, new KeyValuePair<string, object?>("imagequeue.part", part.Key))),
        "{part}",
        "1 while the part of /health/ready is healthy.");

    public Task PublishAsync(HealthReport report, CancellationToken cancellationToken)
    {
        foreach (var (name, entry) in report.Entries)
            _parts[name] = entry.Status == HealthStatus.Healthy ? 1 : 0;
        return Task.CompletedTask;
    }
}
