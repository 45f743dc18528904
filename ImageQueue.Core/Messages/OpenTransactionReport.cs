using ImageQueue.Core.Telemetry;

namespace ImageQueue.Core.Messages;

/// <summary>Reports a transaction that stays open: one log line and one count, however many of this process's readers meet it.</summary>
public sealed class OpenTransactionReport(ILogger<OpenTransactionReport> logger, QueueMetrics? metrics = null)
{
    private readonly Lock _lock = new();
    private readonly HashSet<object> _readers = [];
    private long? _reported;

    /// <summary>Takes a reader's view of its gap.</summary>
    /// <param name="reader">The reader.</param>
    /// <param name="gap">The gap's revision once it is long; null when there is none.</param>
    public void Note(object reader, long? gap)
    {
        lock (_lock)
        {
            if (gap is null)
            {
                if (!_readers.Remove(reader) || _readers.Count > 0)
                    return;
                _reported = null;
                logger.LogInformation("Changes are delivered in order again.");
                return;
            }

            _readers.Add(reader);
            if (_reported == gap)
                return;
            _reported = gap;
        }

        metrics?.RecordOpenTransaction();
        logger.LogWarning(
            "A transaction has been open for more than {Seconds} s (revision {Revision}): "
            + "later changes are delivered out of order until it ends. DBCC OPENTRAN names it.",
            OpenTransactionGap.Patience.TotalSeconds,
            gap);
    }
}
