using Hangfire;
using Hangfire.States;
using Hangfire.Storage;
using ImageQueue.Core.Queue;

namespace ImageQueue.Core.Requests;

/// <summary>
/// Commands over all requests that match a search: started here, run by <see cref="BulkCommandJob"/>, stopped by deleting the job.
/// </summary>
public sealed class BulkCommands(IBackgroundJobClientV2 client, JobStorage storage, TimeProvider time)
{
    /// <summary>Hangfire's set of the jobs, each with verb, start time and operator.</summary>
    private const string SetName = "imagequeue:bulk-commands";

    private const string ProgressParameter = "BulkProgress";

    /// <summary>How long a finished command is listed.</summary>
    private static readonly TimeSpan ListedFor = TimeSpan.FromMinutes(10);

    /// <returns>The Hangfire job.</returns>
    public string Start(BulkVerb verb, RequestSearch search, string by)
    {
        var json = JsonSerializer.Serialize(search);
        var id = client.Create<BulkCommandJob>(
            job => job.RunAsync(verb, json, by, null, CancellationToken.None), new EnqueuedState(JobQueues.Maintenance));
        using var connection = storage.GetConnection();
        using var transaction = connection.CreateWriteTransaction();
        var at = time.GetUtcNow().ToUnixTimeMilliseconds();
        transaction.AddToSet(SetName, string.Create(CultureInfo.InvariantCulture, $"{id}/{verb}/{at}/{by}"));
        transaction.Commit();
        return id;
    }

    /// <summary>Ends a command after the requests that it is working on; what it has done stays.</summary>
    public bool Stop(string id) => client.ChangeState(id, new DeletedState { Reason = "Stopped by an operator" });

    /// <summary>Running commands and those of the last minutes, newest first.</summary>
    public IReadOnlyList<BulkCommand> List()
    {
        using var connection = (JobStorageConnection)storage.GetConnection();
        var now = time.GetUtcNow();
        var commands = new List<(BulkCommand Command, long StartedAt)>();
        foreach (var entry in connection.GetAllItemsFromSet(SetName))
        {
            if (entry.Split('/', 4) is not [var id, var verb, var at, var by] || !Enum.TryParse<BulkVerb>(verb, out var known)
                || !long.TryParse(at, CultureInfo.InvariantCulture, out var startedAt))
            {
                continue;
            }

            var state = connection.GetStateData(id)?.Name;
            var progress = Read(connection.GetJobParameter(id, ProgressParameter));
            var isRunning = state == EnqueuedState.StateName || state == ProcessingState.StateName;
            if (state is null || (!isRunning && now - (progress.At ?? DateTimeOffset.FromUnixTimeMilliseconds(startedAt)) > ListedFor))
                Remove(connection, entry);
            else
                commands.Add((new(id, known, by, state, isRunning, progress.Done, progress.Refused, progress.Total), startedAt));
        }

        return
        [
            .. commands.OrderByDescending(one => one.Command.IsRunning).ThenByDescending(one => one.StartedAt)
                .Select(one => one.Command),
        ];
    }

    internal void Save(string id, BulkProgress progress)
    {
        using var connection = storage.GetConnection();
        var at = time.GetUtcNow().ToUnixTimeMilliseconds();
        connection.SetJobParameter(
            id, ProgressParameter,
            string.Create(CultureInfo.InvariantCulture, $"{progress.Done}/{progress.Refused}/{progress.Total}/{at}"));
    }

    private static BulkProgress Read(string? stored) =>
        stored?.Split('/') is [var done, var refused, var total, var at]
            ? new(Number(done), Number(refused), Number(total))
            {
                At = DateTimeOffset.FromUnixTimeMilliseconds(long.Parse(at, CultureInfo.InvariantCulture)),
            }
            : default;

    private static int Number(string text) => int.Parse(text, CultureInfo.InvariantCulture);

    private static void Remove(JobStorageConnection connection, string entry)
    {
        using var transaction = connection.CreateWriteTransaction();
        transaction.RemoveFromSet(SetName, entry);
        transaction.Commit();
    }
}

/// <summary>What a bulk command does to each request.</summary>
public enum BulkVerb
{
    Cancel,
    Retry,
    Erase,
}

/// <param name="Id">The Hangfire job.</param>
/// <param name="State">Hangfire's state of the job.</param>
public sealed record BulkCommand(string Id, BulkVerb Verb, string By, string State, bool IsRunning, int Done, int Refused, int Total);

internal readonly record struct BulkProgress(int Done, int Refused, int Total)
{
    public DateTimeOffset? At { get; init; }
}
