using ImageQueue.Core.Forge;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;
using Microsoft.Extensions.Options;

namespace ImageQueue.Core.Requests;

/// <summary>Submits a checked image request: its row first, then its Hangfire job.</summary>
public sealed class SubmitImageRequest(
    IRequestStore store, EnqueueImageRequest queue, QueuePositions positions, IOptions<QueueOptions> queueOptions, ForgeModels models)
{
    /// <exception cref="TooManyPendingException">The user's or the whole queue is full.</exception>
    /// <exception cref="InvalidMetadataPatchException">The chat app's own keys break a limit.</exception>
    /// <exception cref="ConversationForbiddenException">The conversation belongs to another username.</exception>
    /// <exception cref="IdempotencyKeyReusedException">The key was used for another request.</exception>
    /// <exception cref="StoreUnavailableException">The database cannot be written; nothing was accepted.</exception>
    public async Task<Submitted> SubmitAsync(ImageRequest request, CancellationToken cancellationToken)
    {
        var limits = queueOptions.Value;
        var waiting = await positions.CountAsync(cancellationToken);
        // Not exact to the last request: those of the same instant do not see each other yet.
        var isFull = waiting >= limits.MaxLength;
        if (isFull && request.IdempotencyKey is null)
            throw TooManyPendingException.OfAll(limits.MaxLength);

        var message = new NewImageMessage(
            request.ConversationId,
            request.Username,
            JobId: Guid.NewGuid().ToString("N"),
            request.Prompt,
            models.Complete(request).ToJson(),
            QueuePosition: waiting + 1,
            request.IdempotencyKey)
        {
            Own = request.ExtraMetadata is { } own ? MetadataPatch.From(own) : MetadataPatch.Empty,
            RequestHash = request.IdempotencyKey is null ? null : RequestFingerprint.Of("images", request with { IdempotencyKey = null }),
        };
        var submitted = await (
            isFull ? FindReplayAsync(message, cancellationToken) : store.SubmitAsync(message, limits.UserLimits, cancellationToken));
        if (submitted.IsReplay)
            return submitted;

        // The row is the outbox: from here on nothing depends on the caller. A crash right here leaves a queued row without a job,
        // which the sweep finds.
        return submitted with { Message = await queue.EnqueueAsync(submitted.Message, request.Username) };
    }

    /// <summary>A full queue accepts nothing new, but still answers a repeated request.</summary>
    private async Task<Submitted> FindReplayAsync(NewImageMessage message, CancellationToken cancellationToken)
    {
        try
        {
            return await store.SubmitAsync(message, new UserLimits(0), cancellationToken);
        }
        catch (TooManyPendingException)
        {
            throw TooManyPendingException.OfAll(queueOptions.Value.MaxLength);
        }
    }
}
