using ImageQueue.Core.Telemetry;

namespace ImageQueue.Core.Messages;

/// <summary>Reports what a store wrote to the metrics.</summary>
internal static class TransitionMetrics
{
    /// <param name="metrics">The instruments.</param>
    /// <param name="transition">The result of the write.</param>
    /// <param name="name">The transition's name, an attribute's value.</param>
    public static void RecordTransition(this QueueMetrics metrics, Transition transition, string name)
    {
        metrics.RecordMerge(name, transition.Applied);
        if (transition is not { Applied: true, Message: { QueuedAt: { } queuedAt } message })
            return;
        if (name == "claim")
        {
            metrics.RecordWait(message.UpdatedAt - queuedAt);
        }
        else if (name is "complete" or "fail" or "cancel" && message.Status is { } outcome)
        {
            metrics.RecordFinish(
                outcome, outcome == MessageStatus.Error ? message.ErrorCode : null, message.Backend, message.UpdatedAt - queuedAt);
        }
    }
}
