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
            // Listed first and judged afterwards, and by what is processing before what is complete: other machines may generate into
            // the same folder, and their next attempt's files, or an image between its row and its rename, are theirs.
            var files = images.ListTemporaries();
            if (files.Count == 0)
                return;
            if (!jobs.AreVolatile)
            {
                var processing = store.ListProcessingAsync(200, cancellationToken).Select(message => message.JobId ?? "");
                files = [.. files.ExceptBy(await processing.ToListAsync(cancellationToken), file => file.JobId)];
            }

            await PublishAsync(files, cancellationToken);
            logger.LogInformation("Removed {Count} temporary files of interrupted attempts.", images.RemoveTemporaries(files));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or StoreUnavailableException)
        {
            logger.LogWarning(e, "Temporary files in {Directory} could not be removed; the next start tries again.", images.Directory);
        }
    }

    /// <summary>A process that died between row and rename has left a complete row, and its image under a temporary name.</summary>
    private async Task PublishAsync(IReadOnlyList<TemporaryFile> files, CancellationToken cancellationToken)
    {
        foreach (var file in files)
        {
            if (file.Attempt is { } attempt
                && await store.FindByJobIdAsync(file.JobId, cancellationToken) is { Status: MessageStatus.Complete } message
                && message.Attempt == attempt)
            {
                images.TryPublish(file.JobId, attempt);
            }
        }
    }
}
