using Hangfire;
using ImageQueue.Core.Recovery;
using ImageQueue.Web.Dashboard;
using ImageQueue.Web.Startup;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace ImageQueue.Web.Health;

/// <summary>This process's Hangfire servers work, and have said so lately. Without them requests are taken and wait.</summary>
internal sealed class JobServersCheck(IEnumerable<IHostedService> services, JobStorage storage, TimeProvider time) : IHealthCheck
{
    /// <summary>Hangfire's servers report each half minute.</summary>
    private static readonly TimeSpan LongestSilence = TimeSpan.FromMinutes(2);

    // Hangfire's questions wait for a database without hearing of anybody's patience.
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default) =>
        Task.Run(Look, CancellationToken.None).WaitAsync(cancellationToken);

    private HealthCheckResult Look()
    {
        var known = storage.GetMonitoringApi().Servers();
        var troubles = services.OfType<JobServer>().Select(WhyNot).OfType<string>().ToList();
        return troubles.Count == 0 ? HealthCheckResult.Healthy() : HealthCheckResult.Degraded(string.Join(" ", troubles));

        string? WhyNot(JobServer server)
        {
            if (!server.IsRunning)
                return $"{server.Name} is not running: it waits for the database, or stops.";
            var heard = known.Where(one => one.Name.StartsWith($"{server.Name}:", StringComparison.OrdinalIgnoreCase)).Max(one => one.Heartbeat);
            return heard is { } at && time.GetUtcNow().UtcDateTime - at < LongestSilence ? null : $"{server.Name} has not reported to Hangfire for {LongestSilence.TotalMinutes:0} minutes.";
        }
    }
}

/// <summary>The sweep is scheduled, and runs: it finds requests that are stuck.</summary>
internal sealed class RecurringJobsCheck(JobStorage storage, TimeProvider time) : IHealthCheck
{
    /// <summary>It is due each minute.</summary>
    private static readonly TimeSpan LongestDelay = TimeSpan.FromMinutes(3);

    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default) =>
        Task.Run(Look, CancellationToken.None).WaitAsync(cancellationToken);

    private HealthCheckResult Look()
    {
        if (SweepKeeper.Find(storage) is not { } sweep)
            return HealthCheckResult.Degraded($"The recurring job {QueueRebuild.SweepId} is missing or was changed. It is put back within half a minute.");
        return sweep.NextExecution is { } due && time.GetUtcNow().UtcDateTime - due > LongestDelay
            ? HealthCheckResult.Degraded($"The recurring job {QueueRebuild.SweepId} has been due since {due:u}. No Hangfire server runs it.")
            : HealthCheckResult.Healthy();
    }
}
