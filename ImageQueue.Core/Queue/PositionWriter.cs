using ImageQueue.Core.Messages;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Queue;

/// <summary>
/// Keeps the stored positions true for those who read the table or watch the feed: exact for the first fifty, within 10 %
/// beyond, in one statement per pass.
/// </summary>
public sealed class PositionWriter(IQueueOrder order, IMessageStore store, TimeProvider time, ILogger<PositionWriter> logger) : BackgroundService
{
    /// <summary>Up to here every move is stored.</summary>
    public const int ExactUpTo = 50;

    /// <summary>Most rows in one statement, so that no pass keeps other writers waiting for long.</summary>
    private const int MaxRowsPerPass = 2000;

    /// <summary>Shortest time between two passes; also how long a change by another process may go unseen.</summary>
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    private Dictionary<string, int> _stored = new(StringComparer.Ordinal);

    /// <summary>One pass.</summary>
    /// <returns>How many rows were written.</returns>
    public async Task<int> WriteAsync(CancellationToken cancellationToken)
    {
        var snapshot = await order.GetAsync(cancellationToken);
        var known = new Dictionary<string, int>(snapshot.Count, StringComparer.Ordinal);
        var moved = new List<QueuedPosition>();
        for (var index = 0; index < snapshot.Count; index++)
        {
            var (job, position) = (snapshot.InOrder[index], index + 1);
            // The first are always sent, and written only where they differ: nothing that this process does not know of,
            // such as a write of another machine, can leave them wrong.
            if (position > ExactUpTo && _stored.TryGetValue(job, out var stored) && Math.Abs(stored - position) <= position / 10)
                known[job] = stored;
            else if (moved.Count < MaxRowsPerPass)
                moved.Add(new QueuedPosition(job, position));
        }

        var written = await store.SavePositionsAsync(moved, cancellationToken);
        foreach (var row in moved)
            known[row.HangfireJobId] = row.Position;
        _stored = known;
        return written;
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            var change = order.NextChange;
            try
            {
                await WriteAsync(stoppingToken);
            }
            catch (Exception e) when (e is not OperationCanceledException || !stoppingToken.IsCancellationRequested)
            {
                logger.LogWarning(e, "Queue positions could not be stored; trying again. Live positions are not affected.");
            }

            await Task.Delay(Interval, time, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await change.WaitAsync(Interval, time, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }
}
