using System.Reflection;
using System.Security.Cryptography;
using Hangfire;
using Hangfire.Common;
using Hangfire.InMemory;
using Hangfire.States;
using Hangfire.Storage;

namespace ImageQueue.Core.Queue;

/// <summary>The image jobs in Hangfire: their queue, their form, and the state changes that ImageQueue makes.</summary>
public sealed class ImageJobs(IBackgroundJobClientV2 client, JobStorage storage, IQueueOrder order, TimeProvider time)
{
    /// <summary>The queue; under fair share on SQL Server, the first of its rounds.</summary>
    public const string QueueName = "images";

    /// <summary>Holds the few jobs that an operator moved to the front: SQL Server serves queues by name, so this one first.</summary>
    public const string FrontQueueName = "first";

    /// <summary>The job parameter that says whose request it is: <see cref="KeyOf"/>, as Hangfire serializes it.</summary>
    internal const string UserParameter = "User";

    /// <summary>The job parameter with a restored job's time of request: a storage in memory dates a job when it is created.</summary>
    public const string RequestedAtParameter = "RequestedAt";

    /// <summary>How long Hangfire keeps a job that never got a state.</summary>
    private static readonly TimeSpan Unwanted = TimeSpan.FromDays(30);

    private static readonly MethodInfo Run = typeof(IImageJob).GetMethod(nameof(IImageJob.RunAsync))!; // It is public.

    /// <summary>Begins the reason of each state that ImageQueue sets; any other change of a job is an operator's.</summary>
    internal const string OurReason = "ImageQueue: ";

    /// <summary>Whether the jobs are lost when the process ends; then a job that is not found is one of an earlier process.</summary>
    public bool AreVolatile => storage is InMemoryStorage;

    /// <summary>The Hangfire queues that a worker serves, in order.</summary>
    public static string[] QueuesOf(QueueOrder order, bool areVolatile) => order == QueueOrder.FairShare && !areVolatile
        ? [.. Enumerable.Range(0, QueuePlace.LastRound + 1).Select(QueuePlace.QueueOf)]
        : [FrontQueueName, QueueName];

    /// <summary>Enqueues a job. It carries only the message's id: everything else is in the row.</summary>
    /// <param name="messageId">The message.</param>
    /// <param name="username">Whose request it is; null when it is not known, which makes it a user of its own.</param>
    /// <returns>The Hangfire id.</returns>
    public string Enqueue(long messageId, string? username = null)
    {
        var user = UserOf(username);
        Dictionary<string, object> parameters = user is null ? [] : new() { [UserParameter] = user };
        return order.Enqueue(user, queue => client.Create(JobOf(messageId), new EnqueuedState(queue), parameters));
    }

    /// <summary>Enqueues many jobs in order.</summary>
    /// <returns>The Hangfire ids.</returns>
    /// <remarks>
    /// In memory it is one transaction instead of one per job, each of which waits for Hangfire's own thread; written as Hangfire's
    /// client writes it (<c>CoreBackgroundJobFactory</c>), without its filters, which do nothing for a job that is restored.
    /// </remarks>
    public IReadOnlyList<string> EnqueueAll(IReadOnlyList<(long MessageId, string? Username)> requests) => AreVolatile
        ? order.EnqueueAll([.. requests.Select(request => UserOf(request.Username))], () => CreateAll(requests))
        : [.. requests.Select(request => Enqueue(request.MessageId, request.Username))];

    /// <summary>A user as jobs name it: Hangfire's pages show a job's parameters.</summary>
    internal static string KeyOf(string username) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(username)).AsSpan(0, 8));

    /// <summary>The key in a stored parameter, which is JSON.</summary>
    internal static string? ReadUser(string? parameter) => parameter?.Trim('"');

    private List<string> CreateAll(IReadOnlyList<(long MessageId, string? Username)> requests)
    {
        using var connection = storage.GetConnection();
        using var transaction = (JobStorageTransaction)connection.CreateWriteTransaction();
        var (now, state) = (time.GetUtcNow().UtcDateTime, new EnqueuedState(QueueName));
        var ids = new List<string>(requests.Count);
        foreach (var (messageId, username) in requests)
        {
            var id = transaction.CreateJob(JobOf(messageId), ParametersOf(username), now, Unwanted);
            transaction.SetJobState(id, state);
            transaction.AddToQueue(QueueName, id);
            transaction.PersistJob(id);
            ids.Add(id);
        }

        transaction.Commit();
        return ids;
    }

    /// <summary>The parameters of a job that is created without Hangfire's client: its user, where the order asks for users.</summary>
    internal Dictionary<string, string?> ParametersOf(string? username) =>
        UserOf(username) is { } user ? new() { [UserParameter] = $"\"{user}\"" } : [];

    private string? UserOf(string? username) => username is not null && order.UsesUsers ? KeyOf(username) : null;

    /// <summary>Returns a dequeued job to its place in the queue: its worker has no backend for it, stops, or has died.</summary>
    /// <param name="hangfireJobId">The job.</param>
    /// <param name="fetched">What the worker's fetch returned; null when another process fetched it.</param>
    /// <param name="why">For the job's history.</param>
    /// <returns>False when its place is lost: it needs a new job at the tail.</returns>
    /// <remarks>
    /// The state is written without Hangfire's state machine, whose EnqueuedState would add a second entry at the tail. It comes
    /// first: the worker that dequeues the entry finds the job ready. A crash between the two leaves an entry that is dequeued again
    /// when its invisibility ends.
    /// </remarks>
    public bool TryGiveBack(string hangfireJobId, IFetchedJob? fetched, string why)
    {
        using (var connection = storage.GetConnection())
        using (var transaction = connection.CreateWriteTransaction())
        {
            if (connection.GetStateData(hangfireJobId) is null)
                return false;
            transaction.SetJobState(hangfireJobId, new EnqueuedState(QueueName) { Reason = OurReason + why });
            transaction.Commit();
        }

        return order.TryGiveBack(hangfireJobId, fetched);
    }

    /// <summary>Deletes a job. Its entry stays in the queue until it is dequeued (Hangfire #2407).</summary>
    public void Delete(string hangfireJobId, string why = "the request was cancelled") =>
        client.ChangeState(hangfireJobId, new DeletedState { Reason = OurReason + why }, expectedState: null);

    /// <summary>Fails a job whose request was ended in error by another actor than its worker.</summary>
    public void Fail(string hangfireJobId, string sentence) => client.ChangeState(
        hangfireJobId, new FailedState(new ImageRequestFailedException(sentence)) { Reason = OurReason + "the request was given up" },
        expectedState: null);

    /// <summary>The job's state; null when Hangfire does not know the job.</summary>
    public StateData? Find(string hangfireJobId)
    {
        using var connection = storage.GetConnection();
        return connection.GetStateData(hangfireJobId);
    }

    /// <summary>Who has deleted the job in the dashboard; null when that is not known, or when its request is cancelled already.</summary>
    internal string? DeletedBy(string hangfireJobId) =>
        new DashboardCommands(storage).Find(DashboardCommandKind.Cancel, hangfireJobId)?.By;

    /// <summary>Whether Hangfire runs the job, or still will.</summary>
    public bool WillRun(string hangfireJobId) => WillRunIn(Find(hangfireJobId)?.Name);

    /// <summary>Whether the Hangfire server that processes the job is still known to Hangfire.</summary>
    public bool IsServerKnown(StateData processing) =>
        processing.Data.TryGetValue("ServerId", out var id)
        && storage.GetMonitoringApi().Servers().Any(server => string.Equals(server.Name, id, StringComparison.OrdinalIgnoreCase));

    internal static Job JobOf(long messageId) => new(typeof(IImageJob), Run, [messageId, null, CancellationToken.None], QueueName);

    /// <summary>Whether it is the job of an image request.</summary>
    public static bool IsImageJob(Job? job) => typeof(IImageJob).IsAssignableFrom(job?.Type);

    internal static bool IsOurs(string? reason) => reason?.StartsWith(OurReason, StringComparison.Ordinal) == true;

    /// <summary>Whether a job in this state still runs by itself.</summary>
    internal static bool WillRunIn(string? state) =>
        state == EnqueuedState.StateName
            || state == ScheduledState.StateName
            || state == ProcessingState.StateName
            || state == AwaitingState.StateName;
}
