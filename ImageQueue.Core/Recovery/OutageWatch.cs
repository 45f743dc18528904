using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Hosting;

namespace ImageQueue.Core.Recovery;

/// <summary>
/// Where <c>Forge:WaitForBackend</c> is set: ends requests that have waited longer than that while no process of the database had a
/// healthy backend. Without it they wait.
/// </summary>
internal sealed class OutageWatch(
    IMessageStore store, RequestRepairs repairs, FailurePolicy policy, IOptions<ForgeOptions> options, DatabaseReadiness readiness,
    TimeProvider time, ILogger<OutageWatch> logger)
    : PeriodicService(readiness, time, logger)
{
    private const int PageSize = 200;

    private long? _noneSince;

    protected override string Activity => "Ending requests that waited too long for a backend";

    protected override TimeSpan Interval => TimeSpan.FromSeconds(1);

    /// <returns>How many requests it ended.</returns>
    internal async Task<int> LookAsync(CancellationToken cancellationToken)
    {
        if (options.Value.WaitForBackend is not { } patience)
            return 0;
        Actor.Current = "outage watch";
        var ended = 0;
        UnfinishedCursor? cursor = null;
        // Asked again for each page: ending thousands takes long, and a backend can return meanwhile.
        while (await HasLastedAsync(patience, cancellationToken)
            && await store.ListWaitingLongerAsync(patience, cursor, PageSize, cancellationToken) is { Count: > 0 } page)
        {
            foreach (var row in page)
            {
                if (await repairs.FailWaitingAsync(row.Id, row.HangfireJobId, policy.NoBackend(patience), cancellationToken))
                    ended++;
            }

            cursor = new UnfinishedCursor(page[^1].QueuedAt, page[^1].Id);
        }

        if (ended > 0)
        {
            Logger.LogError(
                "{Count} requests ended in error: no backend was healthy for {Patience} (Forge:WaitForBackend).", ended, patience);
        }

        return ended;
    }

    /// <summary>Whether no process has had a healthy backend for so long.</summary>
    private async Task<bool> HasLastedAsync(TimeSpan patience, CancellationToken cancellationToken)
    {
        // A pause is no outage: a paused backend could generate the waiting requests.
        var leases = await store.ListLeasesAsync(ForgeAddress.LeasePrefix, cancellationToken);
        if (leases.Any(lease => lease.Note != ForgeAddress.UnhealthyNote)
            || (await store.ListPausesAsync(cancellationToken)).Any(pause => Pauses.IsOfQueueOrBackend(pause.Name)))
        {
            _noneSince = null;
            return false;
        }

        _noneSince ??= Time.GetTimestamp();
        return Time.GetElapsedTime(_noneSince.Value) >= patience;
    }

    protected override Task RunPassAsync(CancellationToken cancellationToken) => LookAsync(cancellationToken);
}
