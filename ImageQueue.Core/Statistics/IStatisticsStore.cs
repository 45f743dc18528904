using ImageQueue.Core.Messages;

namespace ImageQueue.Core.Statistics;

/// <summary>
/// How the hours went: numbers, which stay when messages are retried or erased. Each claim and each end notes its moment in its own
/// commit; a few rows an hour are reckoned from the moments, which are kept for a day or so.
/// </summary>
public interface IStatisticsStore
{
    /// <summary>How far the history is.</summary>
    Task<StatisticsState> ReadStatisticsStateAsync(CancellationToken cancellationToken);

    /// <summary>What was noted from a time on and before another, the oldest first.</summary>
    Task<IReadOnlyList<StatisticsSample>> ListSamplesAsync(DateTimeOffset from, DateTimeOffset before, CancellationToken cancellationToken);

    /// <summary>How much of each kind was noted in the last time, by the database's clock.</summary>
    Task<IReadOnlyList<SampleCount>> CountSamplesAsync(TimeSpan since, CancellationToken cancellationToken);

    /// <summary>
    /// Keeps rows of the history. Of two for the same hour, kind and code the one that counts more stays: what is reckoned again comes
    /// to the same, and what was reckoned too early or too late overwrites nothing.
    /// </summary>
    Task SaveStatisticsAsync(IReadOnlyList<StatisticsRow> rows, CancellationToken cancellationToken);

    /// <summary>The rows whose hours began in the last time, by the database's clock, in the order of the hours.</summary>
    Task<IReadOnlyList<StatisticsRow>> ListStatisticsAsync(TimeSpan since, CancellationToken cancellationToken);

    /// <summary>Removes what is kept no longer.</summary>
    /// <param name="momentsBefore">Moments before this; their hours must have been reckoned.</param>
    /// <param name="hoursBefore">Rows of hours before this.</param>
    /// <param name="limit">Most of each at once.</param>
    /// <param name="cancellationToken">Gives up waiting.</param>
    /// <returns>How many were removed.</returns>
    Task<int> ForgetStatisticsAsync(DateTimeOffset momentsBefore, DateTimeOffset hoursBefore, int limit, CancellationToken cancellationToken);
}

/// <summary>How far the history is.</summary>
/// <param name="Now">The database's own time, by which moments are noted.</param>
/// <param name="OldestSample">Null when there is none.</param>
/// <param name="NewestHour">The newest hour that has a row; null when there is none.</param>
public readonly record struct StatisticsState(DateTimeOffset Now, DateTimeOffset? OldestSample, DateTimeOffset? NewestHour);

/// <summary>Something that happened to some request.</summary>
/// <param name="At">When, by the database's clock.</param>
/// <param name="Kind">One of <see cref="StatisticsKinds"/>, but for the queue's.</param>
/// <param name="Code">One of <see cref="ErrorCodes"/>, of an error.</param>
/// <param name="Seconds">How long what was begun had waited; how long generating took what is complete.</param>
public readonly record struct StatisticsSample(DateTimeOffset At, string Kind, string? Code, double? Seconds);

/// <summary>How much of one kind there was.</summary>
public readonly record struct SampleCount(string Kind, string? Code, int Count);

/// <summary>One number of one hour, and what belongs to it.</summary>
/// <param name="Hour">Its beginning, UTC.</param>
/// <param name="Kind">One of <see cref="StatisticsKinds"/>.</param>
/// <param name="Code">One of <see cref="ErrorCodes"/>, of errors; else empty.</param>
/// <param name="Count">How many; of the queue, its greatest length.</param>
/// <param name="Median">Of the seconds that belong to the kind, the median.</param>
/// <param name="High">The seconds that 95 of 100 did not exceed.</param>
public sealed record StatisticsRow(DateTimeOffset Hour, string Kind, string Code, int Count, double? Median = null, double? High = null);

/// <summary>What the history counts.</summary>
public static class StatisticsKinds
{
    /// <summary>A worker took a request; its seconds are how long that had waited.</summary>
    public const string Begun = "begun";

    /// <summary>An image; its seconds are what generating took.</summary>
    public const string Complete = "complete";

    /// <summary>A request ended in error, by its code.</summary>
    public const string Error = "error";

    /// <summary>Somebody did not want it any more.</summary>
    public const string Cancelled = "cancelled";

    /// <summary>How many waited, looked at each minute.</summary>
    public const string Queue = "queue";
}

/// <summary>What a transition notes when it is applied; the store knows the time.</summary>
/// <param name="Kind">One of <see cref="StatisticsKinds"/>. Of what is begun the store knows how long it waited.</param>
/// <param name="Code">Of an error.</param>
/// <param name="Seconds">What generating took.</param>
internal sealed record SampleNote(string Kind, string? Code = null, double? Seconds = null)
{
    public static SampleNote Begun { get; } = new(StatisticsKinds.Begun);

    public static SampleNote Cancelled { get; } = new(StatisticsKinds.Cancelled);

    public static SampleNote Complete(ImageResult result) => new(StatisticsKinds.Complete, Seconds: Math.Round(result.Duration.TotalSeconds, 3));

    public static SampleNote Error(RequestFailure failure) => new(StatisticsKinds.Error, failure.Code);
}
