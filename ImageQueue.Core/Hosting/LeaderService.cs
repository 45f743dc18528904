namespace ImageQueue.Core.Hosting;

/// <summary>A periodic service whose passes run in one process of a database at a time: in the holder of a lease.</summary>
internal abstract class LeaderService(LeaderLease lease, DatabaseReadiness readiness, TimeProvider time, ILogger logger)
    : PeriodicService(readiness, time, logger)
{
    /// <summary>Its lease; a pass begins by acquiring it.</summary>
    protected LeaderLease Lease => lease;

    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await base.StopAsync(cancellationToken);
        try
        {
            await ResignAsync(cancellationToken);
        }
        catch (Exception e)
        {
            // Nothing is lost: another process takes the lease when its term is over.
            Logger.LogDebug(e, "The lease {Lease} could not be released; it expires.", Lease.Name);
        }
    }

    /// <summary>Releases the lease at a stop, so that another process leads at once.</summary>
    protected virtual Task ResignAsync(CancellationToken cancellationToken) => Lease.ReleaseAsync(cancellationToken);
}
