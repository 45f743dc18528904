namespace ImageQueue.Core.Messages;

/// <summary>
/// The hourly statistics, which stay when messages are retried or erased. Each claim and each end adds a sample in its own commit;
/// a few rows an hour are aggregated from the samples, which are kept for a day or so.
/// </summary>
public interface IStatisticsStore
{
    Task<StatisticsState> ReadStatisticsStateAsync(CancellationToken cancellationToken);

    /// <summary>The samples of a time span, its end excluded, oldest first.</summary>
    Task<IReadOnlyList<StatisticsSample>> ListSamplesAsync(DateTimeOffset from, DateTimeOffset before, CancellationToken cancellationToken);

    /// <summary>How many samples of each kind the last time span has, by the database's clock.</summary>
    Task<IReadOnlyList<SampleCount>> CountSamplesAsync(TimeSpan since, CancellationToken cancellationToken);

    /// <summary>What each backend did in the last time span, by the database's clock, from the samples.</summary>
    Task<IReadOnlyList<BackendResults>> ListBackendResultsAsync(TimeSpan since, CancellationToken cancellationToken);

    /// <summary>
    /// Stores rows. Of two for the same hour, kind and code the higher count stays: aggregating an hour again gives the same row, and a
    /// row aggregated too early or too late overwrites nothing.
    /// </summary>
    Task SaveStatisticsAsync(IReadOnlyList<StatisticsRow> rows, CancellationToken cancellationToken);

    /// <summary>The rows whose hours began in the last time span, by the database's clock, in the order of the hours.</summary>
    Task<IReadOnlyList<StatisticsRow>> ListStatisticsAsync(TimeSpan since, CancellationToken cancellationToken);

    /// <summary>Removes old samples and rows.</summary>
    /// <param name="samplesBefore">Samples before this; their hours must have been aggregated.</param>
    /// <param name="hoursBefore">Rows of hours before this.</param>
    /// <param name="limit">Most of each at once.</param>
    /// <returns>How many were removed.</returns>
    Task<int> ForgetStatisticsAsync(
        DateTimeOffset samplesBefore, DateTimeOffset hoursBefore, int limit, CancellationToken cancellationToken);
}

/// <summary>Which samples and rows the database has.</summary>
/// <param name="Now">The database's own time, which samples carry.</param>
/// <param name="OldestSample">Null when there is none.</param>
/// <param name="NewestHour">The newest hour that has a row; null when there is none.</param>
public readonly record struct StatisticsState(DateTimeOffset Now, DateTimeOffset? OldestSample, DateTimeOffset? NewestHour);

/// <summary>One claim or one end of a request.</summary>
/// <param name="At">By the database's clock.</param>
/// <param name="Kind">One of <see cref="StatisticsKinds"/>, except the queue's.</param>
/// <param name="Code">One of <see cref="ErrorCodes"/>, of an error.</param>
/// <param name="Seconds">The wait before a claim; the generation time of a complete image.</param>
public readonly record struct StatisticsSample(DateTimeOffset At, string Kind, string? Code, double? Seconds);

/// <summary>How many samples of one kind there are.</summary>
public readonly record struct SampleCount(string Kind, string? Code, int Count);

/// <summary>A backend's results of a time span.</summary>
/// <param name="Backend">Its name.</param>
/// <param name="LastHour">Images of the last hour.</param>
/// <param name="Median">Median seconds of an image; of two in the middle the lower. Null without an image.</param>
/// <param name="Pace">The same per megapixel-step.</param>
public sealed record BackendResults(string Backend, int LastHour, double? Median, double? Pace)
{
    /// <summary>Requests that ended in error on it, by code.</summary>
    public IReadOnlyDictionary<string, int> Errors { get; init; } = new Dictionary<string, int>(StringComparer.Ordinal);
}

/// <summary>One number of one hour, with the percentiles that belong to it.</summary>
/// <param name="Hour">Its start, UTC.</param>
/// <param name="Kind">One of <see cref="StatisticsKinds"/>.</param>
/// <param name="Code">One of <see cref="ErrorCodes"/>, of errors; else empty.</param>
/// <param name="Count">How many; of the queue, its greatest length.</param>
/// <param name="Median">Median of the kind's seconds.</param>
/// <param name="High">95th percentile of the kind's seconds.</param>
public sealed record StatisticsRow(DateTimeOffset Hour, string Kind, string Code, int Count, double? Median = null, double? High = null);

/// <summary>What the statistics count.</summary>
public static class StatisticsKinds
{
    /// <summary>A worker claimed a request; the seconds are its wait.</summary>
    public const string Claimed = "claimed";

    /// <summary>An image; the seconds are its generation time.</summary>
    public const string Complete = "complete";

    /// <summary>A request ended in error, by its code.</summary>
    public const string Error = "error";

    /// <summary>A request was cancelled.</summary>
    public const string Cancelled = "cancelled";

    /// <summary>How many requests waited, sampled each minute.</summary>
    public const string Queue = "queue";
}

/// <summary>The sample that a transition adds when it is applied; the store adds the time.</summary>
/// <param name="Kind">One of <see cref="StatisticsKinds"/>. The store computes the wait of a claim.</param>
/// <param name="Code">Of an error.</param>
/// <param name="Seconds">The generation time.</param>
internal sealed record SampleNote(string Kind, string? Code = null, double? Seconds = null)
{
    public static SampleNote Claimed { get; } = new(StatisticsKinds.Claimed);

    public static SampleNote Cancelled { get; } = new(StatisticsKinds.Cancelled);

    public static SampleNote Complete(ImageResult result) =>
        new(StatisticsKinds.Complete, Seconds: Math.Round(result.Duration.TotalSeconds, 3));

    public static SampleNote Error(RequestFailure failure) => new(StatisticsKinds.Error, failure.Code);
}
