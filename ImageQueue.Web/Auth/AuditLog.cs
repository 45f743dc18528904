using System.Security.Claims;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.WebUtilities;

namespace ImageQueue.Web.Auth;

/// <summary>
/// Logs each sign-in and each operator's command in a category of its own (<c>ImageQueue.Audit</c>), so that it can be stored apart.
/// No line holds a key, a token or a prompt.
/// </summary>
public sealed class AuditLog(ILoggerFactory loggers)
{
    public const string Category = "ImageQueue.Audit";

    private const int MaxJobs = 20;

    private readonly ILogger _logger = loggers.CreateLogger(Category);

    public void SignedIn(ApiKey key, string address) =>
        _logger.LogInformation("{Name} ({Role}) signed in from {Address}.", key.Name, key.Role, address);

    public void SignedOut(ClaimsPrincipal user, string address) =>
        _logger.LogInformation("{Name} signed out from {Address}.", user.Identity?.Name, address);

    public void SignInFailed(string address, bool isLockedOut) => _logger.LogWarning(
        "Sign-in from {Address} failed: wrong key{Consequence}.", address, isLockedOut ? "; the address is locked out" : "");

    /// <summary>Logs an operator's command and its status.</summary>
    public void Command(HttpContext context)
    {
        var jobs = context.Features.Get<IFormFeature>()?.Form?["jobs[]"] ?? default; // Null where no middleware has read it.
        var values = string.Join(' ', jobs.Take(MaxJobs).Select(value => Describe(context, value)));
        var more = jobs.Count > MaxJobs ? $" and {jobs.Count - MaxJobs} more" : "";
        _logger.LogInformation(
            "{Name} from {Address}: {Method} {Path}{Jobs} gave {Status}.", context.User.Identity?.Name, RateLimits.AddressOf(context),
            context.Request.Method,
            (context.Request.PathBase + context.Request.Path).ToUriComponent(), // Encoded: no caller can write a line break into the log.
            jobs.Count == 0 ? "" : $" [{Uri.EscapeDataString(values)}{more}]",
            context.Response.StatusCode);
    }

    /// <summary>The command's value, such as an id; of a search, which holds prompts and usernames, the names of its filters.</summary>
    private static string? Describe(HttpContext context, string? value) =>
        context.Request.Path.Value!.Contains("/matching/", StringComparison.Ordinal) // A request always has a path.
            ? string.Join(' ', QueryHelpers.ParseQuery(value).Keys)
            : value;

    /// <summary>Whether an operator, signed in or by key, sends a command.</summary>
    public static bool IsCommand(HttpContext context) =>
        context.User.Is(Roles.Operator, Roles.OperatorRead) && context.User.Identity?.AuthenticationType != Credentials.Local
        && !Forms.IsRead(context.Request) && !HttpMethods.IsOptions(context.Request.Method)
        && context.GetEndpoint() is RouteEndpoint endpoint
        && endpoint.Metadata.GetMetadata<NotAuditedAttribute>() is null;
}

/// <summary>Not audited as a command: it changes nothing, or logs its own line.</summary>
[AttributeUsage(AttributeTargets.Class | AttributeTargets.Method)]
internal sealed class NotAuditedAttribute : Attribute;
