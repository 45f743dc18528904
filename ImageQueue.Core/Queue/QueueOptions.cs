using System.ComponentModel.DataAnnotations;

namespace ImageQueue.Core.Queue;

/// <summary>Settings under <c>Queue</c>.</summary>
public sealed class QueueOptions
{
    /// <summary>The configuration section.</summary>
    public const string Section = "Queue";

    /// <summary>
    /// <see cref="QueueOrder.Fifo"/> (default): by submission. <see cref="QueueOrder.FairShare"/>: each user with waiting requests
    /// gets one per round.
    /// </summary>
    public QueueOrder Order { get; set; }

    /// <summary>Most requests that one user may have waiting. Default 20.</summary>
    [Range(1, 1_000_000)]
    public int MaxPendingPerUser { get; set; } = 20;

    /// <summary>
    /// Most work that one user may have waiting, in megapixel-steps (width x height / 1,000,000 x steps): a hundred small images are
    /// less than twenty large ones. Default 1000; the largest request there is has 629.
    /// </summary>
    [Range(630, 1_000_000_000)]
    public int MaxWorkPerUser { get; set; } = 1000;

    internal Messages.UserLimits UserLimits => new(MaxPendingPerUser, MaxWorkPerUser);

    /// <summary>Most requests that may wait in all. Default 100,000.</summary>
    [Range(1, 10_000_000)]
    public int MaxLength { get; set; } = 100_000;
}

/// <summary>Which waiting request is next.</summary>
public enum QueueOrder
{
    /// <summary>The one that was submitted first.</summary>
    Fifo,

    /// <summary>The users' requests in turn, each user's by submission.</summary>
    FairShare,
}
