using Hangfire;
using Hangfire.Common;

namespace ImageQueue.Core.Recovery;

/// <summary>The recurring jobs in Hangfire: the sweep, and the cleanup where a retention is set.</summary>
public sealed class RecurringJobs(Cleanup cleanup, IRecurringJobManagerV2 manager)
{
    /// <summary>The sweep's queue in Hangfire, with a worker of its own: generating never delays it.</summary>
    public const string MaintenanceQueue = "maintenance";

    /// <summary>The cleanup's queue in Hangfire, with a worker of its own: a first retention on 100,000 images takes long.</summary>
    public const string CleanupQueue = "cleanup";

    /// <summary>The sweep's id.</summary>
    public const string SweepId = "sweep";

    /// <summary>Each minute.</summary>
    public const string SweepCron = "* * * * *";

    /// <summary>Schedules both, or restores their schedules.</summary>
    public void Schedule()
    {
        manager.AddOrUpdate(
            SweepId, Job.FromExpression<Sweep>(job => job.RunAsync(CancellationToken.None), MaintenanceQueue), SweepCron, new RecurringJobOptions());
        if (cleanup.IsNeeded)
        {
            manager.AddOrUpdate(
                Cleanup.Id, Job.FromExpression<Cleanup>(job => job.RunAsync(CancellationToken.None), CleanupQueue), Cron.Hourly(), new RecurringJobOptions());
        }
        else
        {
            manager.RemoveIfExists(Cleanup.Id);
        }
    }
}
