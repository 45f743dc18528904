using System.Globalization;
using Hangfire;
using Hangfire.Common;
using Hangfire.InMemory;
using Hangfire.States;
using Hangfire.Storage;
using ImageQueue.Core.Generation;

namespace ImageQueue.Core.Queue;

/// <summary>The image jobs in Hangfire: one place that knows the queue's name and what a job looks like.</summary>
public sealed class ImageJobs(IBackgroundJobClientV2 client, JobStorage storage, IQueueOrder order)
{
    /// <summary>The one queue: Hangfire promises an order only within a queue.</summary>
    public const string QueueName = "images";

    /// <summary>How the reason of each state that ImageQueue itself asks for begins; whatever else changes a job is an operator.</summary>
    private const string OurReason = "ImageQueue: ";

    private const string Ticket = "Ticket";

    private long _tickets;

    /// <summary>
    /// Whether the jobs are lost when the process ends: then a job that is not there is one of an earlier process, and whoever
    /// painted for it is gone.
    /// </summary>
    public bool AreVolatile => storage is InMemoryStorage;

    /// <summary>Puts a job at the queue's tail. It carries only the message's id: everything else is in the row.</summary>
    /// <returns>The Hangfire id.</returns>
    public string Enqueue(long messageId) => order.Enqueue(() => client.Create(
        Job.FromExpression<GenerateImageJob>(job => job.RunAsync(messageId, null!, CancellationToken.None), QueueName),
        new EnqueuedState(QueueName),
        AreVolatile ? new Dictionary<string, object> { [Ticket] = Interlocked.Increment(ref _tickets) } : null));

    /// <summary>
    /// Rises in the order of enqueueing, where that is this process's alone; else null. A job that was put back has kept its own.
    /// </summary>
    public long? TicketOf(string hangfireJobId)
    {
        if (!AreVolatile)
            return null;
        using var connection = storage.GetConnection();
        return long.TryParse(connection.GetJobParameter(hangfireJobId, Ticket), NumberStyles.None, CultureInfo.InvariantCulture, out var ticket) ? ticket : null;
    }

    /// <summary>Takes a cancelled request's job out of the running. Its entry stays in the queue as a ghost until it is dequeued (Hangfire #2407).</summary>
    public void Delete(string hangfireJobId) => Delete(hangfireJobId, "the request was cancelled");

    /// <summary>The same for a job that has nothing to do, or has nothing to do any more.</summary>
    public void Delete(string hangfireJobId, string why) =>
        client.ChangeState(hangfireJobId, new DeletedState { Reason = OurReason + why }, expectedState: null);

    /// <summary>Calls a job failed whose request was ended in error by somebody else than its own worker.</summary>
    public void Fail(string hangfireJobId, string sentence) => client.ChangeState(
        hangfireJobId,
        new FailedState(new ImageRequestFailedException(sentence)) { Reason = OurReason + "the request was given up" },
        expectedState: null);

    /// <summary>What Hangfire says of the job; null when it does not know it (any more).</summary>
    public StateData? Find(string hangfireJobId)
    {
        using var connection = storage.GetConnection();
        return connection.GetStateData(hangfireJobId);
    }

    /// <summary>Whether Hangfire still means to run the job, or is running it.</summary>
    public bool WillRun(string hangfireJobId) => WillRunIn(Find(hangfireJobId)?.Name);

    /// <summary>Whether the server that is processing a job has reported to Hangfire lately and was not removed.</summary>
    public bool IsServerKnown(StateData processing) =>
        processing.Data.TryGetValue("ServerId", out var id)
        && storage.GetMonitoringApi().Servers().Any(server => string.Equals(server.Name, id, StringComparison.OrdinalIgnoreCase));

    /// <summary>Whether ImageQueue itself asked for the state.</summary>
    internal static bool IsOurs(IState state) => state.Reason?.StartsWith(OurReason, StringComparison.Ordinal) == true;

    /// <summary>Of Hangfire's states, those from which a job still runs by itself.</summary>
    internal static bool WillRunIn(string? state) =>
        state == EnqueuedState.StateName || state == ScheduledState.StateName || state == ProcessingState.StateName || state == AwaitingState.StateName;
}
