using System.Diagnostics.Metrics;
using ImageQueue.Core.Backends;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Telemetry;
using Microsoft.Extensions.Hosting;

namespace ImageQueue.Core.Statistics;

/// <summary>The gauges of backends, pauses and the images folder. Hosted, so that they exist from the start.</summary>
internal sealed class SystemGauges : IHostedService
{
    public SystemGauges(IMeterFactory meters, BackendPool pool, Pauses pauses, ImageFiles images)
    {
        var meter = meters.Create(QueueMetrics.MeterName);
        meter.CreateObservableGauge<int>(
            "imagequeue.queue.paused", () => pauses.OfQueue is null ? 0 : 1, "{queue}", "1 while an operator has paused the queue.");
        OfBackends("imagequeue.backend.healthy", one => one.Healthy == true, "1 while this process knows the backend as healthy.");
        OfBackends("imagequeue.backend.busy", one => one.Busy, "1 while the backend has a request of this process.");
        OfBackends("imagequeue.backend.paused", one => one.Paused, "1 while an operator has paused the backend.");
        meter.CreateObservableGauge<int>(
            "imagequeue.writable", () => images.WhyNotWritable() is null ? 1 : 0, "{folder}",
            "1 while Images:Directory can be written and its disk has room.");
        meter.CreateObservableGauge<long>(
            "imagequeue.images.disk.free", () => images.FreeBytes() is { } free ? [new Measurement<long>(free)] : [], "By",
            "Free space on the disk of Images:Directory.");

        void OfBackends(string name, Func<BackendStatus, bool> value, string description) => meter.CreateObservableGauge(
            name,
            () => pool.Status.Select(backend => new Measurement<int>(
                value(backend) ? 1 : 0, new KeyValuePair<string, object?>(QueueMetrics.BackendKey, backend.Name))),
            "{backend}",
            description);
    }

    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
}
