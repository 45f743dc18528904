using Microsoft.AspNetCore.Authorization;

namespace ImageQueue.Web.Auth;

/// <summary>The policies: each endpoint names one, and what names none is refused. SECURITY.md has them in one table.</summary>
public static class Access
{
    /// <summary>Everything under <c>/api</c>: the chat app's server.</summary>
    public const string Client = "client";

    /// <summary>Asks for images: the chat app's server, and operators on the demo page.</summary>
    public const string Ask = "ask";

    /// <summary>Reads and watches one conversation: servers and operators any, a watcher its own.</summary>
    public const string Read = "read";

    /// <summary>Cancels and retries: those who read, but for operators who only look.</summary>
    public const string Change = "change";

    /// <summary>Connects to the hub, where each <c>Watch</c> is then checked like <see cref="Read"/>.</summary>
    public const string Connect = "connect";

    /// <summary>What concerns nobody in particular, such as the queue as a whole: all but watchers.</summary>
    public const string Overview = "overview";

    /// <summary>The dashboard and the demo page: operators. One who only looks may GET.</summary>
    public const string Dashboard = "dashboard";

    /// <summary>Acts on the queue or a server as a whole, such as pausing it: operators.</summary>
    public const string Operate = "operate";

    /// <summary>The metrics: operators, and a scraper with the key of one who only looks.</summary>
    public const string Metrics = "metrics";

    /// <summary>The simulator: this machine alone.</summary>
    public const string ThisMachine = "this-machine";

    internal static void Add(AuthorizationOptions options)
    {
        options.AddPolicy(Client, policy => policy.RequireRole(Roles.Client));
        options.AddPolicy(Ask, policy => policy.RequireRole(Roles.Client, Roles.Operator));
        options.AddPolicy(Read, policy => policy.AddRequirements(new InReach(Roles.Client, Roles.Operator, Roles.OperatorRead)));
        options.AddPolicy(Change, policy => policy.AddRequirements(new InReach(Roles.Client, Roles.Operator)));
        options.AddPolicy(Connect, policy => policy.RequireRole(Roles.Client, Roles.Operator, Roles.OperatorRead, Roles.Watcher));
        options.AddPolicy(Overview, policy => policy.RequireRole(Roles.Client, Roles.Operator, Roles.OperatorRead));
        options.AddPolicy(Dashboard, policy => policy.RequireAssertion(context =>
            context.User.Is(Roles.Operator) || (context.User.Is(Roles.OperatorRead) && context.Resource is HttpContext http && Forms.IsLook(http.Request))));
        options.AddPolicy(Operate, policy => policy.RequireRole(Roles.Operator));
        options.AddPolicy(Metrics, policy => policy.RequireRole(Roles.Operator, Roles.OperatorRead));
        options.AddPolicy(ThisMachine, policy => policy.AddRequirements(new FromThisMachine()));

        // An endpoint that names no policy is closed to everybody. What routing itself answers (405, 415) is no endpoint of ours
        // and no secret, and where there is none at all 404 is the answer.
        options.FallbackPolicy = new AuthorizationPolicyBuilder()
            .RequireAssertion(context => context.Resource is HttpContext http && http.GetEndpoint() is not RouteEndpoint)
            .Build();
    }
}

/// <summary>One of the roles; or a watcher, and what the route names is of its conversation.</summary>
internal sealed class InReach(params string[] roles) : IAuthorizationRequirement
{
    public IReadOnlyList<string> Roles => roles;
}

/// <summary>See <see cref="LocalRequest.IsThisMachine"/>.</summary>
internal sealed class FromThisMachine : AuthorizationHandler<FromThisMachine>, IAuthorizationRequirement
{
    protected override Task HandleRequirementAsync(AuthorizationHandlerContext context, FromThisMachine requirement)
    {
        if (context.Resource is HttpContext http && LocalRequest.IsThisMachine(http) && !RequestOrigin.IsForeign(http.Request))
            context.Succeed(requirement);
        return Task.CompletedTask;
    }
}
