using Hangfire;
using Hangfire.Storage;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Recovery;

namespace ImageQueue.Web.Dashboard;

/// <summary>Puts the sweep back among the recurring jobs when somebody has removed or disabled it: one click must not end the repairs.</summary>
internal sealed class SweepKeeper(JobStorage storage, QueueRebuild rebuild, DatabaseReadiness readiness, TimeProvider time, ILogger<SweepKeeper> logger)
    : PeriodicService(readiness, time, logger)
{
    private bool _wasThere;

    protected override string Activity => "Keeping the sweep scheduled";

    protected override TimeSpan Interval => TimeSpan.FromSeconds(20);

    /// <summary>One look.</summary>
    internal void Look()
    {
        var isThere = Find(storage) is not null;
        if (!isThere && _wasThere)
        {
            rebuild.Schedule();
            Logger.LogWarning("The recurring job {Sweep} was removed or changed, and is back: without it, stuck requests would stay stuck.", QueueRebuild.SweepId);
        }

        _wasThere |= isThere;
    }

    /// <summary>The sweep's schedule; null when it is missing, or is not as it should be.</summary>
    internal static RecurringJobDto? Find(JobStorage storage)
    {
        using var connection = storage.GetReadOnlyConnection();
        return connection.GetRecurringJobs([QueueRebuild.SweepId]) is [{ Removed: false, Cron: QueueRebuild.SweepCron, Error: null } sweep] ? sweep : null;
    }

    protected override Task RunPassAsync(CancellationToken cancellationToken)
    {
        Look();
        return Task.CompletedTask;
    }
}
