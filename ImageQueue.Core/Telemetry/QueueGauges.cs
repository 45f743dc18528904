using System.Diagnostics.Metrics;
using ImageQueue.Core.Backends;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Telemetry;

/// <summary>
/// What is looked at whenever somebody collects: the queue, the Forges, the disk. Of the queue it is a sample, a few seconds old,
/// taken from the one snapshot that all readers share, and only while somebody listens: however often and by however many it is
/// asked, no question reaches the database for it.
/// </summary>
public sealed class QueueGauges : PeriodicService
{
    private readonly QueuePositions _positions;
    private readonly IQueueStore _store;
    private readonly BackendPool _pool;
    private readonly ObservableGauge<double> _oldestWait;
    private Sample? _sample;

    /// <summary>Makes the instruments.</summary>
    public QueueGauges(
        IMeterFactory meters,
        QueuePositions positions,
        IQueueStore store,
        BackendPool pool,
        ImageFiles images,
        DatabaseReadiness readiness,
        TimeProvider time,
        ILogger<QueueGauges> logger)
        : base(readiness, time, logger)
    {
        ArgumentNullException.ThrowIfNull(meters);
        (_positions, _store, _pool) = (positions, store, pool);
        var meter = meters.Create(QueueMetrics.MeterName);
        meter.CreateObservableUpDownCounter<int>(
            "imagequeue.queue.length", () => Sampled(sample => sample.Length), "{message}", "Messages whose image waits for its turn; the same from every process of a database.");
        _oldestWait = meter.CreateObservableGauge<double>(
            "imagequeue.queue.oldest_wait", () => Sampled(sample => sample.OldestQueuedAt is { } at ? Math.Max(0, (time.GetUtcNow() - at).TotalSeconds) : 0), "s", "How long the first in line has waited.");
        meter.CreateObservableGauge<int>(
            "imagequeue.forge.healthy", () => OfForges(forge => forge.Healthy == true), "{forge}", "1 while the Forge answers as it should, as far as this process knows.");
        meter.CreateObservableGauge<int>(
            "imagequeue.forge.generating", () => OfForges(forge => forge.Busy), "{forge}", "1 while a request of this process is at the Forge.");
        meter.CreateObservableGauge<int>(
            "imagequeue.forge.paused", () => OfForges(forge => forge.Paused), "{forge}", "1 while an operator keeps the Forge from being used.");
        meter.CreateObservableGauge<long>(
            "imagequeue.images.disk.free", () => images.FreeBytes() is { } free ? [new Measurement<long>(free)] : [], "By", "Room on the disk of the images folder.");
    }

    /// <inheritdoc/>
    protected override string Activity => "Sampling the queue for metrics";

    /// <inheritdoc/>
    protected override TimeSpan Interval => TimeSpan.FromSeconds(5);

    /// <inheritdoc/>
    protected override Task RunPassAsync(CancellationToken cancellationToken) => _oldestWait.Enabled ? SampleAsync(cancellationToken) : Task.CompletedTask;

    internal async Task SampleAsync(CancellationToken cancellationToken)
    {
        Sample? sample = null;
        try
        {
            var length = await _positions.CountAsync(cancellationToken);
            var oldest = length == 0 ? [] : await _store.ListWaitingAsync(null, 1, cancellationToken);
            sample = new Sample(length, oldest.Count == 0 ? null : oldest[0].QueuedAt);
        }
        finally
        {
            Volatile.Write(ref _sample, sample); // After a failure no figure is better than an old one.
        }
    }

    private IEnumerable<Measurement<T>> Sampled<T>(Func<Sample, T> value)
        where T : struct =>
        Volatile.Read(ref _sample) is { } sample ? [new Measurement<T>(value(sample))] : [];

    private IEnumerable<Measurement<int>> OfForges(Func<BackendStatus, bool> value) =>
        _pool.Status.Select(forge => new Measurement<int>(value(forge) ? 1 : 0, new KeyValuePair<string, object?>(QueueMetrics.ForgeKey, forge.Name)));

    private sealed record Sample(int Length, DateTimeOffset? OldestQueuedAt);
}
