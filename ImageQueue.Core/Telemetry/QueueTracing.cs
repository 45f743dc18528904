using System.Diagnostics;
using Hangfire.Client;
using Hangfire.Server;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Queue;

namespace ImageQueue.Core.Telemetry;

/// <summary>
/// The spans of a request's way: <c>send images</c> puts its job into the queue, <c>process images</c> is a worker's run of it,
/// <c>generate</c> an attempt at one Forge, with the HTTP call beneath. One trace, as far as somebody listens; without a listener
/// there are none. Ids belong here; words of the user's, and of Forge's, never do.
/// </summary>
public static class QueueTracing
{
    /// <summary>The source's name.</summary>
    public const string SourceName = "ImageQueue";

    private static readonly ActivitySource Source = new(SourceName);

    /// <summary>Whether anybody listens.</summary>
    internal static bool IsOn => Source.HasListeners();

    internal static Activity? StartSend(long messageId) => Start("send images", ActivityKind.Producer, default)?.SetTag("messaging.operation.type", "send").SetTag(MessageId, messageId);

    internal static Activity? StartProcess(PerformContext context, long messageId) =>
        IsOn
            ? Start("process images", ActivityKind.Consumer, JobTrace.Of(context))
                ?.SetTag("messaging.operation.type", "process").SetTag("messaging.message.id", context.BackgroundJob.Id).SetTag(MessageId, messageId)
            : null;

    internal static Activity? StartGenerate(string forge, int attempt) =>
        Source.StartActivity("generate")?.SetTag(QueueMetrics.ForgeKey, forge).SetTag("imagequeue.attempt", attempt);

    /// <summary>It did not come to its end. The kind is enough: Forge's words may hold the prompt.</summary>
    internal static void Fail(this Activity? activity, Exception e) => activity?.SetStatus(ActivityStatusCode.Error).SetTag(
        QueueMetrics.ErrorKey, e is ForgeException { Failure: var failure } ? QueueMetrics.NameOf(failure) : e.GetType().FullName);

    private const string MessageId = "imagequeue.message.id";

    private static Activity? Start(string name, ActivityKind kind, ActivityContext parent) =>
        (parent == default ? Source.StartActivity(name, kind) : Source.StartActivity(name, kind, parent))
            ?.SetTag("messaging.system", "hangfire").SetTag("messaging.destination.name", ImageJobs.QueueName);
}

/// <summary>
/// Keeps with an image job whose doing it is, as parameters of the job (W3C trace context): its arguments stay the message's id
/// alone. A start, which puts the whole queue back, leaves none: the run begins a trace of its own.
/// </summary>
public sealed class JobTrace : IHostJobFilter, IClientFilter
{
    private const string Parent = "traceparent";
    private const string State = "tracestate";

    /// <inheritdoc/>
    public void OnCreating(CreatingContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        if (!ImageJobs.IsImageJob(context.Job) || !QueueTracing.IsOn || Activity.Current is not { IdFormat: ActivityIdFormat.W3C, Id: { } id } current)
            return;
        context.SetJobParameter(Parent, id);
        if (current.TraceStateString is { Length: > 0 } state)
            context.SetJobParameter(State, state);
    }

    /// <inheritdoc/>
    public void OnCreated(CreatedContext context)
    {
        // Only what is kept with it matters.
    }

    internal static ActivityContext Of(PerformContext context) =>
        ActivityContext.TryParse(context.GetJobParameter<string>(Parent), context.GetJobParameter<string>(State), isRemote: true, out var parent) ? parent : default;
}
