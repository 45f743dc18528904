using Hangfire;
using ImageQueue.Core.Hosting;
using ImageQueue.Web.Startup;

namespace ImageQueue.Web.Health;

/// <summary>Hangfire servers of this process that do not run or do not report: requests wait then.</summary>
internal sealed class JobServerConditions(
    IServiceProvider services, JobStorage storage, DatabaseReadiness readiness, TimeProvider time) : IConditionSource
{
    /// <summary>A Hangfire server reports every half minute.</summary>
    private static readonly TimeSpan LongestSilence = TimeSpan.FromMinutes(2);

    public string Part => "job_servers";

    // Hangfire's calls take no token: the caller's time-out ends the wait, not the call.
    public Task<IReadOnlyList<SystemCondition>> ReadAsync(CancellationToken cancellationToken) => Task.Run(Read, CancellationToken.None);

    private IReadOnlyList<SystemCondition> Read()
    {
        var known = readiness.Ready.IsCompletedSuccessfully ? storage.GetMonitoringApi().Servers() : [];
        // Not injected: a hosted service may itself need the conditions.
        return [.. services.GetServices<IHostedService>().OfType<JobServer>().Select(OneOf).OfType<SystemCondition>()];

        SystemCondition? OneOf(JobServer server)
        {
            var heartbeat = known.Where(
                one => one.Name.StartsWith($"{server.Name}:", StringComparison.OrdinalIgnoreCase)).Max(one => one.Heartbeat);
            var fault =
                !server.IsRunning ? "is not running: it waits for the database, or stops."
                : heartbeat is { } at && time.GetUtcNow().UtcDateTime - at < LongestSilence ? null
                : $"has not reported to Hangfire for {LongestSilence.TotalMinutes:0} minutes.";
            return fault is null
                ? null
                : new(ConditionCodes.JobServerMissing, $"{server.Name} {fault}", Stops: true) { Subject = server.Name };
        }
    }
}
