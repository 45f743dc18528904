using ImageQueue.Core.Hosting;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Storage;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace ImageQueue.Web.Health;

/// <summary>The message database answers.</summary>
internal sealed class DatabaseCheck(IMessageStore store, IMessageDatabase database) : IHealthCheck
{
    public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        try
        {
            await store.LatestRevisionAsync(cancellationToken);
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
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default) => Task.FromResult(
        readiness.Ready.IsCompletedSuccessfully
            ? HealthCheckResult.Healthy()
            : HealthCheckResult.Unhealthy("The tables have not been looked at yet: the database has not answered since the start."));
}
