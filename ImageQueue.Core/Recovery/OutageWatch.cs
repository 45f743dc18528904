using ImageQueue.Core.Forge;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace ImageQueue.Core.Recovery;

/// <summary>
/// Where <c>Forge:WaitForBackend</c> is set: ends the requests that have waited longer than that while no Forge was healthy, on any
/// machine of the database. Without it they wait until one is.
/// </summary>
public sealed class OutageWatch(
    IMessageStore store,
    ImageJobs jobs,
    IQueueOrder order,
    FailurePolicy policy,
    MessageTexts texts,
    IOptions<ForgeOptions> options,
    DatabaseReadiness readiness,
    TimeProvider time,
    ILogger<OutageWatch> logger)
    : PeriodicService(readiness, time, logger)
{
    private const int PageSize = 200;

    private long? _noneSince;

    /// <inheritdoc/>
    protected override string Activity => "Looking for requests that have waited too long";

    /// <inheritdoc/>
    protected override TimeSpan Interval => TimeSpan.FromSeconds(1);

    /// <summary>One look.</summary>
    /// <returns>How many requests it ended.</returns>
    internal async Task<int> LookAsync(CancellationToken cancellationToken)
    {
        if (options.Value.WaitForBackend is not { } patience)
            return 0;
        // What an operator has paused is no outage: a paused Forge could generate what waits.
        if ((await store.ListLeasesAsync(ForgeAddress.LeasePrefix, cancellationToken)).Count > 0 || (await store.ListPausesAsync(cancellationToken)).Count > 0)
        {
            _noneSince = null;
            return 0;
        }

        _noneSince ??= Time.GetTimestamp();
        if (Time.GetElapsedTime(_noneSince.Value) < patience)
            return 0;

        var ended = 0;
        UnfinishedCursor? cursor = null;
        while (await store.ListWaitingLongerAsync(patience, cursor, PageSize, cancellationToken) is { Count: > 0 } page)
        {
            foreach (var row in page)
            {
                if (await EndAsync(row, patience, cancellationToken))
                    ended++;
            }

            cursor = new UnfinishedCursor(page[^1].QueuedAt, page[^1].Id);
        }

        if (ended > 0)
            Logger.LogError("{Count} requests ended in error: no Forge has been healthy for {Patience} (Forge:WaitForBackend).", ended, patience);
        return ended;
    }

    /// <inheritdoc/>
    protected override Task RunPassAsync(CancellationToken cancellationToken) => LookAsync(cancellationToken);

    private async Task<bool> EndAsync(WaitingRequest row, TimeSpan patience, CancellationToken cancellationToken)
    {
        var end = policy.NoBackend(patience);
        if (!(await store.FailQueuedAsync(row.Id, texts.Failed(end.Sentence), end, cancellationToken)).Applied)
            return false;
        if (row.HangfireJobId is not { } job)
            return true;
        jobs.Fail(job, end.Sentence);
        order.Remove(job);
        return true;
    }
}
