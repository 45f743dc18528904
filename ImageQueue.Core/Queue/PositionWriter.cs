using ImageQueue.Core.Messages;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Queue;

/// <summary>
/// Keeps the stored positions true for those who read the table or watch the feed: exact for the first fifty, within 10 %
/// beyond, in one statement per pass.
/// </summary>
/// <remarks>
/// Beyond the fiftieth, positions fall into bands that widen by 9 %, and a row is written when it has come into another band.
/// So its stored position and its true one are always of one band; and a pass looks only at who stands near a band's ends,
/// and remembers nothing but the snapshot of the pass before.
/// </remarks>
public sealed class PositionWriter(IQueueOrder order, IMessageStore store, TimeProvider time, ILogger<PositionWriter> logger) : BackgroundService
{
    /// <summary>Up to here every move is stored.</summary>
    public const int ExactUpTo = 50;

    /// <summary>Most rows in one statement, so that no pass keeps other writers waiting for long.</summary>
    private const int MaxRowsPerStatement = 2000;

    /// <summary>Shortest time between two passes; also how long a change by another process may go unseen.</summary>
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    private QueueSnapshot? _stored;

    /// <summary>One pass.</summary>
    /// <returns>How many rows were written.</returns>
    public async Task<int> WriteAsync(CancellationToken cancellationToken)
    {
        var snapshot = await order.GetAsync(cancellationToken);
        var written = 0;
        foreach (var moved in Moved(_stored, snapshot).Chunk(MaxRowsPerStatement))
        {
            var rows = new List<QueuedPosition>(moved.Length);
            foreach (var (job, position) in moved)
            {
                if (await store.FindByHangfireJobAsync(job, cancellationToken) is { } message)
                    rows.Add(new QueuedPosition(message.Id, job, position));
            }

            written += await store.SavePositionsAsync(rows, cancellationToken);
        }

        _stored = snapshot;
        return written;
    }

    /// <summary>
    /// The rows to write. The first are always among them, and written only where they differ: nothing that this process does
    /// not know of, such as a write of another machine, can leave them wrong.
    /// </summary>
    internal static IEnumerable<(string Job, int Position)> Moved(QueueSnapshot? before, QueueSnapshot now)
    {
        for (var position = 1; position <= Math.Min(ExactUpTo, now.Count); position++)
            yield return At(position);

        for (var (low, high) = (ExactUpTo, EndAfter(ExactUpTo)); low < now.Count; (low, high) = (high, EndAfter(high)))
        {
            // Who has moved up into this band, or was not in line before, stands at its end; who was pushed back, at its beginning.
            var position = Math.Min(high, now.Count);
            for (; position > low && !(Before(position) <= high); position--)
                yield return At(position);
            for (var pushed = low + 1; pushed <= position && Before(pushed) <= low; pushed++)
                yield return At(pushed);
        }

        (string Job, int Position) At(int position) => (now.At(position), position);
        int? Before(int position) => before?.PositionOf(now.At(position));
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

    private static int EndAfter(int low) => low + Math.Max(1, low * 9 / 100);
}
