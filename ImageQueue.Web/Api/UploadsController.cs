using ImageQueue.Core.Generation;
using ImageQueue.Core.Requests;
using ImageQueue.Web.Auth;
using ImageQueue.Web.Errors;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.WebUtilities;
using Microsoft.Extensions.Primitives;
using Microsoft.Net.Http.Headers;

namespace ImageQueue.Web.Api;

/// <summary>Takes and serves images that requests can start from.</summary>
[ApiController]
[Tags("Images")]
public sealed class UploadsController(UploadImage uploads, IUploadStore store, ImageFiles files) : ControllerBase
{
    /// <summary>What may surround an upload in a multipart body.</summary>
    private const int MultipartBytes = 64 * 1024;

    /// <summary>
    /// Uploads an image to start from: PNG, JPEG or WebP, as the body or as the part `file` of a form. It is turned upright, made no
    /// larger than 2048 x 2048, and stored as PNG without metadata.
    /// </summary>
    /// <remarks>One that no request uses is removed after a day (`Images:KeepUploadsFor`); a used one goes with the last message that
    /// names it.</remarks>
    /// <param name="conversationId">Chosen by the chat app. Its owner can use the upload, in every conversation of theirs.</param>
    /// <param name="cancellationToken">Ends with the connection.</param>
    [HttpPost("/api/conversations/{conversation_id}/uploads", Name = "uploadImage")]
    [Authorize(Access.Submit)]
    [RequestSizeLimit(UploadImage.MaxBytes + MultipartBytes)]
    [ProducesResponseType<UploadResponse>(StatusCodes.Status201Created, "application/json")]
    [Problem(400, ProblemCodes.InvalidImage, ProblemCodes.InvalidRequest), Problem(410, ProblemCodes.ConversationErased)]
    [Problem(413, ProblemCodes.UploadTooLarge), Problem(415, ProblemCodes.UnsupportedMediaType), Problem(422, ProblemCodes.InvalidRequest)]
    public async Task<IActionResult> AddAsync([ConversationId] string conversationId, CancellationToken cancellationToken)
    {
        try
        {
            var (upload, bytes) = await uploads.AddAsync(conversationId, await FindImageAsync(cancellationToken), cancellationToken);
            return Created(
                $"{Request.PathBase}/api/conversations/{Uri.EscapeDataString(conversationId)}/uploads/{upload.Id}",
                new UploadResponse(upload.Id, upload.Width, upload.Height, bytes));
        }
        catch (BadHttpRequestException e) when (e.StatusCode == StatusCodes.Status413PayloadTooLarge)
        {
            throw UploadRefusedException.TooLarge();
        }
        catch (Exception e) when (e is IOException && HttpContext.RequestAborted.IsCancellationRequested)
        {
            throw new OperationCanceledException("The client has closed the connection.", e);
        }
        catch (Exception e) when (e is UnauthorizedAccessException || (e is IOException && e is not BadHttpRequestException))
        {
            throw new StoreUnavailableException("The images folder cannot be written.", e);
        }
        catch (InvalidDataException)
        {
            throw new ProblemException(
                ProblemCodes.InvalidRequest, "The form cannot be read. Send multipart/form-data with one part, file.");
        }
    }

    /// <summary>An upload, as it is stored.</summary>
    /// <param name="conversationId">The conversation that it was uploaded in.</param>
    /// <param name="uploadId">As the upload's answer named it.</param>
    /// <param name="cancellationToken">Ends with the connection.</param>
    [HttpGet("/api/conversations/{conversation_id}/uploads/{upload_id:regex(^[[0-9a-f]]{{32}}$)}", Name = "getUpload")]
    [Authorize(Access.Read)]
    [TokenInAddress]
    [ProducesResponseType(StatusCodes.Status200OK)]
    [Problem(404, ProblemCodes.NotFound), Problem(422, ProblemCodes.InvalidRequest)]
    public async Task<IActionResult> GetAsync(
        [ConversationId] string conversationId, [FromRoute(Name = "upload_id")] string uploadId, CancellationToken cancellationToken)
    {
        var upload = await store.FindUploadAsync(uploadId, cancellationToken);
        var isOfConversation = upload?.ConversationId == StoredName.Normalize(conversationId);
        return this.ImmutableFile(
            isOfConversation ? files.FindUploadPath(uploadId) : null, "image/png",
            "There is no such upload in this conversation, or it is kept no longer. Upload the image again.");
    }

    /// <summary>The body, or the part <c>file</c> of a form. The decoder decides what it is; a header can be wrong.</summary>
    private async Task<Stream> FindImageAsync(CancellationToken cancellationToken)
    {
        if (!MediaTypeHeaderValue.TryParse(Request.ContentType, out var type)
            || !(Is(type.Type, "image") || Is(type.MediaType, "application/octet-stream") || Is(type.MediaType, "multipart/form-data")))
        {
            throw UploadRefusedException.OfType();
        }

        if (!Is(type.MediaType, "multipart/form-data"))
            return Request.Body;
        if (HeaderUtilities.RemoveQuotes(type.Boundary).Value is not { Length: > 0 and <= 200 } boundary)
            throw new InvalidDataException("The form has no boundary.");
        var form = new MultipartReader(boundary, Request.Body);
        while (await ReadPartAsync(form, cancellationToken) is { } part)
        {
            if (ContentDispositionHeaderValue.TryParse(part.ContentDisposition, out var disposition)
                && HeaderUtilities.RemoveQuotes(disposition.Name) == "file")
            {
                return part.Body;
            }
        }

        throw new InvalidDataException("The form has no part file.");

        static bool Is(StringSegment name, string other) => name.Equals(other, StringComparison.OrdinalIgnoreCase);
    }

    private static async Task<MultipartSection?> ReadPartAsync(MultipartReader form, CancellationToken cancellationToken)
    {
        try
        {
            return await form.ReadNextSectionAsync(cancellationToken);
        }
        catch (IOException e) when (e.GetType() == typeof(IOException))
        {
            throw new InvalidDataException("The form ends before its last boundary.", e); // A server's own errors have types of their own.
        }
    }
}

/// <summary>An upload.</summary>
/// <param name="UploadId">What to send as <c>source.upload_id</c> or <c>source.mask_upload_id</c>.</param>
/// <param name="Width">Pixels, upright.</param>
/// <param name="Height">Pixels, upright.</param>
/// <param name="Bytes">Of the stored PNG.</param>
public sealed record UploadResponse(string UploadId, int Width, int Height, int Bytes);
