using System.Diagnostics;

namespace ImageQueue.Core.Telemetry;

/// <summary>
/// The spans of a request: <c>send images</c> enqueues its job, <c>process images</c> is a worker's run of the job, <c>generate</c>
/// an attempt at one backend with the HTTP call beneath. One trace; none without a listener. Spans hold ids, never texts of a user
/// or of Forge.
/// </summary>
public static class QueueTracing
{
    /// <summary>The source's name.</summary>
    public const string SourceName = "ImageQueue";

    private const string MessageId = "imagequeue.message.id";

    private static readonly ActivitySource Source = new(SourceName);

    /// <summary>Whether a listener records spans.</summary>
    internal static bool IsOn => Source.HasListeners();

    internal static Activity? StartSend(long messageId) =>
        Start("send images", ActivityKind.Producer, default)?.SetTag("messaging.operation.type", "send").SetTag(MessageId, messageId);

    internal static Activity? StartProcess(string hangfireJobId, long messageId, ActivityContext parent) =>
        Start("process images", ActivityKind.Consumer, parent)
            ?.SetTag("messaging.operation.type", "process").SetTag("messaging.message.id", hangfireJobId).SetTag(MessageId, messageId);

    internal static Activity? StartGenerate(string backend, int attempt) =>
        Source.StartActivity("generate")?.SetTag(QueueMetrics.BackendKey, backend).SetTag("imagequeue.attempt", attempt);

    /// <summary>Marks the span as failed.</summary>
    /// <param name="activity">The span, if one is recorded.</param>
    /// <param name="e">Only its type is recorded: Forge's texts may hold the prompt.</param>
    /// <param name="failure">What kind of failure it was, where that is known.</param>
    internal static void Fail(this Activity? activity, Exception e, Enum? failure = null) => activity?.SetStatus(ActivityStatusCode.Error)
        .SetTag(QueueMetrics.ErrorKey, failure is null ? e.GetType().FullName : QueueMetrics.NameOf(failure));

    private static Activity? Start(string name, ActivityKind kind, ActivityContext parent) =>
        Source.StartActivity(name, kind, parent)
            ?.SetTag("messaging.system", "hangfire").SetTag("messaging.destination.name", "images");
}
