using System.ComponentModel.DataAnnotations;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Requests;
using ImageQueue.Web.Auth;
using ImageQueue.Web.Errors;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.Net.Http.Headers;

namespace ImageQueue.Web.Api;

/// <summary>Reads and writes messages.</summary>
[ApiController]
[Tags("Messages")]
public sealed class MessagesController(
    IMessageStore store, QueuePositions positions, MessageWait wait, CancelImageRequest cancel, RetryImageRequest retry,
    EraseMessages erase) : ControllerBase
{
    /// <summary>Adds a plain message.</summary>
    /// <param name="conversationId">Chosen by the chat app; comes to exist with its first message.</param>
    /// <param name="body">The message.</param>
    /// <param name="idempotencyKey">The same key with the same request gives the same message again, not a second one; with another
    /// request, 422. Bare or in quotation marks.</param>
    [HttpPost("/api/conversations/{conversation_id}/messages", Name = "addMessage")]
    [Authorize(Access.Client)]
    [RequestSizeLimit(BodyLimit.Bytes)]
    [Consumes("application/json")]
    [ProducesResponseType<MessageResponse>(StatusCodes.Status201Created, "application/json")]
    [Problem(400, ProblemCodes.InvalidRequest), Problem(403, ProblemCodes.ConversationForbidden)]
    [Problem(410, ProblemCodes.ConversationErased), Problem(413, ProblemCodes.BodyTooLarge)]
    [Problem(415, ProblemCodes.UnsupportedMediaType), Problem(422, ProblemCodes.InvalidRequest, ProblemCodes.IdempotencyKeyReused)]
    public async Task<IActionResult> AddAsync(
        [ConversationId] string conversationId, [FromBody] NewMessageBody body, [IdempotencyKey] string? idempotencyKey,
        CancellationToken cancellationToken)
    {
        var username = StoredName.Normalize(body.Username?.Trim() ?? "");
        var rules = new RequestRules();
        rules.Name("username", username);
        if (body.Role is not (MessageRole.User or MessageRole.Bot))
            rules.Add("role", "role must be user or bot.");
        if (string.IsNullOrEmpty(body.Content))
            rules.Add("content", "content must not be empty.");
        if (rules.Errors.Count > 0)
            return ApiProblem.Unprocessable(rules.Errors);

        // The rules above have seen that role and content are there.
        var message = new NewMessage(conversationId, username, body.Role!, body.Content!, Patch(body.ExtraMetadata));
        var key = idempotencyKey is null
            ? null
            : new IdempotencyKey(idempotencyKey, RequestFingerprint.Of("messages", body with { Username = username }));
        var added = await store.AddAsync(message, key, cancellationToken);
        Response.AddHeaders(added.IsReplay, waited: TimeSpan.Zero);
        return Created($"{Request.PathBase}/api/messages/{added.Message.Id}", await ShowAsync(added.Message, cancellationToken));
    }

    /// <summary>Messages of a conversation, in id order: from its beginning, from behind a message, or from before one.</summary>
    /// <param name="conversationId">The conversation.</param>
    /// <param name="after">Only messages with a larger id: reads forwards, from 0 by default.</param>
    /// <param name="before">Only messages with a smaller id, the newest of them: reads backwards. 9223372036854775807 starts at the
    /// end.</param>
    /// <param name="limit">1..200.</param>
    [HttpGet("/api/conversations/{conversation_id}/messages", Name = "listMessages")]
    [Authorize(Access.Read)]
    [ProducesResponseType<MessagePage>(StatusCodes.Status200OK, "application/json")]
    [Problem(400, ProblemCodes.InvalidRequest), Problem(404, ProblemCodes.NotFound), Problem(422, ProblemCodes.InvalidRequest)]
    public async Task<IActionResult> ListAsync(
        [ConversationId] string conversationId, [FromQuery, Range(0, long.MaxValue)] long? after,
        [FromQuery, Range(1, long.MaxValue)] long? before, [FromQuery, Range(1, 200)] int limit = 50,
        CancellationToken cancellationToken = default)
    {
        if (after is not null && before is not null)
            return ApiProblem.Result(ProblemCodes.InvalidRequest, "Send after or before, not both.", "before");
        if (await store.FindConversationAsync(conversationId, cancellationToken) is not { } conversation)
            return ConversationIdAttribute.NotFound(conversationId);
        var found = before is { } end
            ? await store.ListBackwardsAsync(conversationId, end, limit + 1, cancellationToken)
            : await store.ListAsync(conversationId, after ?? 0, limit + 1, cancellationToken);
        var live = await positions.GetAsync(cancellationToken);
        var page = found.Take(limit).OrderBy(message => message.Id).Select(message => MessageResponse.From(message, live, Request.PathBase))
            .ToList();
        var hasMore = found.Count > limit;
        long? next = hasMore && before is null ? page[^1].Id : null;
        long? previous = hasMore && before is not null ? page[0].Id : null;
        return Ok(new MessagePage(page, next, previous, conversation.Username));
    }

    /// <summary>One message.</summary>
    /// <param name="id">The message.</param>
    /// <param name="ifNoneMatch">The `ETag` that the client has: 304 while it is current.</param>
    /// <param name="prefer">`wait=30` holds the answer back until the request has finished, for at most that many seconds (60 at
    /// most).</param>
    [HttpGet("/api/messages/{id:long}", Name = "getMessage")]
    [Authorize(Access.Read)]
    [ProducesResponseType<MessageResponse>(StatusCodes.Status200OK, "application/json")]
    [ProducesResponseType(StatusCodes.Status304NotModified)]
    [Problem(404, ProblemCodes.NotFound)]
    public async Task<IActionResult> GetAsync(
        long id, [FromHeader(Name = "If-None-Match")] string? ifNoneMatch, [FromHeader(Name = "Prefer")] string? prefer,
        CancellationToken cancellationToken)
    {
        var message = await store.FindAsync(id, cancellationToken) ?? throw new MessageNotFoundException(id);
        var patience = WaitPreference.In(prefer);
        var shown = await ShowAsync(await wait.ForEndAsync(message, patience, cancellationToken), cancellationToken);
        Response.AddHeaders(isReplay: false, patience);
        Response.GetTypedHeaders().ETag = shown.ETag;
        return Knows(ifNoneMatch, shown.ETag) ? StatusCode(StatusCodes.Status304NotModified) : Ok(shown);
    }

    /// <summary>Merges the chat app's own keys into a message's metadata (RFC 7396), or replaces its content, or both.</summary>
    /// <param name="id">The message.</param>
    /// <param name="body">The changes.</param>
    [HttpPatch("/api/messages/{id:long}", Name = "patchMessage")]
    [Authorize(Access.Client)]
    [RequestSizeLimit(BodyLimit.Bytes)]
    [Consumes("application/merge-patch+json", "application/json")]
    [ProducesResponseType<MessageResponse>(StatusCodes.Status200OK, "application/json")]
    [Problem(400, ProblemCodes.InvalidRequest), Problem(404, ProblemCodes.NotFound), Problem(413, ProblemCodes.BodyTooLarge)]
    [Problem(415, ProblemCodes.UnsupportedMediaType), Problem(422, ProblemCodes.InvalidRequest)]
    public async Task<IActionResult> PatchAsync(long id, [FromBody] MessagePatchBody body, CancellationToken cancellationToken)
    {
        var patch = Patch(body.ExtraMetadata) is { IsEmpty: false } some ? some : null;
        var message = await store.FindAsync(id, cancellationToken) ?? throw new MessageNotFoundException(id);
        // Whether a message is an image never changes, so looking first is safe.
        if (message.IsImage && OwnMetadata.Check(patch) is { Count: > 0 } errors)
            return ApiProblem.Unprocessable(errors);

        if (patch is not null || body.Content is not null)
            message = await store.UpdateMessageAsync(id, body.Content, patch, cancellationToken);
        return Ok(await ShowAsync(message, cancellationToken));
    }

    /// <summary>Cancels a queued or processing image.</summary>
    /// <param name="id">The message.</param>
    [HttpPost("/api/messages/{id:long}/cancel", Name = "cancelMessage")]
    [Authorize(Access.Change)]
    [ProducesResponseType<MessageResponse>(StatusCodes.Status200OK, "application/json")]
    [Problem(404, ProblemCodes.NotFound), Problem(409, ProblemCodes.NotCancellable)]
    public async Task<IActionResult> CancelAsync(long id, CancellationToken cancellationToken) => await ToResultAsync(
        id, await cancel.CancelAsync(id, cancellationToken), ProblemCodes.NotCancellable,
        "Only an image that is queued or processing can be cancelled", cancellationToken);

    /// <summary>Puts an image in error or cancelled into the queue again, at its end.</summary>
    /// <param name="id">The message.</param>
    [HttpPost("/api/messages/{id:long}/retry", Name = "retryMessage")]
    [Authorize(Access.Change)]
    [ProducesResponseType<MessageResponse>(StatusCodes.Status200OK, "application/json")]
    [Problem(404, ProblemCodes.NotFound), Problem(409, ProblemCodes.NotRetryable)]
    [Problem(429, ProblemCodes.TooManyPending, ProblemCodes.QueueFull)]
    public async Task<IActionResult> RetryAsync(long id, CancellationToken cancellationToken) => await ToResultAsync(
        id, await retry.RetryAsync(id, cancellationToken), ProblemCodes.NotRetryable, "Only an image in error or cancelled can be retried",
        cancellationToken);

    /// <summary>
    /// Erases a message for good: its words, its metadata and its images. A waiting or processing request is cancelled first.
    /// </summary>
    /// <remarks>Watchers get an event whose `status` is `deleted` (for a text: `deleted` is true).</remarks>
    /// <param name="id">The message.</param>
    [HttpDelete("/api/messages/{id:long}", Name = "deleteMessage")]
    [Authorize(Access.Client)]
    [ProducesResponseType(StatusCodes.Status204NoContent)]
    [Problem(404, ProblemCodes.NotFound)]
    public async Task<IActionResult> DeleteAsync(long id, CancellationToken cancellationToken) =>
        await erase.EraseAsync(id, cancellationToken) ? NoContent() : throw new MessageNotFoundException(id);

    private static MetadataPatch? Patch(JsonElement? metadata) =>
        metadata is null or { ValueKind: JsonValueKind.Undefined or JsonValueKind.Null } ? null : MetadataPatch.From(metadata.Value);

    /// <summary>RFC 9110, section 13.1.2: weak comparison; an invalid list matches nothing.</summary>
    private static bool Knows(string? ifNoneMatch, EntityTagHeaderValue tag) =>
        EntityTagHeaderValue.TryParseList([ifNoneMatch ?? ""], out var known)
        && known.Any(one => one.Equals(EntityTagHeaderValue.Any) || one.Compare(tag, useStrongComparison: false));

    private async Task<MessageResponse> ShowAsync(Message message, CancellationToken cancellationToken) =>
        MessageResponse.From(message, await positions.GetAsync(cancellationToken), Request.PathBase);

    private async Task<IActionResult> ToResultAsync(
        long id, Transition transition, string code, string rule, CancellationToken cancellationToken)
    {
        var message = transition.Message ?? throw new MessageNotFoundException(id);
        if (!transition.Applied)
            return ApiProblem.Result(code, $"{rule}; message {id} is {(message.IsImage ? message.Status : "not an image")}.");
        return Ok(await ShowAsync(message, cancellationToken));
    }
}

/// <summary>A plain message to add.</summary>
public sealed record NewMessageBody
{
    /// <summary>The conversation's owner, 1..100 characters. Required.</summary>
    public string? Username { get; init; }

    /// <summary><c>user</c> or <c>bot</c>. Required.</summary>
    public string? Role { get; init; }

    /// <summary>What the chat shows. Required.</summary>
    public string? Content { get; init; }

    /// <summary>The chat app's own keys: a JSON object.</summary>
    public JsonElement? ExtraMetadata { get; init; }
}

/// <summary>A change to a message; fields left out stay.</summary>
public sealed record MessagePatchBody
{
    /// <summary>The new content.</summary>
    public string? Content { get; init; }

    /// <summary>An RFC 7396 merge patch.</summary>
    public JsonElement? ExtraMetadata { get; init; }
}
