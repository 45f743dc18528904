using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;

namespace ImageQueue.Core.Requests;

/// <summary>Looks up the image that a request starts from, and fills in what the request leaves to it.</summary>
public sealed class RequestSources(IConversationStore store, IUploadStore uploads, ForgeModels models, IForgeCatalogue catalogue)
{
    /// <summary>The longest side that an image can be upscaled to, in pixels.</summary>
    public const int MaxUpscaledSide = 4096;

    /// <summary>The request with the source's size, its prompt for an upscale, and the default strength.</summary>
    /// <exception cref="SourceException">The source cannot be used.</exception>
    internal async Task<ImageRequest> CompleteAsync(ImageRequest request, CancellationToken cancellationToken)
    {
        if (request.Source is not { } source)
            return request;
        Message? message = null;
        int width, height;
        if (source.MessageId is { } id)
        {
            message = await FindMessageAsync(id, request.Username, cancellationToken);
            (width, height) = SizeOf(message) ?? throw SourceException.NotFound("source.message_id");
        }
        else
        {
            // Checked: it has one of the two.
            var upload = await FindUploadAsync("source.upload_id", source.UploadId!, request, cancellationToken);
            (width, height) = (upload.Width, upload.Height);
        }

        if (source.MaskUploadId is { } mask)
            await FindUploadAsync("source.mask_upload_id", mask, request, cancellationToken);
        RefuseUnsupported(request);
        source = source with { JobId = message?.JobId };
        if (source.Upscale is { } factor)
            return Upscale(request, source, message?.Prompt, width * factor, height * factor);
        var strength = source.Strength ?? (source.MaskUploadId is null ? ImageSource.DefaultStrength : ImageSource.DefaultMaskStrength);
        return Fit(request with { Source = source with { Strength = strength } }, width, height);
    }

    /// <exception cref="SourceException">Every backend that could serve it is known not to be able to.</exception>
    private void RefuseUnsupported(ImageRequest request)
    {
        var task = ForgeTasks.Of(request.Source);
        var chosen = task == ForgeTask.Upscale || request.Checkpoint is not null ? null : models.Chosen(request.Model);
        if (catalogue.Can(task, chosen?.Backends ?? []))
            return;
        var model = chosen is { Backends.Count: > 0 } ? $" with the model '{chosen.Name}'" : "";
        throw new SourceException(
            SourceProblem.Unsupported, "source",
            $"No image server here{model} can start from an image in this way. GET /api/models says what they can.");
    }

    /// <summary>Without a size of its own it gets the source's: its shape, in what can be requested, at most the model's area.</summary>
    private ImageRequest Fit(ImageRequest request, int width, int height)
    {
        if (request.Width is not null || request.Height is not null)
            return request;
        var model = models.Complete(request);
        var area = (double)(model.Width ?? 1024) * (model.Height ?? 1024);
        var scale = Math.Min(1, Math.Sqrt(area / ((double)width * height)));
        return request with { Width = Side(width), Height = Side(height) };

        int Side(int pixels) => Math.Clamp((int)Math.Round(pixels * scale / 8) * 8, 64, 2048);
    }

    /// <summary>Nothing but the size has a meaning. Backends round it down to a multiple of 8.</summary>
    private static ImageRequest Upscale(ImageRequest request, ImageSource source, string? prompt, int width, int height)
    {
        if (Math.Max(width, height) > MaxUpscaledSide)
        {
            throw new SourceException(
                SourceProblem.TooLarge,
                "source.upscale",
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"The image would have {width} x {height} pixels; at most {MaxUpscaledSide} on a side can be made. ")
                    + (source.Upscale == 4 ? "Send 2 as source.upscale, or start from a smaller one." : "Start from a smaller one."));
        }

        return request with
        {
            Source = source,
            Prompt = request.Prompt.Length > 0 ? request.Prompt : prompt ?? "",
            Width = Math.Max(8, width / 8 * 8),
            Height = Math.Max(8, height / 8 * 8),
        };
    }

    private async Task<Message> FindMessageAsync(long id, string username, CancellationToken cancellationToken)
    {
        const string Field = "source.message_id";
        if (await store.FindAsync(id, cancellationToken) is not { IsImage: true } message
            || !await IsOwnerAsync(message.ConversationId, username, cancellationToken))
        {
            throw SourceException.NotFound(Field);
        }

        if (message.Status != MessageStatus.Complete)
        {
            throw new SourceException(
                SourceProblem.NotReady, Field, $"The image of message {id} is {message.Status}; it can be used once it is complete.");
        }

        return message.ImageUrl is not null ? message : throw SourceException.NotFound(Field);
    }

    /// <summary>One of the request's own conversation may come before its first message: whose that is, the submit decides.</summary>
    private async Task<Upload> FindUploadAsync(string field, string id, ImageRequest request, CancellationToken cancellationToken) =>
        await uploads.FindUploadAsync(id, cancellationToken) is { } upload
            && (upload.ConversationId == StoredName.Normalize(request.ConversationId)
                || await IsOwnerAsync(upload.ConversationId, request.Username, cancellationToken))
            ? upload
            : throw SourceException.NotFound(field);

    private async Task<bool> IsOwnerAsync(string conversationId, string username, CancellationToken cancellationToken) =>
        (await store.FindConversationAsync(conversationId, cancellationToken))?.Username == StoredName.Normalize(username);

    /// <summary>As the backend reported it; else as it was asked for.</summary>
    private static (int Width, int Height)? SizeOf(Message message)
    {
        var settings = GenerationSettings.Of(message);
        return message.Metadata.Object(MetadataFields.Result) is { } result
            && result.Int32("width") is > 0 and var width
            && result.Int32("height") is > 0 and var height
                ? (width, height)
                : settings is { Width: { } asked, Height: { } high } ? (asked, high) : null;
    }
}
