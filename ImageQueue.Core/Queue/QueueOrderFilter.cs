using Hangfire.States;
using Hangfire.Storage;

namespace ImageQueue.Core.Queue;

/// <summary>Reports each state change of an image job in this process to the order, the dashboard's changes included.</summary>
/// <remarks>Hangfire calls its filters before it commits (Hangfire #2502), so this is a hint.</remarks>
internal sealed class QueueOrderFilter(IQueueOrder order) : IHostJobFilter, IApplyStateFilter
{
    public void OnStateApplied(ApplyStateContext context, IWriteOnlyTransaction transaction)
    {
        if (context.BackgroundJob.Job?.Queue == ImageJobs.QueueName)
            order.OnStateChanging(context.BackgroundJob.Id, context.OldStateName, context.NewState.Name);
    }

    public void OnStateUnapplied(ApplyStateContext context, IWriteOnlyTransaction transaction) { } // Only the new state matters.
}
