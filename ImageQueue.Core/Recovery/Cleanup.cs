using Hangfire;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Requests;
using ImageQueue.Core.Storage;

namespace ImageQueue.Core.Recovery;

/// <summary>
/// An hourly job: removes unused uploads after <see cref="ImagesOptions.KeepUploadsFor"/> and, where that is set, images after
/// <see cref="ImagesOptions.KeepFor"/> and tombstones after <see cref="MessagesOptions.KeepTombstonesFor"/>.
/// </summary>
public sealed class Cleanup(
    IMessageStore store, IMessageDatabase database, ImageFiles images, UsedUploads uploads, MessageTexts texts,
    IOptions<ImagesOptions> imagesOptions, IOptions<MessagesOptions> messagesOptions, ILogger<Cleanup> logger)
{
    /// <summary>Its id among Hangfire's recurring jobs.</summary>
    public const string Id = "cleanup";

    private const int PageSize = 500;

    /// <summary>Since the last byte of an upload being received: far longer than a connection may be silent.</summary>
    private static readonly TimeSpan AbandonedAfter = TimeSpan.FromHours(1);

    private static readonly MetadataPatch WithoutImage = MetadataPatch.Of(
        (MetadataFields.ImageUrl, null), (MetadataFields.ThumbnailUrl, null));

    /// <summary>What Hangfire calls.</summary>
    [AutomaticRetry(Attempts = 0)]
    [KeepBriefly]
    [JobDisplayName("Cleanup: remove expired images, uploads and tombstones")]
    public Task RunAsync(CancellationToken cancellationToken) =>
        // Away from Hangfire's thread; see GenerateImageJob.RunAsync.
        Task.Run(() => CleanUpAsync(cancellationToken), CancellationToken.None);

    public async Task CleanUpAsync(CancellationToken cancellationToken)
    {
        var failures = new List<Exception>();
        var expired = imagesOptions.Value.KeepFor is { } keepImages
            ? await TryAsync(() => RemoveImagesAsync(keepImages, cancellationToken))
            : 0;
        var tombstones = messagesOptions.Value.KeepTombstonesFor is { } keepTombstones
            ? await TryAsync(() => ForgetAsync(keepTombstones, cancellationToken))
            : 0;
        var unused = await TryAsync(() => RemoveUploadsAsync(cancellationToken));
        if (expired + tombstones + unused > 0)
        {
            await database.SettleAsync(cancellationToken);
            logger.LogInformation(
                "Removed {Images} expired images, {Uploads} expired uploads and {Tombstones} expired tombstones.",
                expired, unused, tombstones);
        }

        // Hangfire records the job as failed.
        if (failures.Count > 0)
            throw new AggregateException(failures);

        async Task<int> TryAsync(Func<Task<int>> part)
        {
            try
            {
                return await part();
            }
            catch (Exception e) when (!cancellationToken.IsCancellationRequested)
            {
                failures.Add(e);
                return 0;
            }
        }
    }

    /// <summary>
    /// The rows first: no request can name a removed file. Files without a row are what a crash between the two leaves, here or while one
    /// is uploaded.
    /// </summary>
    private async Task<int> RemoveUploadsAsync(CancellationToken cancellationToken)
    {
        images.RemoveUnfinishedUploads(AbandonedAfter);
        var (keepFor, removed) = (imagesOptions.Value.KeepUploadsFor, 0);
        foreach (var ids in images.UploadsOlderThan(keepFor).Chunk(PageSize).DefaultIfEmpty([]))
            removed += await uploads.RemoveExpiredAsync(ids, keepFor, cancellationToken);
        return removed;
    }

    /// <summary>The row first: no client sees the address of a removed image. A crash in between leaves a file for the next pass.</summary>
    private async Task<int> RemoveImagesAsync(TimeSpan keepFor, CancellationToken cancellationToken)
    {
        var removed = 0;
        foreach (var jobId in images.JobsOfImagesOlderThan(keepFor))
        {
            var message = await store.FindByJobIdAsync(jobId, cancellationToken);
            if (message is not null)
                await uploads.ReleaseAsync(message, cancellationToken);
            if (message is { Status: MessageStatus.Complete, ImageUrl: not null })
                await store.UpdateMessageAsync(message.Id, texts.Expired, WithoutImage, cancellationToken);
            try
            {
                images.RemoveAll(jobId, message?.Attempt ?? 0);
                removed++;
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                logger.LogWarning(e, "The expired image of job {JobId} could not be removed; the next clean-up tries again.", jobId);
            }
        }

        return removed;
    }

    private async Task<int> ForgetAsync(TimeSpan keepFor, CancellationToken cancellationToken)
    {
        var forgotten = 0;
        while (await store.ForgetErasedAsync(keepFor, PageSize, cancellationToken) is > 0 and var some)
            forgotten += some;
        return forgotten;
    }
}
