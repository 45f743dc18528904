namespace ImageQueue.Core.Generation;

/// <summary>
/// Finds the image of a job. A row is complete a moment before its file has its final name, and a crash may fall between: then
/// the row says which attempt's file it is.
/// </summary>
public sealed class ImageLocator(ImageFiles images, IRequestStore store)
{
    /// <summary>The file's path; null when there is no image of that job.</summary>
    /// <param name="jobId">32 lower-case hex digits.</param>
    /// <exception cref="StoreUnavailableException">There is no file of that name, and the database cannot be asked for another.</exception>
    public ValueTask<string?> FindAsync(string jobId, CancellationToken cancellationToken) =>
        FindAsync(jobId, images.FindPath, cancellationToken);

    /// <summary>The same for its thumbnail. Images of earlier releases have none.</summary>
    /// <param name="jobId">32 lower-case hex digits.</param>
    /// <exception cref="StoreUnavailableException">There is no file of that name, and the database cannot be asked for another.</exception>
    public ValueTask<string?> FindThumbnailAsync(string jobId, CancellationToken cancellationToken) =>
        FindAsync(jobId, images.FindThumbnailPath, cancellationToken);

    private async ValueTask<string?> FindAsync(string jobId, Func<string, string?> find, CancellationToken cancellationToken)
    {
        if (find(jobId) is { } path)
            return path;
        if (await store.FindByJobIdAsync(jobId, cancellationToken) is not { Status: MessageStatus.Complete } message)
            return null;
        images.TryPublish(jobId, message.Attempt);
        return find(jobId);
    }
}
