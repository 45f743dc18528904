using System.Security.Claims;
using Microsoft.AspNetCore.Http.Features;

namespace ImageQueue.Web.Auth;

/// <summary>
/// Who signed in and what operators did: one line each, in a log category of its own (<c>ImageQueue.Audit</c>), so that it can
/// be sent and kept apart. No line holds a key, a token or a prompt.
/// </summary>
public sealed class AuditLog(ILoggerFactory loggers)
{
    /// <summary>The category.</summary>
    public const string Category = "ImageQueue.Audit";

    private const int MostJobs = 20;

    private readonly ILogger _logger = loggers.CreateLogger(Category);

    /// <summary>Notes that somebody signed in.</summary>
    public void SignedIn(ApiKey key, string address) => _logger.LogInformation("{Name} ({Role}) signed in from {Address}.", key.Name, key.Role, address);

    /// <summary>Notes that somebody signed out.</summary>
    public void SignedOut(ClaimsPrincipal user, string address) => _logger.LogInformation("{Name} signed out from {Address}.", user.Identity?.Name, address);

    /// <summary>Notes a wrong key.</summary>
    public void SignInFailed(string address, bool isLockedOut) => _logger.LogWarning(
        "Somebody at {Address} showed a wrong key at /login{Consequence}.", address, isLockedOut ? " once too often, and is locked out" : "");

    /// <summary>Notes what an operator did through an endpoint, whatever came of it.</summary>
    public void Acted(HttpContext context)
    {
        var jobs = context.Features.Get<IFormFeature>()?.Form?["jobs[]"] ?? default; // Null where nobody has read it.
        _logger.LogInformation(
            "{Name} from {Address}: {Method} {Path}{Jobs} gave {Status}.",
            context.User.Identity?.Name,
            RateLimits.AddressOf(context),
            context.Request.Method,
            (context.Request.PathBase + context.Request.Path).ToUriComponent(), // Encoded: no line break of a caller's reaches the log.
            jobs.Count == 0 ? "" : $" [{Uri.EscapeDataString(string.Join(' ', jobs.Take(MostJobs)))}{(jobs.Count > MostJobs ? $" and {jobs.Count - MostJobs} more" : "")}]",
            context.Response.StatusCode);
    }

    /// <summary>Whether this is an operator's doing: signed in, or with an operator's key.</summary>
    public static bool IsAct(HttpContext context) =>
        context.User.Is(Roles.Operator, Roles.OperatorRead) && context.User.Identity?.AuthenticationType != Credentials.Local
        && !Forms.IsLook(context.Request) && !HttpMethods.IsOptions(context.Request.Method)
        && context.GetEndpoint() is RouteEndpoint endpoint
        && endpoint.Metadata.GetMetadata<NoActAttribute>() is null;
}

/// <summary>What is sent here is no act of an operator's: it changes nothing, or has a line of its own.</summary>
[AttributeUsage(AttributeTargets.Class | AttributeTargets.Method)]
internal sealed class NoActAttribute : Attribute;
