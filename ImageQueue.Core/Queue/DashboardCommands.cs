using Hangfire;
using Hangfire.States;
using Hangfire.Storage;

namespace ImageQueue.Core.Queue;

/// <summary>What an operator did to an image job in Hangfire's dashboard and has not reached its message yet.</summary>
/// <param name="HangfireJobId">The job.</param>
/// <param name="Kind">What was done to it.</param>
/// <param name="Entry">Its entry in Hangfire's set: one of its own for each action, so that taking one never takes a later one with it.</param>
public sealed record DashboardCommand(string HangfireJobId, DashboardCommandKind Kind, string Entry);

/// <summary>What an operator can do to a job that matters to its message.</summary>
public enum DashboardCommandKind
{
    /// <summary>The job was deleted: a cancel.</summary>
    Cancel,

    /// <summary>A failed or deleted job was put into the queue again: a retry.</summary>
    Retry,
}

/// <summary>
/// Notes operators' actions where every process can see them: in a Hangfire set, in the very transaction that changes the job's
/// state, so that neither is without the other.
/// </summary>
public sealed class DashboardCommands(JobStorage storage) : IHostJobFilter, IApplyStateFilter
{
    /// <summary>The set.</summary>
    public const string SetName = "imagequeue:dirty";

    /// <inheritdoc/>
    public void OnStateApplied(ApplyStateContext context, IWriteOnlyTransaction transaction)
    {
        if (ImageJobs.IsImageJob(context.BackgroundJob.Job) && KindOf(context.OldStateName, context.NewState) is { } kind)
            transaction.AddToSet(SetName, $"{kind}/{context.BackgroundJob.Id}/{Guid.NewGuid():N}");
    }

    /// <inheritdoc/>
    public void OnStateUnapplied(ApplyStateContext context, IWriteOnlyTransaction transaction)
    {
        // Only what a job comes to matters.
    }

    /// <summary>All that are open. Usually none.</summary>
    public IReadOnlyList<DashboardCommand> Open()
    {
        using var connection = storage.GetConnection();
        return [.. connection.GetAllItemsFromSet(SetName).Select(Parse).OfType<DashboardCommand>()];
    }

    /// <summary>An open wish for the job to be run again, or null.</summary>
    public DashboardCommand? FindRetry(string hangfireJobId) =>
        Open().FirstOrDefault(wish => wish.Kind == DashboardCommandKind.Retry && wish.HangfireJobId == hangfireJobId);

    /// <summary>The wish has reached its message, or has come to nothing.</summary>
    public void Close(DashboardCommand wish)
    {
        using var connection = storage.GetConnection();
        using var transaction = connection.CreateWriteTransaction();
        transaction.RemoveFromSet(SetName, wish.Entry);
        transaction.Commit();
    }

    private static DashboardCommandKind? KindOf(string? oldState, IState newState)
    {
        if (ImageJobs.IsOurs(newState))
            return null;
        if (newState is DeletedState)
            return DashboardCommandKind.Cancel;
        return newState is EnqueuedState or ScheduledState && (oldState == FailedState.StateName || oldState == DeletedState.StateName)
            ? DashboardCommandKind.Retry
            : null;
    }

    private static DashboardCommand? Parse(string entry) =>
        entry.Split('/') is [var kind, var job, _] && Enum.TryParse<DashboardCommandKind>(kind, out var known) ? new DashboardCommand(job, known, entry) : null;
}
