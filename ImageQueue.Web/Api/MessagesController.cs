using System.ComponentModel.DataAnnotations;
using System.Text.Json;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Requests;
using ImageQueue.Web.Auth;
using ImageQueue.Web.Errors;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;

namespace ImageQueue.Web.Api;

/// <summary>Reads and writes messages.</summary>
[ApiController]
[Tags("Messages")]
[ProducesResponseType<ProblemDetails>(StatusCodes.Status400BadRequest, "application/problem+json")]
public sealed class MessagesController(IMessageStore store, QueuePositions positions, CancelImageRequest cancel, RetryImageRequest retry)
    : ControllerBase
{
    /// <summary>Adds a plain message.</summary>
    [HttpPost("/api/conversations/{conversation_id}/messages")]
    [Authorize(Access.Client)]
    [RequestSizeLimit(BodyLimit.Bytes)]
    [Consumes("application/json")]
    [ProducesResponseType<MessageResponse>(StatusCodes.Status201Created, "application/json")]
    [ProducesResponseType<ProblemDetails>(StatusCodes.Status403Forbidden, "application/problem+json")]
    [ProducesResponseType<ProblemDetails>(StatusCodes.Status422UnprocessableEntity, "application/problem+json")]
    public async Task<IActionResult> AddAsync(
        [FromRoute(Name = "conversation_id")] string conversationId, [FromBody] NewMessageBody body, CancellationToken cancellationToken)
    {
        var username = body.Username?.Trim() ?? "";
        var rules = new RequestRules();
        rules.Name("conversation_id", conversationId);
        rules.Name("username", username);
        if (body.Role is not (MessageRole.User or MessageRole.Bot))
            rules.Add("role", "role must be user or bot.");
        if (string.IsNullOrEmpty(body.Content))
            rules.Add("content", "content must not be empty.");
        if (rules.Errors.Count > 0)
            return ApiProblem.Unprocessable(rules.Errors);

        // The rules above have seen that role and content are there.
        var message = await store.AddAsync(new NewMessage(conversationId, username, body.Role!, body.Content!, Patch(body.ExtraMetadata)), cancellationToken);
        return Created($"/api/messages/{message.Id}", await ShowAsync(message, cancellationToken));
    }

    /// <summary>Messages of a conversation, oldest first.</summary>
    /// <param name="conversationId">The conversation.</param>
    /// <param name="after">Only messages with a larger id.</param>
    /// <param name="limit">1..200.</param>
    /// <param name="cancellationToken">Ends with the connection.</param>
    [HttpGet("/api/conversations/{conversation_id}/messages")]
    [Authorize(Access.Read)]
    [ProducesResponseType<MessagePage>(StatusCodes.Status200OK, "application/json")]
    [ProducesResponseType<ProblemDetails>(StatusCodes.Status404NotFound, "application/problem+json")]
    public async Task<IActionResult> ListAsync(
        [FromRoute(Name = "conversation_id")] string conversationId,
        [FromQuery, Range(0, long.MaxValue)] long after = 0,
        [FromQuery, Range(1, 200)] int limit = 50,
        CancellationToken cancellationToken = default)
    {
        var messages = await store.ListAsync(conversationId, after, limit + 1, cancellationToken);
        if (messages.Count == 0 && await store.FindConversationAsync(conversationId, cancellationToken) is null)
            return ConversationNotFound(conversationId);
        var live = await positions.GetAsync(cancellationToken);
        var page = messages.Take(limit).Select(message => MessageResponse.From(message, live)).ToList();
        return Ok(new MessagePage(page, messages.Count > limit ? page[^1].Id : null));
    }

    /// <summary>One message.</summary>
    [HttpGet("/api/messages/{id:long}")]
    [Authorize(Access.Read)]
    [ProducesResponseType<MessageResponse>(StatusCodes.Status200OK, "application/json")]
    [ProducesResponseType<ProblemDetails>(StatusCodes.Status404NotFound, "application/problem+json")]
    public async Task<IActionResult> GetAsync(long id, CancellationToken cancellationToken)
    {
        var message = await store.FindAsync(id, cancellationToken) ?? throw new MessageNotFoundException(id);
        return Ok(await ShowAsync(message, cancellationToken));
    }

    /// <summary>Merges the chat app's own keys into a message's metadata (RFC 7396), or replaces its content, or both.</summary>
    [HttpPatch("/api/messages/{id:long}")]
    [Authorize(Access.Client)]
    [RequestSizeLimit(BodyLimit.Bytes)]
    [Consumes("application/merge-patch+json", "application/json")]
    [ProducesResponseType<MessageResponse>(StatusCodes.Status200OK, "application/json")]
    [ProducesResponseType<ProblemDetails>(StatusCodes.Status404NotFound, "application/problem+json")]
    [ProducesResponseType<ProblemDetails>(StatusCodes.Status422UnprocessableEntity, "application/problem+json")]
    public async Task<IActionResult> PatchAsync(long id, [FromBody] MessagePatchBody body, CancellationToken cancellationToken)
    {
        var patch = Patch(body.ExtraMetadata);
        var message = await store.FindAsync(id, cancellationToken) ?? throw new MessageNotFoundException(id);
        // Whether a message is an image never changes, so looking first is safe.
        if (message.IsImage && patch?.Root.EnumerateObject().Select(member => member.Name).FirstOrDefault(MetadataFields.All.Contains) is { } reserved)
        {
            return ApiProblem.Result(
                StatusCodes.Status422UnprocessableEntity,
                $"{reserved} of an image message is written by ImageQueue alone. Use another key, or the cancel and retry calls.");
        }

        return Ok(await ShowAsync(await store.UpdateMessageAsync(id, body.Content, patch, cancellationToken), cancellationToken));
    }

    /// <summary>Cancels a queued or processing image.</summary>
    [HttpPost("/api/messages/{id:long}/cancel")]
    [Authorize(Access.Change)]
    [ProducesResponseType<MessageResponse>(StatusCodes.Status200OK, "application/json")]
    [ProducesResponseType<ProblemDetails>(StatusCodes.Status404NotFound, "application/problem+json")]
    [ProducesResponseType<ProblemDetails>(StatusCodes.Status409Conflict, "application/problem+json")]
    public async Task<IActionResult> CancelAsync(long id, CancellationToken cancellationToken) => await ToResultAsync(
        id, await cancel.CancelAsync(id, cancellationToken), "Only an image that is queued or processing can be cancelled", cancellationToken);

    /// <summary>Puts an image in error or cancelled into the queue again, at its end.</summary>
    [HttpPost("/api/messages/{id:long}/retry")]
    [Authorize(Access.Change)]
    [ProducesResponseType<MessageResponse>(StatusCodes.Status200OK, "application/json")]
    [ProducesResponseType<ProblemDetails>(StatusCodes.Status404NotFound, "application/problem+json")]
    [ProducesResponseType<ProblemDetails>(StatusCodes.Status409Conflict, "application/problem+json")]
    public async Task<IActionResult> RetryAsync(long id, CancellationToken cancellationToken) => await ToResultAsync(
        id, await retry.RetryAsync(id, cancellationToken), "Only an image in error or cancelled can be retried", cancellationToken);

    internal static ObjectResult ConversationNotFound(string conversationId) => ApiProblem.Result(
        StatusCodes.Status404NotFound, $"Conversation {conversationId} not found. It comes to exist with its first message.");

    private static MetadataPatch? Patch(JsonElement? metadata) =>
        metadata is null or { ValueKind: JsonValueKind.Undefined or JsonValueKind.Null } ? null : MetadataPatch.From(metadata.Value);

    private async Task<MessageResponse> ShowAsync(Message message, CancellationToken cancellationToken) =>
        MessageResponse.From(message, await positions.GetAsync(cancellationToken));

    private async Task<IActionResult> ToResultAsync(long id, Transition transition, string rule, CancellationToken cancellationToken)
    {
        var message = transition.Message ?? throw new MessageNotFoundException(id);
        if (!transition.Applied)
            return ApiProblem.Result(StatusCodes.Status409Conflict, $"{rule}; message {id} is {(message.IsImage ? message.Status : "not an image")}.");
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

/// <summary>A change to a message; what is left out stays.</summary>
public sealed record MessagePatchBody
{
    /// <summary>The new content.</summary>
    public string? Content { get; init; }

    /// <summary>An RFC 7396 merge patch.</summary>
    public JsonElement? ExtraMetadata { get; init; }
}
