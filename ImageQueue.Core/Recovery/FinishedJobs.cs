using System.Globalization;
using Hangfire;
using Hangfire.Common;
using Hangfire.States;
using Hangfire.Storage;
using ImageQueue.Core.Queue;

namespace ImageQueue.Core.Recovery;

/// <summary>Jobs that are over already, for a storage that has lost them with its process.</summary>
public sealed class FinishedJobs(JobStorage storage)
{
    /// <summary>The parameter that says when one was asked for: a storage in memory knows only when it was told.</summary>
    public const string RequestedAt = "RequestedAt";

    /// <summary>How long the dashboard has what an earlier process has finished.</summary>
    private static readonly TimeSpan KeepFor = TimeSpan.FromDays(1);

    /// <summary>
    /// Makes them, in their order. Without Hangfire's state machine: nothing happens, so no filter hears of it, and nothing runs. They
    /// are counted among what has ended, on the days and in the hours in which they did.
    /// </summary>
    /// <returns>The Hangfire ids.</returns>
    internal IReadOnlyList<string> Restore(IEnumerable<FinishedJob> ended)
    {
        using var connection = storage.GetConnection();
        using var transaction = (JobStorageTransaction)connection.CreateWriteTransaction(); // Of every storage for Hangfire 1.8.
        var ids = new List<string>();
        foreach (var one in ended)
        {
            var job = ImageJobs.JobOf(one.MessageId);
            var requested = new Dictionary<string, string?>(StringComparer.Ordinal) { [RequestedAt] = JobHelper.SerializeDateTime(one.CreatedAt.UtcDateTime) };
            var id = transaction.CreateJob(job, requested, one.CreatedAt.UtcDateTime, KeepFor);
            transaction.SetJobState(id, one.State);
            var counter = $"stats:{one.State.Name.ToLowerInvariant()}";
            if (one.State.IsFinal)
                transaction.IncrementCounter(counter);
            else
                transaction.PersistJob(id); // As Hangfire does: a failed job stays until somebody has seen to it.
            transaction.IncrementCounter(string.Create(CultureInfo.InvariantCulture, $"{counter}:{one.At:yyyy-MM-dd}"), TimeSpan.FromDays(30));
            transaction.IncrementCounter(string.Create(CultureInfo.InvariantCulture, $"{counter}:{one.At:yyyy-MM-dd-HH}"), TimeSpan.FromDays(1));
            ids.Add(id);
        }

        transaction.Commit();
        return ids;
    }

    /// <summary>Removes those whose requests have gone on meanwhile.</summary>
    internal void Forget(IEnumerable<string> hangfireJobIds)
    {
        using var connection = storage.GetConnection();
        using var transaction = connection.CreateWriteTransaction();
        foreach (var id in hangfireJobIds)
            transaction.ExpireJob(id, TimeSpan.Zero);
        transaction.Commit();
    }
}

/// <summary>A job that is over.</summary>
/// <param name="MessageId">Its message.</param>
/// <param name="CreatedAt">When it was asked for.</param>
/// <param name="At">When it ended.</param>
/// <param name="State">How.</param>
internal sealed record FinishedJob(long MessageId, DateTimeOffset CreatedAt, DateTimeOffset At, IState State);
