using Hangfire;
using Hangfire.States;
using Hangfire.Storage;

namespace ImageQueue.Core.Queue;

/// <summary>An operator's act on a job in Hangfire's dashboard that its message does not reflect yet.</summary>
/// <param name="HangfireJobId">The job.</param>
/// <param name="Kind">What the operator did.</param>
/// <param name="By">See <see cref="Actor"/>.</param>
/// <param name="Entry">Its entry in Hangfire's set, different for each act, so that closing one never closes a later one.</param>
internal sealed record DashboardCommand(string HangfireJobId, DashboardCommandKind Kind, string? By, string Entry);

/// <summary>The acts that concern a job's message.</summary>
internal enum DashboardCommandKind
{
    Cancel, // The job was deleted: cancel the request.
    Retry, // A failed or deleted job was requeued: retry the request.
}

/// <summary>
/// Records operators' acts in a Hangfire set, which every process can read, in the transaction that changes the job's state: neither
/// is ever stored without the other.
/// </summary>
internal sealed class DashboardCommands(JobStorage storage) : IHostJobFilter, IApplyStateFilter
{
    public const string SetName = "imagequeue:dirty";

    public void OnStateApplied(ApplyStateContext context, IWriteOnlyTransaction transaction)
    {
        if (ImageJobs.IsImageJob(context.BackgroundJob.Job) && KindOf(context.OldStateName, context.NewState) is { } kind)
            transaction.AddToSet(SetName, $"{kind}/{context.BackgroundJob.Id}/{Guid.NewGuid():N}/{Actor.Current}");
    }

    public void OnStateUnapplied(ApplyStateContext context, IWriteOnlyTransaction transaction) { } // Only the new state matters.

    /// <summary>All open commands; usually none.</summary>
    public IReadOnlyList<DashboardCommand> Open()
    {
        using var connection = storage.GetConnection();
        return [.. connection.GetAllItemsFromSet(SetName).Select(Parse).OfType<DashboardCommand>()];
    }

    public DashboardCommand? Find(DashboardCommandKind kind, string hangfireJobId) =>
        Open().FirstOrDefault(command => command.Kind == kind && command.HangfireJobId == hangfireJobId);

    /// <summary>Removes a command that was carried out or is void.</summary>
    public void Close(DashboardCommand command)
    {
        ArgumentNullException.ThrowIfNull(command);
        using var connection = storage.GetConnection();
        using var transaction = connection.CreateWriteTransaction();
        transaction.RemoveFromSet(SetName, command.Entry);
        transaction.Commit();
    }

    private static DashboardCommandKind? KindOf(string? oldState, IState newState)
    {
        if (ImageJobs.IsOurs(newState.Reason))
            return null;
        if (newState is DeletedState)
            return DashboardCommandKind.Cancel;
        return newState is EnqueuedState or ScheduledState && (oldState == FailedState.StateName || oldState == DeletedState.StateName)
            ? DashboardCommandKind.Retry
            : null;
    }

    private static DashboardCommand? Parse(string entry) =>
        entry.Split('/', 4) is [var kind, var job, _, var by] && Enum.TryParse<DashboardCommandKind>(kind, out var known)
            ? new DashboardCommand(job, known, by.Length > 0 ? by : null, entry)
            : null;
}
