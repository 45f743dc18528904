using ImageQueue.Core.Backends;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Messages;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Requests;

/// <summary>
/// An operator wants a Forge empty now: it is paused, and what it generates is taken from it and goes on with its turn, at another
/// Forge. A pause alone lets it finish.
/// </summary>
public sealed class DrainBackend(Pauses pauses, IMessageStore store, RunningJobs running, ILogger<DrainBackend> logger)
{
    /// <summary>More than a Forge ever generates at once: rows of workers that died are among them.</summary>
    private const int Most = 200;

    /// <summary>Pauses it, and takes what it generates from it. The row decides: its worker, of whatever process, finds that it has lost it.</summary>
    /// <returns>How many requests were taken from it; null when there is no Forge of that name.</returns>
    /// <exception cref="StoreUnavailableException">Perhaps not everything was done; it may be done again.</exception>
    public async Task<int?> DrainAsync(string backend, string by, CancellationToken cancellationToken)
    {
        // Paused first: what is taken from it must not come back to it.
        if (!await pauses.PauseForgeAsync(backend, by, cancellationToken))
            return null;
        var taken = 0;
        foreach (var message in await store.ListByStatusAsync(MessageStatus.Processing, null, Most, cancellationToken))
        {
            if (!string.Equals(message.Backend, backend, StringComparison.OrdinalIgnoreCase)
                || !(await store.RequeueAsync(message.Id, message.Attempt, AttemptCharge.None, cancellationToken, $"{by} has drained {backend}")).Applied)
            {
                continue;
            }

            taken++;
            running.Stop(message.Id);
            logger.LogInformation("Message {MessageId}, attempt {Attempt}: {Backend} is drained; it goes on with its turn.", message.Id, message.Attempt, backend);
        }

        return taken;
    }
}
