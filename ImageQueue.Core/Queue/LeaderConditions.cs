using ImageQueue.Core.Hosting;

namespace ImageQueue.Core.Queue;

/// <summary>A missing leader: no process stores queue positions then.</summary>
internal sealed class LeaderConditions(ILeaseStore leases, DatabaseReadiness readiness, TimeProvider time) : IConditionSource
{
    /// <summary>A lease is free for a moment while it moves to another process.</summary>
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(30);

    private long? _missingSince;

    public string Part => "leader";

    public async Task<IReadOnlyList<SystemCondition>> ReadAsync(CancellationToken cancellationToken)
    {
        if (!readiness.Ready.IsCompletedSuccessfully
            || (await leases.ListLeasesAsync(PositionWriter.LeaseName, cancellationToken)).Count > 0)
        {
            _missingSince = null;
            return [];
        }

        var missingSince = _missingSince ??= time.GetTimestamp();
        return time.GetElapsedTime(missingSince) < Grace
            ? []
            : [new(ConditionCodes.LeaderMissing, "No process holds the lease for queue positions. Stored positions do not move.")
                { Subject = PositionWriter.LeaseName, Since = time.GetUtcNow() - time.GetElapsedTime(missingSince) }];
    }
}
