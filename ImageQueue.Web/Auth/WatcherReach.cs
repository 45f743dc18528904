using System.Security.Claims;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.SignalR;

namespace ImageQueue.Web.Auth;

/// <summary>
/// Checks whether a caller may read a conversation. A watcher reaches the one of its token while that belongs to the token's user:
/// a token can be made before the first message, which decides the owner.
/// </summary>
public sealed class WatcherReach(IMessageStore store)
{
    /// <summary>Whether the user may watch the conversation.</summary>
    public async Task<bool> CoversAsync(ClaimsPrincipal user, string conversationId, CancellationToken cancellationToken)
    {
        if (WatcherToken.Of(user) is not { } token)
            return user.Is(Roles.Client, Roles.Operator, Roles.OperatorRead);
        return token.JobId is null && await OwnsAsync(token, conversationId, cancellationToken);
    }

    private async Task<bool> OwnsAsync(WatcherToken token, string conversationId, CancellationToken cancellationToken) =>
        token.ConversationId == conversationId
            && (await store.FindConversationAsync(conversationId, cancellationToken) is not { } conversation
                || conversation.Username == token.Username);

    /// <summary>
    /// Whether the user may get these changes of its conversation: a first message that is another user's ends a watcher's
    /// right.
    /// </summary>
    public static bool Covers(ClaimsPrincipal? user, IReadOnlyList<MessageChange> changes) =>
        user is null
            || WatcherToken.Of(user) is not { } token
            || changes.All(change => change.Message.IsDeleted || change.Username == token.Username);

    /// <summary>The same for a hub connection, which may outlive its token.</summary>
    internal async Task<bool> CoversAsync(HubCallerContext connection, string conversationId, TimeProvider time) =>
        connection.User is { } user
        && !(Expiry.At(connection.GetHttpContext()) <= time.GetUtcNow())
        && await CoversAsync(user, conversationId, connection.ConnectionAborted);

    /// <summary>Whether the route names a conversation, message or image that the user may watch.</summary>
    internal async Task<bool> CoversAsync(HttpContext context) =>
        await ConversationIdAsync(context, context.RequestAborted) is { } conversationId
        && (WatcherToken.Of(context.User) is { JobId: { } jobId } token
            ? Text(context.Request.RouteValues, "job_id") == jobId && await OwnsAsync(token, conversationId, context.RequestAborted)
            : await CoversAsync(context.User, conversationId, context.RequestAborted));

    private async Task<string?> ConversationIdAsync(HttpContext context, CancellationToken cancellationToken)
    {
        var route = context.Request.RouteValues;
        if (Text(route, ConversationPath.ParameterName) is not null)
            return ConversationPath.IdOf(context);
        if (long.TryParse(Text(route, "id"), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var id))
            return (await store.FindAsync(id, cancellationToken))?.ConversationId;
        return Text(route, "job_id") is { } jobId ? (await store.FindByJobIdAsync(jobId, cancellationToken))?.ConversationId : null;
    }

    private static string? Text(RouteValueDictionary route, string name) =>
        Convert.ToString(route[name], CultureInfo.InvariantCulture) is { Length: > 0 } text ? text : null;
}

internal sealed class InReachHandler(WatcherReach reach) : AuthorizationHandler<InReach>
{
    protected override async Task HandleRequirementAsync(AuthorizationHandlerContext context, InReach requirement)
    {
        if (context.User.Is(requirement.Roles)
            || (context.User.Is(Roles.Watcher) && context.Resource is HttpContext http && await reach.CoversAsync(http)))
        {
            context.Succeed(requirement);
        }
    }
}
