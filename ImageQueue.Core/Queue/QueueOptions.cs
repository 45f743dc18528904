using System.ComponentModel.DataAnnotations;

namespace ImageQueue.Core.Queue;

/// <summary>Settings under <c>Queue</c>.</summary>
public sealed class QueueOptions
{
    /// <summary>The configuration section.</summary>
    public const string Section = "Queue";

    /// <summary>Most requests that one user may have waiting. Default 20.</summary>
    [Range(1, 1_000_000)]
    public int MaxPendingPerUser { get; set; } = 20;

    /// <summary>The limits of one user, as the store checks them.</summary>
    internal Messages.UserLimits UserLimits => new(MaxPendingPerUser);

    /// <summary>Most requests that may wait in all. Default 100,000.</summary>
    [Range(1, 10_000_000)]
    public int MaxLength { get; set; } = 100_000;
}
