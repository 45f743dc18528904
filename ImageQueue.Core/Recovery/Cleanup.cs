using Hangfire;
using ImageQueue.Core.Generation;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Storage;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace ImageQueue.Core.Recovery;

/// <summary>
/// Removes images after <see cref="ImagesOptions.KeepFor"/> and tombstones after <see cref="MessagesOptions.KeepTombstonesFor"/>: an hourly
/// job, where one of the two is set.
/// </summary>
public sealed class Cleanup(
    IMessageStore store,
    IMessageDatabase database,
    ImageFiles images,
    MessageTexts texts,
    IOptions<ImagesOptions> imagesOptions,
    IOptions<MessagesOptions> messagesOptions,
    ILogger<Cleanup> logger)
{
    /// <summary>Its id among Hangfire's recurring jobs.</summary>
    public const string Id = "cleanup";

    private const int PageSize = 500;

    private static readonly MetadataPatch WithoutImage = MetadataPatch.Of(
        (MetadataFields.ImageUrl, null), (MetadataFields.ThumbnailUrl, null));

    /// <summary>Whether a retention is set.</summary>
    internal bool IsNeeded => imagesOptions.Value.KeepFor is not null || messagesOptions.Value.KeepTombstonesFor is not null;

    /// <summary>What Hangfire calls.</summary>
    [AutomaticRetry(Attempts = 0)]
    [KeepBriefly]
    [JobDisplayName("Cleanup: remove expired images and tombstones")]
    public Task RunAsync(CancellationToken cancellationToken) =>
        // Away from Hangfire's thread; see GenerateImageJob.RunAsync.
        Task.Run(() => CleanUpAsync(cancellationToken), CancellationToken.None);

    public async Task CleanUpAsync(CancellationToken cancellationToken)
    {
        var images = imagesOptions.Value.KeepFor is { } keepImages ? await RemoveImagesAsync(keepImages, cancellationToken) : 0;
        var tombstones = messagesOptions.Value.KeepTombstonesFor is { } keepTombstones
            ? await ForgetAsync(keepTombstones, cancellationToken)
            : 0;
        if (images + tombstones == 0)
            return;
        await database.SettleAsync(cancellationToken);
        logger.LogInformation("Removed {Images} expired images and {Tombstones} expired tombstones.", images, tombstones);
    }

    /// <summary>The row first: no client sees the address of a removed image. A crash in between leaves a file for the next pass.</summary>
    private async Task<int> RemoveImagesAsync(TimeSpan keepFor, CancellationToken cancellationToken)
    {
        var removed = 0;
        foreach (var jobId in images.JobsOfImagesOlderThan(keepFor))
        {
            var message = await store.FindByJobIdAsync(jobId, cancellationToken);
            if (message is { Status: MessageStatus.Complete, ImageUrl: not null })
                await store.UpdateMessageAsync(message.Id, texts.Expired, WithoutImage, cancellationToken);
            images.RemoveAll(jobId, message?.Attempt ?? 0);
            removed++;
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
