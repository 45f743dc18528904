using ImageQueue.Core.Generation;
using ImageQueue.Core.Queue;

namespace ImageQueue.Core.Recovery;

/// <summary>Temporary files in the images folder that dead attempts have left.</summary>
internal sealed class AbandonedFiles(IMessageStore store, ImageJobs jobs, ImageFiles images, ILogger<AbandonedFiles> logger)
{
    /// <summary>Publishes images of complete rows and removes the rest. A failure is logged; the next start tries again.</summary>
    internal async Task RemoveAsync(CancellationToken cancellationToken)
    {
        try
        {
            // Listed first and judged afterwards: other machines may generate into the same folder, and a file that appears meanwhile
            // is theirs.
            var found = new HashSet<string>(StringComparer.Ordinal);
            var unpublished = new List<(string JobId, int Attempt)>();
            images.RemoveTemporaries((jobId, attempt) =>
            {
                found.Add(jobId);
                if (attempt is { } number)
                    unpublished.Add((jobId, number));
                return true;
            });
            if (found.Count == 0)
                return;
            await PublishAsync(unpublished, cancellationToken);
            if (!jobs.AreVolatile)
            {
                var processing = store.ListProcessingAsync(200, cancellationToken).Select(message => message.JobId ?? "");
                found.ExceptWith(await processing.ToListAsync(cancellationToken));
            }

            logger.LogInformation(
                "Removed {Count} temporary files of interrupted attempts.", images.RemoveTemporaries((jobId, _) => !found.Contains(jobId)));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or StoreUnavailableException)
        {
            logger.LogWarning(e, "Temporary files in {Directory} could not be removed; the next start tries again.", images.Directory);
        }
    }

    /// <summary>A process that died between row and rename has left a complete row, and its image under a temporary name.</summary>
    private async Task PublishAsync(IEnumerable<(string JobId, int Attempt)> unpublished, CancellationToken cancellationToken)
    {
        foreach (var (jobId, attempt) in unpublished)
        {
            if (await store.FindByJobIdAsync(jobId, cancellationToken) is { Status: MessageStatus.Complete } message
                && message.Attempt == attempt)
            {
                images.TryPublish(jobId, attempt);
            }
        }
    }
}
