using ImageQueue.Web.Errors;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Authorization.Policy;

namespace ImageQueue.Web.Auth;

/// <summary>
/// Answers refused requests: 401 says how to authenticate, 403 that the role does not suffice. A watcher gets 404 for another user's
/// message as for a missing one, since ids are sequential. A browser is redirected to
/// <c>/login</c>.
/// </summary>
internal sealed class Refusal : IAuthorizationMiddlewareResultHandler
{
    public Task HandleAsync(
        RequestDelegate next, HttpContext context, AuthorizationPolicy policy, PolicyAuthorizationResult authorizeResult)
    {
        if (authorizeResult.Succeeded)
            return next(context);
        if (policy.Requirements.OfType<FromThisMachine>().Any()
            || (context.User.Is(Roles.Watcher) && policy.Requirements.OfType<InReach>().Any()))
        {
            return WriteAsync(context, ProblemCodes.NotFound, $"There is nothing at {context.Request.Path}, or it is not yours.");
        }

        if (authorizeResult.Forbidden)
            return WriteAsync(context, ProblemCodes.Forbidden, $"{CallerOf(context)} may not do this. SECURITY.md says who may do what.");
        if (IsPage(context.Request))
        {
            var page = context.Request.PathBase + context.Request.Path + context.Request.QueryString;
            context.Response.Redirect($"{context.Request.PathBase}/login{QueryString.Create("return", page)}");
            return Task.CompletedTask;
        }

        context.Response.Headers.WWWAuthenticate = "Bearer";
        return WriteAsync(
            context, ProblemCodes.Unauthorized,
            RequestOrigin.IsForeign(context.Request)
                ? "A page of another website cannot use this. Send a token as Authorization: Bearer, "
                    + "and add the website to Auth:AllowedOrigins."
                : "Send a key or a watcher's token as Authorization: Bearer ..., or sign in at /login.");
    }

    /// <summary>The one place where a refusal becomes a problem.</summary>
    public static Task WriteAsync(HttpContext context, string code, string detail, int? status = null) =>
        ApiProblem.WriteAsync(context, ApiProblem.Of(code, detail, status: status));

    private static string CallerOf(HttpContext context) => context.User switch
    {
        var user when user.Is(Roles.Watcher) => "A watcher's token",
        var user when user.Is(Roles.Client) => "A client's key",
        var user when user.Is(Roles.OperatorRead) => "An operator with read access",
        _ => "An operator",
    };

    private static bool IsPage(HttpRequest request) =>
        HttpMethods.IsGet(request.Method)
            && request.Headers.Accept.Any(type => type?.Contains("text/html", StringComparison.OrdinalIgnoreCase) == true);
}
