using ImageQueue.Core.Backends;
using ImageQueue.Core.Generation;

namespace ImageQueue.Core.Requests;

/// <summary>
/// Empties a backend for an operator: pauses it, and gives its requests to other backends. A pause alone lets them finish.
/// </summary>
public sealed class DrainBackend(Pauses pauses, IMessageStore store, RunningJobs running, ILogger<DrainBackend> logger)
{
    /// <summary>More than all backends generate at once; rows of dead workers are among them.</summary>
    private const int Limit = 200;

    /// <summary>Requeues the rows in place; their workers, of any process, find that they have lost them.</summary>
    /// <returns>How many requests were requeued; null when there is no backend of that name.</returns>
    /// <exception cref="StoreUnavailableException">The drain may be incomplete; it can be repeated.</exception>
    public async Task<int?> DrainAsync(string backend, string by, CancellationToken cancellationToken)
    {
        // Paused first: a requeued request must not come back to it.
        if (!await pauses.PauseBackendAsync(backend, by, cancellationToken))
            return null;
        var requeued = 0;
        foreach (var message in await store.ListByStatusAsync(MessageStatus.Processing, null, Limit, cancellationToken))
        {
            if (!string.Equals(message.Backend, backend, StringComparison.OrdinalIgnoreCase))
                continue;
            var why = $"{by} has drained {backend}";
            if (!(await store.RequeueAsync(message.Id, message.Attempt, AttemptCharge.None, cancellationToken, why)).Applied)
                continue;
            requeued++;
            running.Stop(message.Id);
            logger.LogInformation(
                "Message {MessageId}, attempt {Attempt} is requeued in place: {Backend} is drained by {By}.",
                message.Id, message.Attempt, backend, by);
        }

        return requeued;
    }
}
