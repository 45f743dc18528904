using Hangfire;
using Hangfire.States;
using ImageQueue.Core.Messages;

namespace ImageQueue.Core.Queue;

/// <summary>
/// Reads the order page by page from Hangfire's monitoring API: slow for long queues, but right on any job storage.
/// </summary>
public sealed class PagingQueueOrder(JobStorage storage, HeldJobs held, TimeProvider time) : IQueueOrder, IDisposable
{
    /// <summary>Hangfire.SqlServer refuses more than about 2,100 ids a page (Hangfire #1252).</summary>
    private const int PageSize = 1000;

    /// <summary>How long a snapshot holds while this process knows of no change: others may have changed the queue.</summary>
    private static readonly TimeSpan MaxAge = TimeSpan.FromSeconds(1);

    private readonly SemaphoreSlim _refreshing = new(1);
    private readonly MessageSignal _changed = new();
    private long _version;
    private Taken? _taken;

    /// <inheritdoc/>
    public Task NextChange => _changed.Next;

    /// <inheritdoc/>
    public void Changed()
    {
        Interlocked.Increment(ref _version);
        _changed.Raise();
    }

    /// <inheritdoc/>
    public async ValueTask<QueueSnapshot> GetAsync(CancellationToken cancellationToken)
    {
        if (Current() is { } current)
            return current;
        await _refreshing.WaitAsync(cancellationToken);
        try
        {
            if (Current() is { } refreshed)
                return refreshed;
            // Taken before reading: a change that comes meanwhile makes the next reader read again.
            var version = Interlocked.Read(ref _version);
            var snapshot = new QueueSnapshot(ReadOrder(), time.GetUtcNow());
            _taken = new Taken(snapshot, version);
            return snapshot;
        }
        finally
        {
            _refreshing.Release();
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _refreshing.Dispose();

    private QueueSnapshot? Current() =>
        _taken is { } taken
        && taken.Version == Interlocked.Read(ref _version)
        && time.GetUtcNow() - taken.Snapshot.TakenAt < MaxAge
            ? taken.Snapshot
            : null;

    private List<string> ReadOrder()
    {
        var order = new List<string>(held.InOrder());
        var seen = new HashSet<string>(order, StringComparer.Ordinal);
        var monitoring = storage.GetMonitoringApi();
        for (var from = 0; ; from += PageSize)
        {
            var page = monitoring.EnqueuedJobs(ImageJobs.QueueName, from, PageSize);
            foreach (var (id, job) in page)
            {
                // A deleted job's entry stays until it is dequeued, and a requeued one has two (Hangfire #2407, #2380); one
                // whose state is Processing has been taken by a worker and is either held or being painted.
                if (job?.State == EnqueuedState.StateName && seen.Add(id))
                    order.Add(id);
            }

            if (page.Count < PageSize)
                return order;
        }
    }

    private sealed record Taken(QueueSnapshot Snapshot, long Version);
}
