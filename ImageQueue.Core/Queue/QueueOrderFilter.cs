using Hangfire.States;
using Hangfire.Storage;

namespace ImageQueue.Core.Queue;

/// <summary>
/// Tells the queue's order of every state that an image job comes to in this process, the dashboard's doing too. Hangfire calls
/// its filters before it commits (Hangfire #2502), so this is a hint and not yet the truth.
/// </summary>
public sealed class QueueOrderFilter(IQueueOrder order) : IHostJobFilter, IApplyStateFilter
{
    /// <inheritdoc/>
    public void OnStateApplied(ApplyStateContext context, IWriteOnlyTransaction transaction)
    {
        if (context.BackgroundJob.Job?.Queue == ImageJobs.QueueName)
            order.OnStateChanging(context.BackgroundJob.Id, context.OldStateName, context.NewState.Name);
    }

    /// <inheritdoc/>
    public void OnStateUnapplied(ApplyStateContext context, IWriteOnlyTransaction transaction)
    {
        // Only what a job comes to matters.
    }
}
