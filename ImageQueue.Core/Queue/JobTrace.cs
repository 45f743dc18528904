using System.Diagnostics;
using Hangfire.Client;
using Hangfire.Server;
using ImageQueue.Core.Telemetry;

namespace ImageQueue.Core.Queue;

/// <summary>
/// Stores the trace context (W3C) of the caller as parameters of an image job; its arguments stay the message's id alone. A rebuilt
/// queue has none: the run of such a job begins a trace of its own.
/// </summary>
internal sealed class JobTrace : IHostJobFilter, IClientFilter
{
    private const string Parent = "traceparent";
    private const string State = "tracestate";

    public void OnCreating(CreatingContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        if (!ImageJobs.IsImageJob(context.Job) || !QueueTracing.IsOn)
            return;
        if (Activity.Current is not { IdFormat: ActivityIdFormat.W3C, Id: { } id } current)
            return;
        context.SetJobParameter(Parent, id);
        if (current.TraceStateString is { Length: > 0 } state)
            context.SetJobParameter(State, state);
    }

    public void OnCreated(CreatedContext context) { } // Only the parameters matter.

    /// <summary>The context that the job was created in; the default one when it has none, or without a listener.</summary>
    internal static ActivityContext ReadContext(PerformContext context) =>
        QueueTracing.IsOn
            && ActivityContext.TryParse(
                context.GetJobParameter<string>(Parent), context.GetJobParameter<string>(State), isRemote: true, out var parent)
            ? parent
            : default;
}
