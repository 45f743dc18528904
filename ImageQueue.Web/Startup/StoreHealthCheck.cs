using ImageQueue.Core.Messages;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace ImageQueue.Web.Startup;

/// <summary>Ready means: the message database answers.</summary>
internal sealed class StoreHealthCheck(IMessageStore store) : IHealthCheck
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
            return HealthCheckResult.Unhealthy(e.Message, e);
        }
    }
}
