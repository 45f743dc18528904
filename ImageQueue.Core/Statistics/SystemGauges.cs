using System.Diagnostics.Metrics;
using ImageQueue.Core.Backends;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Telemetry;
using Microsoft.Extensions.Hosting;

namespace ImageQueue.Core.Statistics;

/// <summary>The gauges of backends, pauses and the images folder. Hosted, so that they exist from the start.</summary>
internal sealed class SystemGauges : IHostedService
{
    private readonly BackendPool _pool;

    public SystemGauges(IMeterFactory meters, BackendPool pool, Pauses pauses, ImageFiles images)
    {
        _pool = pool;
        var meter = meters.Create(QueueMetrics.MeterName);
        meter.CreateObservableGauge<int>(
            "imagequeue.queue.paused", () => pauses.OfQueue is null ? 0 : 1, "{queue}", "1 while an operator has paused the queue.");
        meter.CreateObservableGauge<int>(
            "imagequeue.backend.healthy", () =>
                Measure(backend => backend.Healthy == true), "{backend}", "1 while this process knows the backend as healthy.");
        meter.CreateObservableGauge<int>(
            "imagequeue.backend.busy", () =>
                Measure(backend => backend.Busy), "{backend}", "1 while the backend has a request of this process.");
        meter.CreateObservableGauge<int>(
            "imagequeue.backend.paused", () =>
                Measure(backend => backend.Paused), "{backend}", "1 while an operator has paused the backend.");
        meter.CreateObservableGauge<int>(
            "imagequeue.writable", () =>
                images.WhyNotWritable() is null ? 1 : 0, "{folder}", "1 while Images:Directory can be written and its disk has room.");
        meter.CreateObservableGauge<long>(
            "imagequeue.images.disk.free", () => images.FreeBytes() is { } free ? [new Measurement<long>(free)] : [], "By",
            "Free space on the disk of Images:Directory.");
    }

    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    private IEnumerable<Measurement<int>> Measure(Func<BackendStatus, bool> value) => _pool.Status.Select(backend =>
        new Measurement<int>(value(backend) ? 1 : 0, new KeyValuePair<string, object?>(QueueMetrics.BackendKey, backend.Name)));
}
