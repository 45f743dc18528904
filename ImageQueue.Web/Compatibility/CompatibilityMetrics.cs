using System.Diagnostics.Metrics;
using ImageQueue.Core.Telemetry;

namespace ImageQueue.Web.Compatibility;

/// <summary>Counts the requests that came by other APIs.</summary>
internal sealed class CompatibilityMetrics(IMeterFactory meters)
{
    private readonly Counter<long> _requests = meters.Create(QueueMetrics.MeterName)
        .CreateCounter<long>("imagequeue.compatibility.requests", "{request}", "Requests of calls to other APIs, by API and outcome.");

    /// <summary>A request of a call has ended, or its client has left.</summary>
    public void Ended(string api, Message message) => _requests.Add(
        1,
        new KeyValuePair<string, object?>("imagequeue.api", api),
        new KeyValuePair<string, object?>("imagequeue.outcome", ImageCall.HasEnded(message) ? message.Status : "left"));
}
