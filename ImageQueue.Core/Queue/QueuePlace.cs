namespace ImageQueue.Core.Queue;

/// <summary>
/// The place of an entry in the order: its round, then its number in Hangfire's queue. Round 0 holds the jobs that an operator
/// moved to the front; without fair share all others are in round 1.
/// </summary>
/// <remarks>A round is a Hangfire queue, whose name sorts as the round does: SQL Server serves queues by name.</remarks>
internal static class QueuePlace
{
    /// <summary>The last round; further requests of a user wait in it together.</summary>
    public const int LastRound = 20;

    /// <summary>Between two numbers, for entries of this process whose number is not read yet.</summary>
    private const int NumberShift = 12;

    private const int RoundShift = 56;

    public static long Of(int round, long number) => ((long)(round - 1) << RoundShift) + (number << NumberShift);

    public static int RoundOf(long place) => (int)(place >> RoundShift) + 1;

    public static long NumberOf(long place) => (place & ((1L << RoundShift) - 1)) >> NumberShift;

    /// <summary>The last place that the round can have.</summary>
    public static long EndOf(int round) => Of(round + 1, 0) - 1;

    /// <summary>Hangfire's queue of the round.</summary>
    public static string QueueOf(int round) => round switch
    {
        0 => ImageJobs.FrontQueueName,
        1 => ImageJobs.QueueName,
        _ => string.Create(CultureInfo.InvariantCulture, $"{ImageJobs.QueueName}_{round:00}"),
    };

    /// <summary>The round of Hangfire's queue.</summary>
    public static int RoundOf(string queue) => queue switch
    {
        ImageJobs.FrontQueueName => 0,
        ImageJobs.QueueName => 1,
        _ => int.Parse(queue.AsSpan(ImageJobs.QueueName.Length + 1), NumberStyles.None, CultureInfo.InvariantCulture),
    };
}
