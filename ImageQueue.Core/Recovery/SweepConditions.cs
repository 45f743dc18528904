using Hangfire;
using Hangfire.Storage;
using ImageQueue.Core.Hosting;

namespace ImageQueue.Core.Recovery;

/// <summary>A sweep that is not scheduled, or not run: stuck requests are not repaired then.</summary>
public sealed class SweepConditions(JobStorage storage, DatabaseReadiness readiness, TimeProvider time) : IConditionSource
{
    /// <summary>The sweep is due each minute.</summary>
    private static readonly TimeSpan LongestDelay = TimeSpan.FromMinutes(3);

    /// <inheritdoc/>
    public string Part => "recurring_jobs";

    /// <inheritdoc/>
    // Hangfire's calls take no token: the caller's time-out ends the wait, not the call.
    public Task<IReadOnlyList<SystemCondition>> ReadAsync(CancellationToken cancellationToken) =>
        readiness.Ready.IsCompletedSuccessfully
            ? Task.Run(Read, CancellationToken.None)
            : Task.FromResult<IReadOnlyList<SystemCondition>>([]);

    /// <summary>The sweep's recurring job; null when it is missing or changed.</summary>
    public static RecurringJobDto? Find(JobStorage storage)
    {
        ArgumentNullException.ThrowIfNull(storage);
        using var connection = storage.GetReadOnlyConnection();
        return connection.GetRecurringJobs([RecurringJobs.SweepId]) is [
        { Removed: false, Cron: RecurringJobs.SweepCron, Error: null } sweep]
            ? sweep
            : null;
    }

    private IReadOnlyList<SystemCondition> Read()
    {
        if (Find(storage) is not { } sweep)
        {
            return
            [
                new(
                    ConditionCodes.SweepMissing,
                    $"Recurring job {RecurringJobs.SweepId} is missing or was changed. It is scheduled again within half a minute."),
            ];
        }

        return sweep.NextExecution is { } due && time.GetUtcNow().UtcDateTime - due > LongestDelay
            ? [new(ConditionCodes.SweepMissing, $"Recurring job {RecurringJobs.SweepId} is overdue: no Hangfire server runs it.")
                { Since = new DateTimeOffset(due, TimeSpan.Zero) }]
            : [];
    }
}
