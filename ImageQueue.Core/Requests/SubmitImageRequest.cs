using System.Security.Cryptography;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Queue;

namespace ImageQueue.Core.Requests;

/// <summary>Submits a checked image request: its rows first, then their Hangfire jobs.</summary>
public sealed class SubmitImageRequest(
    IRequestStore store, EnqueueImageRequest queue, RequestSources sources, QueuePositions positions, IOptions<QueueOptions> queueOptions,
    ForgeModels models)
{
    /// <summary>Submits a request for one image.</summary>
    /// <inheritdoc cref="SubmitAllAsync"/>
    public async Task<Submitted> SubmitAsync(ImageRequest request, CancellationToken cancellationToken) =>
        (await SubmitAllAsync(request with { Count = null }, cancellationToken))[0];

    /// <summary>Submits as many images as the request counts: all are accepted, or none.</summary>
    /// <exception cref="SourceException">The image that it starts from cannot be used.</exception>
    /// <exception cref="TooManyPendingException">The user's or the whole queue is full.</exception>
    /// <exception cref="InvalidMetadataPatchException">The chat app's own keys break a limit.</exception>
    /// <exception cref="ConversationForbiddenException">The conversation belongs to another username.</exception>
    /// <exception cref="IdempotencyKeyReusedException">The key was used for another request.</exception>
    /// <exception cref="StoreUnavailableException">The database cannot be written; nothing was accepted.</exception>
    public async Task<IReadOnlyList<Submitted>> SubmitAllAsync(ImageRequest request, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(request);
        var limits = queueOptions.Value;
        var waiting = await positions.CountAsync(cancellationToken);
        // Not exact to the last request: those of the same instant do not see each other yet.
        Exception? refusal = waiting + (request.Count ?? 1) > limits.MaxLength ? TooManyPendingException.OfAll(limits.MaxLength) : null;
        var complete = request;
        try
        {
            if (refusal is null)
                complete = await sources.CompleteAsync(request, cancellationToken);
        }
        catch (SourceException e)
        {
            refusal = e;
        }

        if (refusal is not null && request.IdempotencyKey is null)
            throw refusal;
        var messages = MessagesOf(complete, waiting, request);
        var submitted = await (refusal is null
            ? store.SubmitAsync(messages, limits.UserLimits, cancellationToken)
            : FindReplayAsync(messages, refusal, cancellationToken));
        if (submitted[0].IsReplay)
            return submitted;

        // The rows are the outbox: from here on nothing depends on the caller. A crash right here leaves queued rows without a job,
        // which the sweep finds.
        var enqueued = new List<Submitted>(submitted.Count);
        foreach (var one in submitted)
            enqueued.Add(one with { Message = await queue.EnqueueAsync(one.Message) });
        return enqueued;
    }

    /// <param name="sent">The request as it was sent: its hash must not depend on what was filled in.</param>
    private List<NewImageMessage> MessagesOf(ImageRequest request, int waiting, ImageRequest sent)
    {
        var count = request.Count ?? 1;
        // An upscale has no settings but its size; it is the work of about a step.
        var settings = request.Source?.Upscale is null
            ? models.Complete(request)
            : new GenerationSettings { Width = request.Width, Height = request.Height, Steps = 1 };
        if (count > 1 && settings.Seed is null or < 0)
            settings = settings with { Seed = Random.Shared.Next() };
        var own = request.ExtraMetadata is { } metadata ? MetadataPatch.From(metadata) : MetadataPatch.Empty;
        var hash = sent.IdempotencyKey is null ? null : RequestFingerprint.Of("images", sent with { IdempotencyKey = null });
        var group = count > 1 ? Guid.NewGuid().ToString("N") : null;
        return
        [
            .. Enumerable.Range(0, count).Select(i => new NewImageMessage(
                request.ConversationId,
                request.Username,
                JobId: Guid.NewGuid().ToString("N"),
                request.Prompt,
                (count == 1 ? settings : settings with { Seed = settings.Seed + i }).ToJson(),
                QueuePosition: waiting + 1 + i,
                KeyOf(request.IdempotencyKey, i)) { Source = request.Source, GroupId = group, Own = own, RequestHash = hash }),
        ];
    }

    /// <summary>The first has the key itself; the others one that no client can send, since it holds a control character.</summary>
    private static string? KeyOf(string? key, int number) => key is null || number == 0
        ? key
        : string.Create(
            CultureInfo.InvariantCulture, $"{number}\u001f{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(key)))}");

    /// <summary>What is refused as new is still answered as a repeated request.</summary>
    private async Task<IReadOnlyList<Submitted>> FindReplayAsync(
        IReadOnlyList<NewImageMessage> messages, Exception refusal, CancellationToken cancellationToken)
    {
        try
        {
            return await store.SubmitAsync(messages, new UserLimits(0), cancellationToken);
        }
        catch (TooManyPendingException)
        {
            throw refusal;
        }
    }
}
