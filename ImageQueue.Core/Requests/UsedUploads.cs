using ImageQueue.Core.Generation;
using ImageQueue.Core.Messages;

namespace ImageQueue.Core.Requests;

/// <summary>Removes uploads with the last message that names them.</summary>
public sealed class UsedUploads(IUploadStore store, ImageFiles files)
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
                files.RemoveUpload(id);
        }
    }

    /// <summary>Removes what was uploaded in a conversation and not used.</summary>
    internal async Task RemoveUnusedAsync(string conversationId, CancellationToken cancellationToken)
    {
        foreach (var id in await store.ForgetUploadsOfAsync(conversationId, cancellationToken))
            files.RemoveUpload(id);
    }
}
