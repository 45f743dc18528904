using ImageQueue.Core.Forge;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;
using Microsoft.Extensions.Options;

namespace ImageQueue.Core.Requests;

/// <summary>Takes a checked image request: a row first, then its Hangfire job.</summary>
public sealed class SubmitImageRequest(
    IRequestStore store, EnqueueImageRequest queue, QueuePositions positions, IOptions<QueueOptions> queueOptions, ForgeModels models)
{
    /// <summary>Stores the request and puts it into the queue.</summary>
    /// <exception cref="TooManyPendingException">The user's or the whole queue is full.</exception>
    /// <exception cref="ConversationForbiddenException">The conversation belongs to another username.</exception>
    /// <exception cref="IdempotencyKeyReusedException">The key was used for another request.</exception>
    /// <exception cref="StoreUnavailableException">The database cannot be written; nothing was accepted.</exception>
    public async Task<Submitted> SubmitAsync(ImageRequest request, CancellationToken cancellationToken)
    {
        var limits = queueOptions.Value;
        var waiting = await positions.CountAsync(cancellationToken);
        // Not exact to the last place: requests of the same instant do not see each other yet.
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
            RequestHash = request.IdempotencyKey is null ? null : RequestFingerprint.Of("images", request with { IdempotencyKey = null }),
        };
        var submitted = await (isFull ? FindReplayAsync(message, cancellationToken) : store.SubmitAsync(message, limits.UserLimits, cancellationToken));
        if (submitted.IsReplay)
            return submitted;

        // The row is the promise: from here on the caller's patience no longer matters. A crash right here leaves a queued
        // row without a job, which the sweep finds.
        return submitted with { Message = await queue.EnqueueAsync(submitted.Message) };
    }

    /// <summary>A full queue takes nothing new, but whoever repeats an accepted request is told so.</summary>
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
