using ImageQueue.Core.Queue;
using ImageQueue.Core.Requests;
using ImageQueue.Web.Auth;
using ImageQueue.Web.Errors;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;

namespace ImageQueue.Web.Api;

/// <summary>Takes image requests.</summary>
[ApiController]
[Tags("Images")]
public sealed class ImagesController(
    SubmitImageRequest submit, RequestChoices choices, QueuePositions positions, MessageWait wait) : ControllerBase
{
    /// <summary>Requests an image in a conversation, or several with `n`. The request is stored and queued.</summary>
    /// <param name="conversationId">Chosen by the chat app; comes to exist with its first message.</param>
    /// <param name="body">What to generate.</param>
    /// <param name="idempotencyKey">The same key with the same request gives the same message again, not a second image; with another
    /// request, 422. Bare or in quotation marks.</param>
    /// <param name="prefer">`wait=30` holds the answer back until the request has finished, for at most that many seconds (60 at
    /// most).</param>
    [HttpPost("/api/conversations/{conversation_id}/images", Name = "submitImage")]
    [Authorize(Access.Submit)]
    [RequestSizeLimit(BodyLimit.Bytes)]
    [Consumes("application/json")]
    [ProducesResponseType<MessageResponse>(StatusCodes.Status202Accepted, "application/json")]
    [Problem(400, ProblemCodes.InvalidRequest), Problem(403, ProblemCodes.ConversationForbidden), Problem(404, ProblemCodes.SourceNotFound)]
    [Problem(409, ProblemCodes.SourceNotReady), Problem(410, ProblemCodes.ConversationErased), Problem(413, ProblemCodes.BodyTooLarge)]
    [Problem(415, ProblemCodes.UnsupportedMediaType)]
    [Problem(422, ProblemCodes.InvalidRequest, ProblemCodes.UnknownModel, ProblemCodes.IdempotencyKeyReused)]
    [Problem(422, ProblemCodes.UnsupportedSource), Problem(429, ProblemCodes.TooManyPending, ProblemCodes.QueueFull)]
    public async Task<IActionResult> SubmitAsync(
        [ConversationId] string conversationId, [FromBody] ImageRequestBody body, [IdempotencyKey] string? idempotencyKey,
        [FromHeader(Name = "Prefer")] string? prefer, CancellationToken cancellationToken)
    {
        var (request, errors) = body.ToRequest(conversationId, idempotencyKey).Check();
        if (errors.Count == 0)
            errors = choices.Check(request);
        if (errors.Count == 0 && request.ExtraMetadata is { } own)
            errors = OwnMetadata.Check(MetadataPatch.From(own));
        if (errors.Count > 0)
            return ApiProblem.Unprocessable(errors);
        var submitted = await submit.SubmitAllAsync(request, cancellationToken);
        var patience = WaitPreference.In(prefer);
        var messages = await Task.WhenAll(submitted.Select(one => wait.ForEndAsync(one.Message, patience, cancellationToken)));
        Response.AddHeaders(submitted[0].IsReplay, patience);
        var live = await positions.GetAsync(cancellationToken);
        var shown = messages.Select(message => MessageResponse.From(message, live, Request.PathBase)).ToList();
        return Accepted(
            $"{Request.PathBase}/api/messages/{messages[0].Id}",
            messages[0].GroupId is { } group ? new ImageGroup(group, shown) : shown[0]);
    }
}

/// <summary>The images of one request for several. Each waits, ends and can be retried by itself.</summary>
/// <param name="GroupId">Also in each one's <c>extra_metadata</c>.</param>
/// <param name="Messages">In the order of their seeds.</param>
public sealed record ImageGroup(string GroupId, IReadOnlyList<MessageResponse> Messages);

/// <summary>An image to generate; the defaults of what is left out come from the model, or from <c>Forge:Defaults</c>.</summary>
public sealed record ImageRequestBody : GenerationSettings
{
    /// <summary>The conversation's owner, 1..100 characters. Required.</summary>
    public string? Username { get; init; }

    /// <summary>What to generate, 1..4000 characters. Required, but for an upscale.</summary>
    public string? Prompt { get; init; }

    /// <summary>The image to start from, and how.</summary>
    public ImageSource? Source { get; init; }

    /// <summary>1..4 images with the seeds seed, seed+1, ...; all are accepted, or none. Default 1.</summary>
    public int? N { get; init; }

    /// <summary>The chat app's own keys: a JSON object.</summary>
    public JsonElement? ExtraMetadata { get; init; }

    internal ImageRequest ToRequest(string conversationId, string? idempotencyKey) => new(this)
    {
        ConversationId = conversationId,
        Username = StoredName.Normalize(Username ?? ""),
        Prompt = Prompt ?? "",
        Source = Source,
        Count = N,
        IdempotencyKey = idempotencyKey,
        ExtraMetadata = ExtraMetadata is { ValueKind: JsonValueKind.Undefined or JsonValueKind.Null } ? null : ExtraMetadata,
    };
}
