using Hangfire.States;
using Hangfire.Storage;

namespace ImageQueue.Core.Queue;

/// <summary>
/// Tells the queue's order of every state that an image job comes to in this process, the dashboard's doing too. Hangfire calls
/// its filters before it commits (Hangfire #2502), so this is a hint and not yet the truth.
/// </summary>
public sealed class QueueWatch(QueueOrder order, HeldJobs held) : IHostJobFilter, IApplyStateFilter
{
    /// <inheritdoc/>
    public void OnStateApplied(ApplyStateContext context, IWriteOnlyTransaction transaction)
    {
        var job = context.BackgroundJob;
        if (job.Job?.Queue != ImageJobs.QueueName)
            return;
        if (context.NewState is ProcessingState)
            held.Take(job.Id);
        else if (context.OldStateName == ProcessingState.StateName)
            held.Drop(job.Id);
        order.Announce(job.Id, context.NewState.Name, isNew: context.OldStateName is null);
    }

    /// <inheritdoc/>
    public void OnStateUnapplied(ApplyStateContext context, IWriteOnlyTransaction transaction)
    {
        // Only what a job comes to matters.
    }
}
