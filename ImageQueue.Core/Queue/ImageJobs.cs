using System.Reflection;
using Hangfire;
using Hangfire.Common;
using Hangfire.InMemory;
using Hangfire.States;
using Hangfire.Storage;

namespace ImageQueue.Core.Queue;

/// <summary>The image jobs in Hangfire: one place that knows the queue's name and what a job looks like.</summary>
public sealed class ImageJobs(IBackgroundJobClientV2 client, JobStorage storage, IQueueOrder order, TimeProvider time)
{
    /// <summary>The one queue: Hangfire promises an order only within a queue.</summary>
    public const string QueueName = "images";

    /// <summary>
    /// Where a shared storage keeps the few that an operator has moved to the front: SQL Server serves queues by their names, so
    /// this one before the other.
    /// </summary>
    public const string FrontQueueName = "first";

    /// <summary>How long Hangfire keeps a job that never got a state.</summary>
    private static readonly TimeSpan Unwanted = TimeSpan.FromDays(30);

    private static readonly MethodInfo Run = typeof(IImageJob).GetMethod(nameof(IImageJob.RunAsync))!; // It is public.

    /// <summary>How the reason of each state that ImageQueue itself asks for begins; whatever else changes a job is an operator.</summary>
    internal const string OurReason = "ImageQueue: ";

    private static readonly Dictionary<string, string?> NoParameters = [];

    /// <summary>
    /// Whether the jobs are lost when the process ends: then a job that is not there is one of an earlier process, and whoever
    /// generated for it is gone.
    /// </summary>
    public bool AreVolatile => storage is InMemoryStorage;

    /// <summary>Puts a job at the queue's tail. It carries only the message's id: everything else is in the row.</summary>
    /// <returns>The Hangfire id.</returns>
    public string Enqueue(long messageId) => order.Enqueue(() => client.Create(JobOf(messageId), new EnqueuedState(QueueName)));

    /// <summary>The same for many, in order.</summary>
    /// <returns>The Hangfire ids.</returns>
    /// <remarks>
    /// In memory it is one transaction instead of one a job, each of which waits for Hangfire's own thread; written as Hangfire's
    /// client would write it (<c>CoreBackgroundJobFactory</c>), without its filters, which have nothing to say of a job that merely comes back.
    /// </remarks>
    public IReadOnlyList<string> EnqueueAll(IReadOnlyList<long> messageIds) => AreVolatile
        ? order.EnqueueAll(() => CreateAll(messageIds))
        : messageIds.Select(Enqueue).ToList();

    private List<string> CreateAll(IReadOnlyList<long> messageIds)
    {
        using var connection = storage.GetConnection();
        using var transaction = (JobStorageTransaction)connection.CreateWriteTransaction();
        var (now, state) = (time.GetUtcNow().UtcDateTime, new EnqueuedState(QueueName));
        var ids = new List<string>(messageIds.Count);
        foreach (var messageId in messageIds)
        {
            var id = transaction.CreateJob(JobOf(messageId), NoParameters, now, Unwanted);
            transaction.SetJobState(id, state);
            transaction.AddToQueue(QueueName, id);
            transaction.PersistJob(id);
            ids.Add(id);
        }

        transaction.Commit();
        return ids;
    }

    /// <summary>
    /// Puts a taken job back to its place in the queue, as if it had not been taken: for a worker that has no Forge for it, that
    /// stops, or that is no more.
    /// </summary>
    /// <param name="hangfireJobId">The job.</param>
    /// <param name="inHand">What the worker's fetch gave; null when it is not this process that has taken it.</param>
    /// <param name="why">For the job's history.</param>
    /// <returns>False when its place is lost: it needs a new job at the tail.</returns>
    /// <remarks>
    /// The state is written without Hangfire's state machine, whose EnqueuedState would add a second entry at the tail. It
    /// comes first: whoever takes the entry finds the job ready. A crash between the two leaves an entry that is taken again
    /// when its invisibility ends.
    /// </remarks>
    public bool TryGiveBack(string hangfireJobId, IFetchedJob? inHand, string why)
    {
        using (var connection = storage.GetConnection())
        using (var transaction = connection.CreateWriteTransaction())
        {
            if (connection.GetStateData(hangfireJobId) is null)
                return false;
            transaction.SetJobState(hangfireJobId, new EnqueuedState(QueueName) { Reason = OurReason + why });
            transaction.Commit();
        }

        return order.TryGiveBack(hangfireJobId, inHand);
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

    internal static Job JobOf(long messageId) => new(typeof(IImageJob), Run, [messageId, null, CancellationToken.None], QueueName);

    /// <summary>Whether it is the job of an image request.</summary>
    public static bool IsImageJob(Job? job) => typeof(IImageJob).IsAssignableFrom(job?.Type);

    /// <summary>Whether ImageQueue itself asked for the state.</summary>
    internal static bool IsOurs(IState state) => IsOurs(state.Reason);

    /// <summary>Whether ImageQueue itself gave the reason.</summary>
    internal static bool IsOurs(string? reason) => reason?.StartsWith(OurReason, StringComparison.Ordinal) == true;

    /// <summary>Of Hangfire's states, those from which a job still runs by itself.</summary>
    internal static bool WillRunIn(string? state) =>
        state == EnqueuedState.StateName || state == ScheduledState.StateName || state == ProcessingState.StateName || state == AwaitingState.StateName;
}
