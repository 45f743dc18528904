using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace ImageQueue.Core.Telemetry;

/// <summary>
/// Counters and histograms, named by OpenTelemetry's conventions. No attribute names a user, a prompt or a message: each has a few
/// values. Gauges are in <c>QueueGauges</c>.
/// </summary>
public sealed class QueueMetrics
{
    /// <summary>The meter's name.</summary>
    public const string MeterName = "ImageQueue";

    /// <summary>How a request or an attempt ended.</summary>
    internal const string OutcomeKey = "imagequeue.outcome";

    /// <summary>A backend's name in the settings.</summary>
    internal const string BackendKey = "imagequeue.backend";

    /// <summary>An error code of a request, or the kind of a failure.</summary>
    internal const string ErrorKey = "error.type";

    private const string ReceiverKey = "imagequeue.receiver";
    private const string TransportKey = "imagequeue.transport";

    /// <summary>From a tenth of a second to a day.</summary>
    private static readonly InstrumentAdvice<double> Waits =
        new() { HistogramBucketBoundaries = [0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400] };

    private static readonly InstrumentAdvice<double> Generations =
        new() { HistogramBucketBoundaries = [0.5, 1, 2, 4, 6, 8, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600] };

    private static readonly InstrumentAdvice<double> Latencies =
        new() { HistogramBucketBoundaries = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60] };

    private readonly Counter<long> _submits;
    private readonly Counter<long> _requests;
    private readonly Counter<long> _attempts;
    private readonly Counter<long> _merges;
    private readonly Counter<long> _deliveries;
    private readonly Histogram<double> _wait;
    private readonly Histogram<double> _duration;
    private readonly Histogram<double> _generation;
    private readonly Histogram<double> _gap;
    private readonly Histogram<double> _lag;
    private readonly Counter<long> _openTransactions;
    private readonly UpDownCounter<long> _streams;

    /// <summary>Creates the instruments.</summary>
    public QueueMetrics(IMeterFactory meters)
    {
        ArgumentNullException.ThrowIfNull(meters);
        var meter = meters.Create(MeterName);
        _submits = meter.CreateCounter<long>("imagequeue.submits", "{request}", "Accepted requests.");
        _requests = meter.CreateCounter<long>("imagequeue.requests", "{request}", "Finished requests by outcome, error code and backend.");
        _attempts = meter.CreateCounter<long>(
            "imagequeue.backend.attempts", "{attempt}", "Ended attempts by backend and outcome: completed, failed, disrupted and others.");
        _wait = meter.CreateHistogram("imagequeue.request.wait", "s", "From queued to the start of an attempt.", tags: null, Waits);
        _duration = meter.CreateHistogram("imagequeue.request.duration", "s", "From queued to finished.", tags: null, Waits);
        _generation = meter.CreateHistogram(
            "imagequeue.generation.duration", "s", "Time a backend took for an image, without its own queue.", tags: null, Generations);
        _gap = meter.CreateHistogram(
            "imagequeue.handover.gap", "s", "Time a backend was idle between two requests although one waited.", tags: null, Latencies);
        _merges = meter.CreateCounter<long>(
            "imagequeue.merges", "{merge}", "Metadata merges by transition, and whether the guard allowed them.");
        _lag = meter.CreateHistogram("imagequeue.feed.lag", "s", "From a row's change to its watchers.", tags: null, Latencies);
        _openTransactions = meter.CreateCounter<long>(
            "imagequeue.feed.open_transactions", "{transaction}", "Transactions that held back changes for more than 2 s.");
        _streams = meter.CreateUpDownCounter<long>("imagequeue.streams", "{stream}", "Open event streams and watched conversations.");
        _deliveries = meter.CreateCounter<long>(
            "imagequeue.webhooks.deliveries", "{delivery}", "Attempts to deliver a webhook by receiver; those with an error.type failed.");
    }

    /// <summary>An enum's name as a value of an attribute: snake_case, as the error codes are.</summary>
    internal static string NameOf(Enum value)
    {
        var name = new StringBuilder();
        foreach (var letter in value.ToString())
            name.Append(char.IsUpper(letter) && name.Length > 0 ? "_" : "").Append(char.ToLowerInvariant(letter));
        return name.ToString();
    }

    internal void RecordSubmit() => _submits.Add(1);

    internal void RecordMerge(string transition, bool isApplied) =>
        _merges.Add(1, new("imagequeue.transition", transition), new("imagequeue.applied", isApplied));

    internal void RecordWait(TimeSpan wait) => _wait.Record(Seconds(wait));

    /// <summary>A request has finished.</summary>
    /// <param name="outcome">Its status.</param>
    /// <param name="errorCode">Null unless it ended in error.</param>
    /// <param name="backend">Its last backend; null when it never had one.</param>
    /// <param name="duration">From queued to finished.</param>
    internal void RecordFinish(string outcome, string? errorCode, string? backend, TimeSpan duration)
    {
        var tags = new TagList { { OutcomeKey, outcome } };
        _duration.Record(Seconds(duration), tags);
        if (errorCode is not null)
            tags.Add(ErrorKey, errorCode);
        if (backend is not null)
            tags.Add(BackendKey, backend);
        _requests.Add(1, tags);
    }

    /// <summary>An attempt has ended.</summary>
    internal void RecordAttempt(string backend, Enum result) => _attempts.Add(1, new(BackendKey, backend), new(OutcomeKey, NameOf(result)));

    internal void RecordGeneration(string backend, TimeSpan duration) =>
        _generation.Record(duration.TotalSeconds, new KeyValuePair<string, object?>(BackendKey, backend));

    /// <summary>A backend has got its next request.</summary>
    /// <param name="backend">Its name.</param>
    /// <param name="idle">How long it was free before; null when something else occupied it meanwhile.</param>
    /// <param name="waited">How long the request waited. One that arrived meanwhile has not kept the backend idle.</param>
    internal void RecordHandover(string backend, TimeSpan? idle, TimeSpan? waited)
    {
        if (idle is { } gap && waited >= gap)
            _gap.Record(gap.TotalSeconds, new KeyValuePair<string, object?>(BackendKey, backend));
    }

    internal void RecordOpenTransaction() => _openTransactions.Add(1);

    internal void RecordFeedLag(TimeSpan lag) => _lag.Record(Seconds(lag));

    /// <summary>An attempt to deliver a webhook has ended.</summary>
    /// <param name="receiver">Its name.</param>
    /// <param name="error">The kind of failure; null when the receiver accepted it.</param>
    internal void RecordDelivery(string receiver, string? error)
    {
        if (error is null)
            _deliveries.Add(1, new KeyValuePair<string, object?>(ReceiverKey, receiver));
        else
            _deliveries.Add(1, new(ReceiverKey, receiver), new(ErrorKey, error));
    }

    /// <summary>Counts a stream as open until the result is disposed.</summary>
    /// <param name="transport">sse or signalr.</param>
    public IDisposable TrackStream(string transport)
    {
        _streams.Add(1, new KeyValuePair<string, object?>(TransportKey, transport));
        return new OpenStream(() => _streams.Add(-1, new KeyValuePair<string, object?>(TransportKey, transport)));
    }

    /// <summary>Never negative: clocks of other machines may be a little off.</summary>
    private static double Seconds(TimeSpan span) => Math.Max(0, span.TotalSeconds);

    private sealed class OpenStream(Action close) : IDisposable
    {
        private Action? _close = close;

        public void Dispose() => Interlocked.Exchange(ref _close, null)?.Invoke();
    }
}
