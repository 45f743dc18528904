using Hangfire;
using Hangfire.Common;
using Hangfire.States;
using Hangfire.Storage;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Queue.Eta;
using ImageQueue.Core.Storage.Sqlite;

namespace ImageQueue.Core.Recovery;

/// <summary>
/// Where Hangfire keeps its jobs in memory: gives the newest finished requests their jobs again after a start, in their final states,
/// so that the dashboard lists them. Runs in the background, after the queue is rebuilt.
/// </summary>
/// <remarks>
/// The rows get their new job ids without a change of revision. A crash in between leaves nothing: the jobs are lost with the process.
/// Retried from the dashboard, such a job is one like any other: <see cref="DashboardReconciler"/> finds its message.
/// </remarks>
internal sealed class RestoreFinishedJobs(
    SqliteMessageStore store, ImageJobs jobs, JobStorage storage, QueueRebuildState rebuild, DatabaseReadiness readiness,
    TimeProvider time, ILogger<RestoreFinishedJobs> logger)
    : PeriodicService(readiness, time, logger)
{
    /// <summary>How many of each: complete, in error, cancelled.</summary>
    public const int Newest = 1000;

    /// <summary>Rows of one commit: submits hardly wait for it.</summary>
    private const int Batch = 100;

    /// <summary>How long the dashboard lists them.</summary>
    private static readonly TimeSpan KeepFor = TimeSpan.FromDays(1);

    private const string Why = ImageJobs.OurReason + "as the message says, after a restart";

    /// <returns>How many requests have a job again.</returns>
    public async Task<int> RestoreAsync(CancellationToken cancellationToken)
    {
        var finished = new List<Message>();
        foreach (var status in new[] { MessageStatus.Complete, MessageStatus.Error, MessageStatus.Cancelled })
            finished.AddRange(await store.ListNewestAsync(status, Newest, cancellationToken));
        // The newest last: Hangfire lists the latest state change first. Requests that finished in this process have their jobs.
        var lost = finished.Where(message => message.HangfireJobId is not { } job || jobs.Find(job) is null).OrderBy(EndOf);
        var restored = 0;
        foreach (var batch in lost.Chunk(Batch))
        {
            var rows = batch.Zip(CreateJobs(batch), (message, id) => (message.Id, HangfireJobId: id, Replaces: message.HangfireJobId))
                .ToList();
            var refused = (await store.ReplaceEndedJobsAsync(rows, cancellationToken)).ToHashSet();
            Remove(rows.Where(row => refused.Contains(row.Id)).Select(row => row.HangfireJobId));
            restored += batch.Length - refused.Count;
        }

        return restored;
    }

    protected override string Activity => "Restoring finished jobs to Hangfire's lists";

    /// <summary>Once.</summary>
    protected override TimeSpan Interval => Timeout.InfiniteTimeSpan;

    protected override TimeSpan MaxRetryDelay => TimeSpan.FromMinutes(1);

    protected override async Task RunPassAsync(CancellationToken cancellationToken)
    {
        await rebuild.Done.WaitAsync(cancellationToken);
        var started = Time.GetTimestamp();
        var restored = await RestoreAsync(cancellationToken);
        if (restored > 0)
            Logger.LogInformation("Restored {Count} finished jobs to Hangfire's lists in {Time}.", restored, Time.GetElapsedTime(started));
    }

    /// <summary>
    /// Creates the jobs in order, without Hangfire's state machine, so that no filter sees them and nothing runs. They count in the
    /// statistics of the days and hours in which they finished.
    /// </summary>
    /// <returns>The Hangfire ids.</returns>
    private List<string> CreateJobs(IEnumerable<Message> finished)
    {
        using var connection = storage.GetConnection();
        using var transaction = (JobStorageTransaction)connection.CreateWriteTransaction(); // Of every storage for Hangfire 1.8.
        var ids = new List<string>();
        foreach (var message in finished)
        {
            var (created, at, state) = (message.CreatedAt.UtcDateTime, EndOf(message), StateOf(message));
            var parameters = jobs.ParametersOf(message.Username);
            parameters[ImageJobs.RequestedAtParameter] = JobHelper.SerializeDateTime(created);
            var id = transaction.CreateJob(ImageJobs.JobOf(message.Id), parameters, created, KeepFor);
            transaction.SetJobState(id, state);
            var counter = $"stats:{state.Name.ToLowerInvariant()}";
            if (state.IsFinal)
                transaction.IncrementCounter(counter);
            else
                transaction.PersistJob(id); // As Hangfire does: a failed job stays until an operator retries or deletes it.
            transaction.IncrementCounter(string.Create(CultureInfo.InvariantCulture, $"{counter}:{at:yyyy-MM-dd}"), TimeSpan.FromDays(30));
            transaction.IncrementCounter(
                string.Create(CultureInfo.InvariantCulture, $"{counter}:{at:yyyy-MM-dd-HH}"), TimeSpan.FromDays(1));
            ids.Add(id);
        }

        transaction.Commit();
        return ids;
    }

    /// <summary>Removes jobs whose requests were retried or erased meanwhile.</summary>
    private void Remove(IEnumerable<string> hangfireJobIds)
    {
        using var connection = storage.GetConnection();
        using var transaction = connection.CreateWriteTransaction();
        foreach (var id in hangfireJobIds)
            transaction.ExpireJob(id, TimeSpan.Zero);
        transaction.Commit();
    }

    private static DateTimeOffset EndOf(Message message) => message.FinishedAt!.Value; // It has finished.

    private static EndState StateOf(Message message) => message.Status switch
    {
        MessageStatus.Complete => Succeeded(message),
        MessageStatus.Error => new EndState(
            FailedState.StateName, IsFinal: false, EndOf(message), "FailedAt", new FailedState(
                new ImageRequestFailedException(message.Error ?? "")).SerializeData()),
        _ => new EndState(DeletedState.StateName, IsFinal: true, EndOf(message), "DeletedAt", []),
    };

    private static EndState Succeeded(Message message)
    {
        var generating = Math.Max(0, CompletedGeneration.SecondsOf(message) ?? 0);
        var waiting = Math.Max(0, (EndOf(message) - (message.QueuedAt ?? message.CreatedAt)).TotalSeconds - generating);
        var data = new Dictionary<string, string>(StringComparer.Ordinal)
        { ["PerformanceDuration"] = Milliseconds(generating), ["Latency"] = Milliseconds(waiting) };
        return new EndState(SucceededState.StateName, IsFinal: true, EndOf(message), "SucceededAt", data);
    }

    private static string Milliseconds(double seconds) =>
        ((long)Math.Min(seconds * 1000, int.MaxValue)).ToString(CultureInfo.InvariantCulture);

    /// <summary>Hangfire's own state as it would be, had it been written when the request finished.</summary>
    private sealed record EndState(string Name, bool IsFinal, DateTimeOffset At, string AtKey, Dictionary<string, string> Data) : IState
    {
        public string Reason => Why;

        public bool IgnoreJobLoadException => false;

        public Dictionary<string, string> SerializeData() =>
            new(Data, StringComparer.Ordinal) { [AtKey] = JobHelper.SerializeDateTime(At.UtcDateTime) };
    }
}
