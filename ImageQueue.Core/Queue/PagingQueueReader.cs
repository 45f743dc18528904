using Hangfire;
using Hangfire.InMemory;
using Hangfire.States;

namespace ImageQueue.Core.Queue;

/// <summary>Reads the order page by page from Hangfire's monitoring API: slow for long queues, but right on any job storage.</summary>
/// <remarks>
/// Each look at Hangfire.InMemory's queue also costs memory: the next job enqueued after it starts a new segment of 32 places
/// (.NET's <c>ConcurrentQueue</c>), so a look after every submit would more than double what 100,000 jobs take.
/// </remarks>
public sealed class PagingQueueReader(JobStorage storage) : IQueueReader
{
    /// <summary>Hangfire.SqlServer refuses more than about 2,100 ids a page (Hangfire #1252).</summary>
    internal const int PageSize = 1000;

    /// <summary>How far each page reaches back into the one before: workers take from the head meanwhile, and everyone moves up.</summary>
    internal const int Overlap = 100;

    private const int MaxTries = 5;

    /// <inheritdoc/>
    public bool IsPrivate => storage is InMemoryStorage;

    /// <inheritdoc/>
    public Task<IReadOnlyList<string>> ReadAsync(CancellationToken cancellationToken)
    {
        for (var tries = 1; ; tries++)
        {
            if (TryRead(mustMeet: tries < MaxTries, cancellationToken) is { } order)
                return Task.FromResult<IReadOnlyList<string>>(order);
        }
    }

    /// <returns>Null when the queue moved faster than it could be read.</returns>
    private List<string>? TryRead(bool mustMeet, CancellationToken cancellationToken)
    {
        var order = new List<string>();
        var seen = new HashSet<string>(StringComparer.Ordinal);
        var monitoring = storage.GetMonitoringApi();
        string? last = null;
        for (var from = 0; ; from += PageSize - Overlap)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var page = monitoring.EnqueuedJobs(ImageJobs.QueueName, from, PageSize);
            var met = last is null ? -1 : page.Take(Overlap).ToList().FindLastIndex(entry => entry.Key == last);
            if (last is not null && met < 0 && mustMeet)
                return null;
            foreach (var (id, job) in page.Skip(met + 1))
            {
                if (Waits(job?.State) && seen.Add(id))
                    order.Add(id);
            }

            if (page.Count < PageSize)
                return order;
            last = page[^1].Key;
        }
    }

    /// <summary>
    /// A deleted job's entry stays until it is dequeued, and a requeued one has two (Hangfire #2407, #2380). A job that is
    /// processing and has an entry was given back by a server that stopped; in memory there is none that outlives it, and the
    /// entry is the second one of a job that runs.
    /// </summary>
    private bool Waits(string? state) =>
        state == EnqueuedState.StateName || state == ScheduledState.StateName || (state == ProcessingState.StateName && !IsPrivate);
}
