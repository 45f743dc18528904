using Hangfire.States;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Requests;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Recovery;

/// <summary>
/// Brings messages into line with what operators did in Hangfire's dashboard: a deleted job is a cancelled request, a failed
/// or deleted one put back is a retried request. Every process looks each second; whoever comes first does it.
/// </summary>
public sealed class DashboardReconciler(
    IRequestStore store,
    ImageJobs jobs,
    DashboardCommands wishes,
    CancelImageRequest cancel,
    IQueueOrder order,
    DatabaseReadiness readiness,
    TimeProvider time,
    ILogger<DashboardReconciler> logger)
    : PeriodicService(readiness, time, logger)
{
    // Wishes that could not be granted yet, which the log has been told of.
    private readonly HashSet<string> _told = new(StringComparer.Ordinal);

    /// <inheritdoc/>
    protected override string Activity => "Applying operators' commands in Hangfire to requests";

    /// <inheritdoc/>
    protected override TimeSpan Interval => TimeSpan.FromSeconds(1);

    /// <summary>Grants all open wishes; one that cannot be granted keeps no other waiting.</summary>
    public async Task FollowAsync(CancellationToken cancellationToken)
    {
        foreach (var wish in wishes.Open())
        {
            try
            {
                await GrantAsync(wish, cancellationToken);
                _told.Remove(wish.Entry);
            }
            catch (Exception e) when (e is not OperationCanceledException || !cancellationToken.IsCancellationRequested)
            {
                Logger.Log(
                    _told.Add(wish.Entry) ? LogLevel.Warning : LogLevel.Debug, e, "What an operator did to Hangfire job {HangfireJobId} could not be brought to its message yet; trying again.", wish.HangfireJobId);
            }
        }
    }

    private async Task GrantAsync(DashboardCommand wish, CancellationToken cancellationToken)
    {
        var state = jobs.Find(wish.HangfireJobId)?.Name;
        if (wish.Kind == DashboardCommandKind.Cancel && state == DeletedState.StateName)
            await CancelAsync(wish.HangfireJobId, cancellationToken);
        else if (wish.Kind == DashboardCommandKind.Retry && state == ProcessingState.StateName)
            return; // A worker has it already; it finds the wish itself, and alone knows whether it has granted it.
        else if (wish.Kind == DashboardCommandKind.Retry && ImageJobs.WillRunIn(state))
            await RetryAsync(wish.HangfireJobId, cancellationToken);

        // Last: a crash before this repeats what the guards then refuse.
        wishes.Close(wish);
    }

    internal Task CancelAsync(string hangfireJobId, CancellationToken cancellationToken) =>
        cancel.CancelByJobAsync(hangfireJobId, "an operator deleted its job", cancellationToken);

    /// <summary>Queues the request again for the job that an operator has put back.</summary>
    /// <returns>Whether the request waits for that job now.</returns>
    internal async Task<bool> RetryAsync(string hangfireJobId, CancellationToken cancellationToken)
    {
        // None when the request has got another job meanwhile: that one is what counts then.
        if (await store.FindByHangfireJobAsync(hangfireJobId, cancellationToken) is not { } message)
            return false;
        var position = (await order.GetAsync(cancellationToken)).PositionOf(hangfireJobId) ?? 1;
        if (!(await store.RetryAsync(message.Id, position, UserLimits.None, cancellationToken)).Applied)
            return false;
        // A crash here leaves a queued row without a job, which the sweep gives another one; the first to come claims it.
        await store.AttachJobAsync(message.Id, hangfireJobId, replaces: null, cancellationToken);
        order.Invalidate();
        Logger.LogInformation("Message {MessageId} is queued again: an operator requeued its Hangfire job {HangfireJobId}.", message.Id, hangfireJobId);
        return true;
    }

    /// <inheritdoc/>
    protected override Task RunPassAsync(CancellationToken cancellationToken) => FollowAsync(cancellationToken);
}
