using System.Diagnostics.Metrics;
using System.Text;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Messages;

namespace ImageQueue.Core.Telemetry;

/// <summary>
/// What is counted and timed while ImageQueue works, named as OpenTelemetry's conventions have it. <see cref="QueueGauges"/> has
/// what is looked at. No attribute names a user, a prompt or a message: each has a few values.
/// </summary>
public sealed class QueueMetrics
{
    /// <summary>The meter's name.</summary>
    public const string MeterName = "ImageQueue";

    /// <summary>How a request ended: complete, error or cancelled.</summary>
    internal const string OutcomeKey = "imagequeue.outcome";

    /// <summary>A Forge, by its name in the settings.</summary>
    internal const string ForgeKey = "imagequeue.forge";

    /// <summary>One of <see cref="ErrorCodes"/>, or what kind of trouble it was.</summary>
    internal const string ErrorKey = "error.type";

    /// <summary>From a moment to a day.</summary>
    private static readonly InstrumentAdvice<double> Waits = new() { HistogramBucketBoundaries = [0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400] };

    private static readonly InstrumentAdvice<double> ImageLocator = new() { HistogramBucketBoundaries = [0.5, 1, 2, 4, 6, 8, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600] };

    private static readonly InstrumentAdvice<double> Moments = new() { HistogramBucketBoundaries = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60] };

    private readonly Counter<long> _submits;
    private readonly Counter<long> _requests;
    private readonly Counter<long> _merges;
    private readonly Counter<long> _deliveries;
    private readonly Histogram<double> _wait;
    private readonly Histogram<double> _duration;
    private readonly Histogram<double> _generation;
    private readonly Histogram<double> _gap;
    private readonly Histogram<double> _lag;
    private readonly UpDownCounter<long> _streams;

    /// <summary>Makes the instruments.</summary>
    public QueueMetrics(IMeterFactory meters)
    {
        ArgumentNullException.ThrowIfNull(meters);
        var meter = meters.Create(MeterName);
        _submits = meter.CreateCounter<long>("imagequeue.submits", "{request}", "Requests that were taken.");
        _requests = meter.CreateCounter<long>("imagequeue.requests", "{request}", "Requests that have ended, by outcome, error and Forge.");
        _wait = meter.CreateHistogram("imagequeue.request.wait", "s", "From being queued to an attempt's beginning.", tags: null, Waits);
        _duration = meter.CreateHistogram("imagequeue.request.duration", "s", "From being queued to the end.", tags: null, Waits);
        _generation = meter.CreateHistogram("imagequeue.generation.duration", "s", "What Forge took for an image; waiting in its own line does not count.", tags: null, ImageLocator);
        _gap = meter.CreateHistogram("imagequeue.handover.gap", "s", "How long a Forge that had answered stood idle although a request waited.", tags: null, Moments);
        _merges = meter.CreateCounter<long>("imagequeue.merges", "{merge}", "Merges into messages' metadata, by transition, and whether the guard let them.");
        _lag = meter.CreateHistogram("imagequeue.feed.lag", "s", "From a row's change to its watchers.", tags: null, Moments);
        _streams = meter.CreateUpDownCounter<long>("imagequeue.streams", "{stream}", "Watched conversations and streams that are open.");
        _deliveries = meter.CreateCounter<long>("imagequeue.webhooks.deliveries", "{delivery}", "Tries to deliver a webhook, by receiver; those with an error.type failed.");
    }

    /// <summary>A Forge's failure as an <c>error.type</c>: snake_case, as the codes are.</summary>
    internal static string NameOf(ForgeFailure failure)
    {
        var name = new StringBuilder();
        foreach (var letter in failure.ToString())
            name.Append(char.IsUpper(letter) && name.Length > 0 ? "_" : "").Append(char.ToLowerInvariant(letter));
        return name.ToString();
    }

    /// <summary>A request was taken.</summary>
    internal void Submitted() => _submits.Add(1);

    /// <summary>The store has tried a transition.</summary>
    /// <param name="transition">What came of it.</param>
    /// <param name="name">The transition's name, a tag's value.</param>
    internal void Wrote(Transition transition, string name)
    {
        _merges.Add(1, new("imagequeue.transition", name), new("imagequeue.applied", transition.Applied));
        if (transition is not { Applied: true, Message: { QueuedAt: { } queuedAt } message })
            return;
        if (name == "claim")
            _wait.Record(Seconds(message.UpdatedAt - queuedAt));
        else if (name is "complete" or "fail" or "cancel" && message.Status is { } outcome)
            Ended(message, outcome, message.UpdatedAt - queuedAt);
    }

    /// <summary>A Forge has generated an image.</summary>
    internal void CompletedGeneration(string forge, TimeSpan duration) => _generation.Record(duration.TotalSeconds, new KeyValuePair<string, object?>(ForgeKey, forge));

    /// <summary>A Forge has got its next request.</summary>
    /// <param name="forge">Its name.</param>
    /// <param name="idle">How long it was free before; null when something else has kept it meanwhile.</param>
    /// <param name="claimed">The request. One that came only meanwhile has not kept the Forge waiting.</param>
    internal void HandedOver(string forge, TimeSpan? idle, Message claimed)
    {
        if (idle is { } gap && claimed.UpdatedAt - claimed.QueuedAt >= gap)
            _gap.Record(gap.TotalSeconds, new KeyValuePair<string, object?>(ForgeKey, forge));
    }

    /// <summary>A change has got to its watchers.</summary>
    internal void Told(TimeSpan lag) => _lag.Record(Seconds(lag));

    /// <summary>A webhook was sent.</summary>
    /// <param name="receiver">Its name.</param>
    /// <param name="error">What went wrong; null when it was taken.</param>
    internal void Delivered(string receiver, string? error)
    {
        if (error is null)
            _deliveries.Add(1, new KeyValuePair<string, object?>("imagequeue.receiver", receiver));
        else
            _deliveries.Add(1, new("imagequeue.receiver", receiver), new(ErrorKey, error));
    }

    /// <summary>Somebody watches, until the result is disposed of.</summary>
    /// <param name="transport">By which way: sse or signalr.</param>
    public IDisposable Watching(string transport)
    {
        _streams.Add(1, new KeyValuePair<string, object?>("imagequeue.transport", transport));
        return new Watch(() => _streams.Add(-1, new KeyValuePair<string, object?>("imagequeue.transport", transport)));
    }

    private void Ended(Message message, string outcome, TimeSpan duration)
    {
        var tags = new System.Diagnostics.TagList { { OutcomeKey, outcome } };
        _duration.Record(Seconds(duration), tags);
        if (message.ErrorCode is { } code && outcome == MessageStatus.Error)
            tags.Add(ErrorKey, code);
        if (message.Backend is { } forge)
            tags.Add(ForgeKey, forge);
        _requests.Add(1, tags);
    }

    /// <summary>Other machines' clocks may be a little off.</summary>
    private static double Seconds(TimeSpan span) => Math.Max(0, span.TotalSeconds);

    private sealed class Watch(Action end) : IDisposable
    {
        private Action? _end = end;

        public void Dispose() => Interlocked.Exchange(ref _end, null)?.Invoke();
    }
}
