using System.Diagnostics.Metrics;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Telemetry;

namespace ImageQueue.Core.Statistics;

/// <summary>
/// The queue's gauges: a sample of the snapshot that all readers share, a few seconds old and taken only while metrics are collected.
/// However often that is, no collection reaches the database.
/// </summary>
internal sealed class QueueGauges : PeriodicService
{
    private readonly QueuePositions _positions;
    private readonly IQueueStore _store;
    private readonly ObservableGauge<double> _oldestWait;
    private Sample? _sample;

    public QueueGauges(
        IMeterFactory meters, QueuePositions positions, IQueueStore store, DatabaseReadiness readiness, TimeProvider time,
        ILogger<QueueGauges> logger)
        : base(readiness, time, logger)
    {
        ArgumentNullException.ThrowIfNull(meters);
        (_positions, _store) = (positions, store);
        var meter = meters.Create(QueueMetrics.MeterName);
        meter.CreateObservableUpDownCounter<int>(
            "imagequeue.queue.length", () =>
                Sampled(sample => sample.Length), "{message}", "Waiting requests; the same from every process of a database.");
        _oldestWait = meter.CreateObservableGauge<double>(
            "imagequeue.queue.oldest_wait",
            () => Sampled(sample => sample.OldestQueuedAt is { } at ? Math.Max(0, (time.GetUtcNow() - at).TotalSeconds) : 0),
            "s",
            "How long the oldest waiting request has waited.");
    }

    protected override string Activity => "Sampling the queue for metrics";

    protected override TimeSpan Interval => TimeSpan.FromSeconds(5);

    protected override Task RunPassAsync(CancellationToken cancellationToken) =>
        _oldestWait.Enabled ? SampleAsync(cancellationToken) : Task.CompletedTask;

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

    private sealed record Sample(int Length, DateTimeOffset? OldestQueuedAt);
}
