using Hangfire;
using Hangfire.Common;
using ImageQueue.Core.Queue;

namespace ImageQueue.Core.Recovery;

/// <summary>The recurring jobs in Hangfire: the sweep and the cleanup.</summary>
public sealed class RecurringJobs(IRecurringJobManagerV2 manager)
{
    /// <summary>The sweep's id.</summary>
    public const string SweepId = "sweep";

    /// <summary>Each minute.</summary>
    public const string SweepCron = "* * * * *";

    /// <summary>Schedules both, or restores their schedules.</summary>
    public void Schedule()
    {
        manager.AddOrUpdate(
            SweepId, Job.FromExpression<Sweep>(
                job => job.RunAsync(CancellationToken.None), JobQueues.Maintenance), SweepCron, new RecurringJobOptions());
        manager.AddOrUpdate(
            Cleanup.Id, Job.FromExpression<Cleanup>(
                job => job.RunAsync(CancellationToken.None), JobQueues.Cleanup), Cron.Hourly(), new RecurringJobOptions());
    }
}
