using ImageQueue.Web.Auth;
using ImageQueue.Web.Errors;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;

namespace ImageQueue.Web.Api;

/// <summary>Makes tokens for the chat app's browsers.</summary>
[ApiController]
[Tags("Tokens")]
public sealed class TokensController(IMessageStore store, WatcherTokens tokens) : ControllerBase
{
    /// <summary>
    /// Makes a token with which a browser may read and watch this conversation, show its images, and cancel and retry its
    /// requests. It is sent as <c>Authorization: Bearer</c>, or as <c>access_token</c> in the address of events, hub and images.
    /// </summary>
    /// <param name="conversationId">The conversation; it need not exist yet.</param>
    /// <param name="body">The conversation's owner.</param>
    [HttpPost("/api/conversations/{conversation_id}/tokens", Name = "createToken")]
    [Authorize(Access.Client)]
    [RequestSizeLimit(BodyLimit.Bytes)]
    [Consumes("application/json")]
    [ProducesResponseType<WatcherTokenResponse>(StatusCodes.Status201Created, "application/json")]
    [Problem(400, ProblemCodes.InvalidRequest), Problem(403, ProblemCodes.ConversationForbidden), Problem(413, ProblemCodes.BodyTooLarge)]
    [Problem(415, ProblemCodes.UnsupportedMediaType), Problem(422, ProblemCodes.InvalidRequest)]
    public async Task<IActionResult> CreateAsync(
        [ConversationId] string conversationId, [FromBody] WatcherTokenBody body, CancellationToken cancellationToken)
    {
        var username = StoredName.Normalize(body.Username?.Trim() ?? "");
        var rules = new RequestRules();
        rules.Name("username", username);
        if (rules.Errors.Count > 0)
            return ApiProblem.Unprocessable(rules.Errors);
        if (await store.FindConversationAsync(conversationId, cancellationToken) is { } conversation && conversation.Username != username)
            throw new ConversationForbiddenException(conversationId);

        var (token, expiresAt) = tokens.Issue(new WatcherToken(conversationId, username));
        return StatusCode(StatusCodes.Status201Created, new WatcherTokenResponse(token, conversationId, username, expiresAt));
    }
}

/// <summary>The user whose browser gets the token.</summary>
public sealed record WatcherTokenBody
{
    /// <summary>The conversation's owner, 1..100 characters. Required.</summary>
    public string? Username { get; init; }
}

/// <summary>A watcher's token.</summary>
/// <param name="Token">To be sent as it is.</param>
/// <param name="ConversationId">The conversation that it is good for.</param>
/// <param name="Username">The user that it is good for.</param>
/// <param name="ExpiresAt">Until when, UTC; ask for another one before.</param>
public sealed record WatcherTokenResponse(string Token, string ConversationId, string Username, DateTimeOffset ExpiresAt);
