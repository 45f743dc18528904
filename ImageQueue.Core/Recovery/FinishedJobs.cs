using Hangfire;
using Hangfire.Common;
using Hangfire.States;
using Hangfire.Storage;
using ImageQueue.Core.Queue;

namespace ImageQueue.Core.Recovery;

/// <summary>Creates finished jobs in a storage that has lost them with its process.</summary>
public sealed class FinishedJobs(JobStorage storage)
{
    /// <summary>The job parameter with the request's time: a storage in memory dates a job when it is created.</summary>
    public const string RequestedAt = "RequestedAt";

    /// <summary>How long the dashboard lists them.</summary>
    private static readonly TimeSpan KeepFor = TimeSpan.FromDays(1);

    /// <summary>
    /// Creates the jobs in order, without Hangfire's state machine, so that no filter sees them and nothing runs. They count in the
    /// statistics of the days and hours in which they finished.
    /// </summary>
    /// <returns>The Hangfire ids.</returns>
    internal IReadOnlyList<string> Restore(IEnumerable<FinishedJob> finished)
    {
        using var connection = storage.GetConnection();
        using var transaction = (JobStorageTransaction)connection.CreateWriteTransaction(); // Of every storage for Hangfire 1.8.
        var ids = new List<string>();
        foreach (var one in finished)
        {
            var job = ImageJobs.JobOf(one.MessageId);
            var created = one.CreatedAt.UtcDateTime;
            var requested =
                new Dictionary<string, string?>(StringComparer.Ordinal) { [RequestedAt] = JobHelper.SerializeDateTime(created) };
            var id = transaction.CreateJob(job, requested, created, KeepFor);
            transaction.SetJobState(id, one.State);
            var counter = $"stats:{one.State.Name.ToLowerInvariant()}";
            if (one.State.IsFinal)
                transaction.IncrementCounter(counter);
            else
                transaction.PersistJob(id); // As Hangfire does: a failed job stays until an operator retries or deletes it.
            transaction.IncrementCounter(
                string.Create(CultureInfo.InvariantCulture, $"{counter}:{one.At:yyyy-MM-dd}"), TimeSpan.FromDays(30));
            transaction.IncrementCounter(
                string.Create(CultureInfo.InvariantCulture, $"{counter}:{one.At:yyyy-MM-dd-HH}"), TimeSpan.FromDays(1));
            ids.Add(id);
        }

        transaction.Commit();
        return ids;
    }

    /// <summary>Removes jobs whose requests were retried or erased meanwhile.</summary>
    internal void Remove(IEnumerable<string> hangfireJobIds)
    {
        using var connection = storage.GetConnection();
        using var transaction = connection.CreateWriteTransaction();
        foreach (var id in hangfireJobIds)
            transaction.ExpireJob(id, TimeSpan.Zero);
        transaction.Commit();
    }
}

/// <param name="At">When it finished.</param>
/// <param name="State">Its final state.</param>
internal sealed record FinishedJob(long MessageId, DateTimeOffset CreatedAt, DateTimeOffset At, IState State);
