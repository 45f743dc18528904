using Hangfire;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Recovery;

namespace ImageQueue.Web.Dashboard;

/// <summary>Restores the sweep's recurring job when an operator has removed or disabled it.</summary>
internal sealed class SweepKeeper(
    JobStorage storage, RecurringJobs recurring, DatabaseReadiness readiness, TimeProvider time, ILogger<SweepKeeper> logger)
    : PeriodicService(readiness, time, logger)
{
    private bool _wasScheduled;

    protected override string Activity => "Keeping the sweep scheduled";

    protected override TimeSpan Interval => TimeSpan.FromSeconds(20);

    internal void Check()
    {
        var isScheduled = SweepConditions.Find(storage) is not null;
        if (!isScheduled && _wasScheduled)
        {
            recurring.Schedule();
            Logger.LogWarning(
                "Recurring job {Sweep} was removed or changed; scheduled again. Without it stuck requests are not repaired.",
                RecurringJobs.SweepId);
        }

        _wasScheduled |= isScheduled;
    }

    protected override Task RunPassAsync(CancellationToken cancellationToken)
    {
        Check();
        return Task.CompletedTask;
    }
}
