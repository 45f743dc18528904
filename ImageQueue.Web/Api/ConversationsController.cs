using System.ComponentModel.DataAnnotations;
using ImageQueue.Core.Requests;
using ImageQueue.Web.Auth;
using ImageQueue.Web.Errors;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;

namespace ImageQueue.Web.Api;

/// <summary>Lists, renames and erases conversations.</summary>
[ApiController]
[Tags("Conversations")]
public sealed class ConversationsController(IConversationStore store, EraseMessages erase) : ControllerBase
{
    /// <summary>A user's conversations, the one with the newest message first.</summary>
    /// <param name="username">The owner, 1..100 characters.</param>
    /// <param name="after">`next` of the page before.</param>
    /// <param name="limit">1..200.</param>
    [HttpGet("/api/conversations", Name = "listConversations")]
    [Authorize(Access.Overview)]
    [ProducesResponseType<ConversationPage>(StatusCodes.Status200OK, "application/json")]
    [Problem(400, ProblemCodes.InvalidRequest), Problem(422, ProblemCodes.InvalidRequest)]
    public async Task<IActionResult> ListAsync(
        [FromQuery] string? username, [FromQuery, Range(1, long.MaxValue)] long after = long.MaxValue,
        [FromQuery, Range(1, 200)] int limit = 50, CancellationToken cancellationToken = default)
    {
        var rules = new RequestRules();
        var owner = StoredName.Normalize(username?.Trim() ?? "");
        rules.Name("username", owner);
        if (rules.Errors.Count > 0)
            return ApiProblem.Unprocessable(rules.Errors);

        var found = await store.ListConversationsAsync(owner, after, limit + 1, cancellationToken);
        var page = found.Take(limit).Select(ConversationResponse.From).ToList();
        return Ok(new ConversationPage(page, found.Count > limit ? found[limit - 1].LastMessageId : null));
    }

    /// <summary>Renames a conversation.</summary>
    /// <param name="conversationId">The conversation.</param>
    /// <param name="body">The new title.</param>
    [HttpPatch("/api/conversations/{conversation_id}", Name = "renameConversation")]
    [Authorize(Access.Submit)]
    [RequestSizeLimit(BodyLimit.Bytes)]
    [Consumes("application/json", "application/merge-patch+json")]
    [ProducesResponseType<ConversationTitleResponse>(StatusCodes.Status200OK, "application/json")]
    [Problem(400, ProblemCodes.InvalidRequest), Problem(404, ProblemCodes.NotFound), Problem(413, ProblemCodes.BodyTooLarge)]
    [Problem(415, ProblemCodes.UnsupportedMediaType), Problem(422, ProblemCodes.InvalidRequest)]
    public async Task<IActionResult> RenameAsync(
        [ConversationId] string conversationId, [FromBody] ConversationPatchBody body, CancellationToken cancellationToken)
    {
        if (body.Title?.Trim() is not { Length: > 0 and <= ConversationPatchBody.LongestTitle } title || title.Any(char.IsControl))
        {
            return ApiProblem.Result(
                ProblemCodes.InvalidRequest, ConversationPatchBody.TitleRule, "title", StatusCodes.Status422UnprocessableEntity);
        }

        return await store.RenameConversationAsync(conversationId, title, cancellationToken)
            ? Ok(new ConversationTitleResponse(conversationId, title))
            : ConversationIdAttribute.NotFound(conversationId);
    }

    /// <summary>
    /// Erases a conversation for good, with all its messages and images. Waiting and processing requests are cancelled first.
    /// </summary>
    /// <remarks>Watchers get an event for each message, as with `DELETE /api/messages/{id}`. The id cannot be used again.</remarks>
    /// <param name="conversationId">The conversation.</param>
    [HttpDelete("/api/conversations/{conversation_id}", Name = "deleteConversation")]
    [Authorize(Access.Submit)]
    [ProducesResponseType(StatusCodes.Status204NoContent)]
    [Problem(404, ProblemCodes.NotFound), Problem(422, ProblemCodes.InvalidRequest)]
    public async Task<IActionResult> DeleteAsync([ConversationId] string conversationId, CancellationToken cancellationToken) =>
        await erase.EraseConversationAsync(conversationId, cancellationToken)
            ? NoContent()
            : ConversationIdAttribute.NotFound(conversationId);
}

/// <summary>A change to a conversation.</summary>
public sealed record ConversationPatchBody
{
    internal const int LongestTitle = 100;

    internal const string TitleRule = "title must have 1 to 100 characters, on one line.";

    /// <summary>The new title, 1..100 characters. Required.</summary>
    public string? Title { get; init; }
}

/// <summary>A conversation's new title.</summary>
/// <param name="Id">The conversation.</param>
/// <param name="Title">As stored.</param>
public sealed record ConversationTitleResponse(string Id, string Title);

/// <summary>A conversation.</summary>
/// <param name="Id">Chosen by the chat app.</param>
/// <param name="Title">Its first words.</param>
/// <param name="CreatedAt">UTC.</param>
/// <param name="UpdatedAt">When its newest message was last written, UTC.</param>
public sealed record ConversationResponse(string Id, string? Title, DateTimeOffset CreatedAt, DateTimeOffset UpdatedAt)
{
    internal static ConversationResponse From(ConversationSummary summary) =>
        new(summary.Conversation.Id, summary.Conversation.Title, summary.Conversation.CreatedAt, summary.UpdatedAt);
}

/// <summary>A page of conversations.</summary>
/// <param name="Conversations">The one with the newest message first.</param>
/// <param name="Next">What to give as <c>after</c> for the next page; null on the last.</param>
public sealed record ConversationPage(IReadOnlyList<ConversationResponse> Conversations, long? Next);
