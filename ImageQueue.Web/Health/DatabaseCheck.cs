using ImageQueue.Core.Hosting;
using ImageQueue.Core.Storage;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace ImageQueue.Web.Health;

/// <summary>The message database answers, and can be written: with a full disk no submit is stored.</summary>
internal sealed class DatabaseCheck(IMessageStore store, IMessageDatabase database, TimeProvider time) : IHealthCheck
{
    /// <summary>The lease whose renewal is the write.</summary>
    private const string LeaseName = "readiness";

    private static readonly TimeSpan LeaseTerm = TimeSpan.FromSeconds(30);

    private readonly LeaderLease _lease = new(store, LeaseName, LeaseTerm, time);

    public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        try
        {
            await store.LatestRevisionAsync(cancellationToken);
            await _lease.TryAcquireAsync(cancellationToken); // A write at most each ten seconds.
            return HealthCheckResult.Healthy();
        }
        catch (StoreUnavailableException e)
        {
            return HealthCheckResult.Unhealthy($"{e.Message} ({database.Location}: {e.InnerException?.Message})");
        }
    }
}

/// <summary>The start has found the tables of this version. Until then it keeps looking, or ends the process.</summary>
internal sealed class SchemaCheck(DatabaseReadiness readiness) : IHealthCheck
{
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default) =>
        Task.FromResult(readiness.Ready.IsCompletedSuccessfully
            ? HealthCheckResult.Healthy()
            : HealthCheckResult.Unhealthy("The tables have not been looked at yet: the database has not answered since the start."));
}
