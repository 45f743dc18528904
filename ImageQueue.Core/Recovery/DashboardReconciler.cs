using Hangfire.States;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Requests;

namespace ImageQueue.Core.Recovery;

/// <summary>
/// Applies operators' commands in Hangfire's dashboard to messages: a deleted job cancels its request, a requeued failed or deleted job
/// retries it. Every process looks each second; the first one applies a command.
/// </summary>
internal sealed class DashboardReconciler(
    IRequestStore store, ImageJobs jobs, DashboardCommands commands, CancelImageRequest cancel, IQueueOrder order,
    DatabaseReadiness readiness, TimeProvider time, ILogger<DashboardReconciler> logger)
    : PeriodicService(readiness, time, logger)
{
    /// <summary>Commands whose failure was logged.</summary>
    private readonly HashSet<string> _reported = new(StringComparer.Ordinal);

    protected override string Activity => "Applying operators' commands in Hangfire to requests";

    protected override TimeSpan Interval => TimeSpan.FromSeconds(1);

    /// <summary>Applies all open commands; one that fails does not delay the others.</summary>
    public async Task ReconcileAsync(CancellationToken cancellationToken)
    {
        foreach (var command in commands.Open())
        {
            try
            {
                await ApplyAsync(command, cancellationToken);
                _reported.Remove(command.Entry);
            }
            catch (Exception e) when (e is not OperationCanceledException || !cancellationToken.IsCancellationRequested)
            {
                Logger.Log(
                    _reported.Add(command.Entry) ? LogLevel.Warning : LogLevel.Debug, e,
                    "The command {Command} for Hangfire job {HangfireJobId} could not be applied to its request yet.",
                    command.Kind, command.HangfireJobId);
            }
        }
    }

    protected override Task RunPassAsync(CancellationToken cancellationToken) => ReconcileAsync(cancellationToken);

    internal Task CancelAsync(string hangfireJobId, CancellationToken cancellationToken) =>
        cancel.CancelByJobAsync(hangfireJobId, cancellationToken);

    /// <summary>Queues the request again under the job that an operator has requeued.</summary>
    /// <returns>Whether the request waits under that job now.</returns>
    internal async Task<bool> RetryAsync(string hangfireJobId, string? by, CancellationToken cancellationToken)
    {
        Actor.Current = by;
        // No message names the job when the request has another job by now, which then counts.
        if (await store.FindByHangfireJobAsync(hangfireJobId, cancellationToken) is not { } message)
            return false;
        var position = (await order.GetAsync(cancellationToken)).PositionOf(hangfireJobId) ?? 1;
        if (!(await store.RetryAsync(message.Id, position, UserLimits.None, cancellationToken)).Applied)
            return false;
        // A crash here leaves a queued row without a job. The sweep gives it another one; the first of the two claims it.
        await store.AttachJobAsync(message.Id, hangfireJobId, replaces: null, cancellationToken);
        order.Invalidate();
        Logger.LogInformation(
            "Message {MessageId} is queued again: an operator requeued its Hangfire job {HangfireJobId}.", message.Id, hangfireJobId);
        return true;
    }

    private async Task ApplyAsync(DashboardCommand command, CancellationToken cancellationToken)
    {
        Actor.Current = command.By;
        var state = jobs.Find(command.HangfireJobId)?.Name;
        if (command.Kind == DashboardCommandKind.Cancel && state == DeletedState.StateName)
            await CancelAsync(command.HangfireJobId, cancellationToken);
        else if (command.Kind == DashboardCommandKind.Retry && state == ProcessingState.StateName)
            return; // A worker has the job. It finds the command itself, and only it knows whether it has applied it.
        else if (command.Kind == DashboardCommandKind.Retry && ImageJobs.WillRunIn(state))
            await RetryAsync(command.HangfireJobId, command.By, cancellationToken);

        // Last: a crash before this repeats what the guards then refuse.
        commands.Close(command);
    }
}
