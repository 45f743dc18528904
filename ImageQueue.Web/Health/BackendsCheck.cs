using ImageQueue.Core.Backends;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace ImageQueue.Web.Health;

/// <summary>The Forges answer as they should. What an operator has paused is not broken.</summary>
internal sealed class BackendsCheck(BackendPool pool, Pauses pauses) : IHealthCheck
{
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        var forges = pool.Status;
        var down = forges.Where(forge => forge is { Healthy: not true, Paused: false }).ToList();
        var all = string.Join(" ", down.Select(forge => forge.Healthy is null
            ? $"{forge.Name} has not been asked yet."
            : $"{forge.Name} is down since {forge.Since:u}: {forge.LastError?.TrimEnd('.')}."));
        if (down.Count > 0)
            return Task.FromResult(HealthCheckResult.Degraded(forges.Any(forge => forge.Healthy == true) ? all : $"No Forge is healthy; requests are taken and wait. {all}"));
        var paused = forges.Where(forge => forge.Paused).Select(forge => forge.Name).ToList();
        return Task.FromResult(HealthCheckResult.Healthy(pauses.OfQueue is { } pause
            ? $"{pause.By} has paused the queue."
            : paused.Count > 0 ? $"Paused: {string.Join(", ", paused)}." : null));
    }
}
