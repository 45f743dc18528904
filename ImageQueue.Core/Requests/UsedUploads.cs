using ImageQueue.Core.Generation;

namespace ImageQueue.Core.Requests;

/// <summary>Removes uploads that no message names any more: their rows first. A crash in between leaves files to the clean-up.</summary>
public sealed class UsedUploads(IUploadStore store, ImageFiles files, ILogger<UsedUploads> logger)
{
    /// <summary>Lets a finished message name its uploads no longer.</summary>
    public async Task ReleaseAsync(Message message, CancellationToken cancellationToken)
    {
        if (ImageSource.Of(message) is not { Uploads.Count: > 0 })
            return;
        await store.ReleaseUploadsAsync(message.Id, cancellationToken);
        await RemoveFilesAsync(message, cancellationToken);
    }

    /// <summary>Removes the files of the uploads that no message names, once this one's row does not any more.</summary>
    /// <param name="message">As it was.</param>
    internal async Task RemoveFilesAsync(Message message, CancellationToken cancellationToken)
    {
        foreach (var id in ImageSource.Of(message)?.Uploads ?? [])
        {
            if (await store.FindUploadAsync(id, cancellationToken) is null && files.FindUploadPath(id) is not null)
                Remove(id);
        }
    }

    /// <summary>Removes what was uploaded in a conversation and not used.</summary>
    internal async Task RemoveUnusedAsync(string conversationId, CancellationToken cancellationToken) =>
        Remove(await store.ForgetUploadsOfAsync(conversationId, cancellationToken));

    /// <summary>Removes those of them that no message names.</summary>
    public async Task RemoveUnusedAsync(IReadOnlyCollection<string> ids, CancellationToken cancellationToken) =>
        Remove(await store.ForgetUploadsAsync(ids, cancellationToken));

    /// <summary>Removes what has not been used for so long, and those of the files that have no row.</summary>
    /// <returns>How many.</returns>
    internal async Task<int> RemoveExpiredAsync(IReadOnlyCollection<string> ids, TimeSpan keepFor, CancellationToken cancellationToken) =>
        Remove(await store.ForgetUnusedUploadsAsync(ids, keepFor, cancellationToken));

    private int Remove(IReadOnlyList<string> ids)
    {
        foreach (var id in ids)
            Remove(id);
        return ids.Count;
    }

    /// <summary>Without a row it can be used no more: one that cannot be removed now must not keep the others.</summary>
    private void Remove(string id)
    {
        try
        {
            files.RemoveUpload(id);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            logger.LogWarning(e, "Upload {UploadId} could not be removed from the disk; the clean-up tries again.", id);
        }
    }
}
