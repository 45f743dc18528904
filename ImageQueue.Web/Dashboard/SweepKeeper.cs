using Hangfire;
using Hangfire.Storage;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Recovery;

namespace ImageQueue.Web.Dashboard;

/// <summary>Puts the sweep back among the recurring jobs when somebody has removed or disabled it: one click must not end the repairs.</summary>
internal sealed class SweepKeeper(JobStorage storage, QueueRebuild rebuild, DatabaseReadiness readiness, TimeProvider time, ILogger<SweepKeeper> logger) : BackgroundService
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(20);

    private bool _wasThere;

    /// <summary>One look.</summary>
    internal void Look()
    {
        var isThere = Find(storage) is not null;
        if (!isThere && _wasThere)
        {
            rebuild.Schedule();
            logger.LogWarning("The recurring job {Sweep} was removed or changed, and is back: without it, stuck requests would stay stuck.", QueueRebuild.SweepId);
        }

        _wasThere |= isThere;
    }

    /// <summary>The sweep's schedule; null when it is missing, or is not as it should be.</summary>
    internal static RecurringJobDto? Find(JobStorage storage)
    {
        using var connection = storage.GetReadOnlyConnection();
        return connection.GetRecurringJobs([QueueRebuild.SweepId]) is [{ Removed: false, Cron: QueueRebuild.SweepCron, Error: null } sweep] ? sweep : null;
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await readiness.Ready.WaitAsync(stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                Look();
            }
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
            {
                logger.LogDebug(e, "Whether the sweep is scheduled cannot be told just now.");
            }

            await Task.Delay(Interval, time, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }
}
