using Microsoft.AspNetCore.Authorization;

namespace ImageQueue.Web.Auth;

/// <summary>The authorization policies: each endpoint names one, and one without is closed. SECURITY.md has the table.</summary>
internal static class Access
{
    /// <summary>Adds, changes and deletes messages, and makes tokens: the chat app's server.</summary>
    public const string Client = "client";

    /// <summary>Requests images: the chat app's server, and operators on the chat page.</summary>
    public const string Submit = "submit";

    /// <summary>Reads and watches a conversation: clients and operators any, a watcher its own.</summary>
    public const string Read = "read";

    /// <summary>Cancels and retries: as <see cref="Read"/>, without read-only operators.</summary>
    public const string Change = "change";

    /// <summary>Connects to the hub, where each <c>Watch</c> is then checked like <see cref="Read"/>.</summary>
    public const string Connect = "connect";

    /// <summary>Reads the queue as a whole: every role but watchers.</summary>
    public const string Overview = "overview";

    /// <summary>The dashboard and the chat page: operators; read-only ones may GET.</summary>
    public const string Dashboard = "dashboard";

    /// <summary>Pauses and resumes the queue or a backend: operators.</summary>
    public const string Operate = "operate";

    /// <summary>The metrics: operators, and a scraper with an operator-read key.</summary>
    public const string Metrics = "metrics";

    /// <summary>The simulator: this machine alone.</summary>
    public const string ThisMachine = "this-machine";

    internal static void Add(AuthorizationOptions options)
    {
        options.AddPolicy(Client, policy => policy.RequireRole(Roles.Client));
        options.AddPolicy(Submit, policy => policy.RequireRole(Roles.Client, Roles.Operator));
        options.AddPolicy(Read, policy => policy.AddRequirements(new InReach(Roles.Client, Roles.Operator, Roles.OperatorRead)));
        options.AddPolicy(Change, policy => policy.AddRequirements(new InReach(Roles.Client, Roles.Operator)));
        options.AddPolicy(Connect, policy => policy.RequireRole(Roles.Client, Roles.Operator, Roles.OperatorRead, Roles.Watcher));
        options.AddPolicy(Overview, policy => policy.RequireRole(Roles.Client, Roles.Operator, Roles.OperatorRead));
        options.AddPolicy(Dashboard, policy => policy.RequireAssertion(context =>
            context.User.Is(Roles.Operator)
                || (context.User.Is(Roles.OperatorRead) && context.Resource is HttpContext http && Forms.IsRead(http.Request))));
        options.AddPolicy(Operate, policy => policy.RequireRole(Roles.Operator));
        options.AddPolicy(Metrics, policy => policy.RequireRole(Roles.Operator, Roles.OperatorRead));
        options.AddPolicy(ThisMachine, policy => policy.AddRequirements(new FromThisMachine()));

        // An endpoint without a policy is closed. Routing's own answers (405, 415) are not RouteEndpoints and stay open, and a path
        // without an endpoint gets 404.
        options.FallbackPolicy = new AuthorizationPolicyBuilder()
            .RequireAssertion(context => context.Resource is HttpContext http && http.GetEndpoint() is not RouteEndpoint)
            .Build();
    }
}

/// <summary>One of the roles; or a watcher whose conversation the route names.</summary>
internal sealed class InReach(params string[] roles) : IAuthorizationRequirement
{
    public string[] Roles => roles;
}

internal sealed class FromThisMachine : AuthorizationHandler<FromThisMachine>, IAuthorizationRequirement
{
    protected override Task HandleRequirementAsync(AuthorizationHandlerContext context, FromThisMachine requirement)
    {
        if (context.Resource is HttpContext http && LocalRequest.IsThisMachine(http) && !RequestOrigin.IsForeign(http.Request))
            context.Succeed(requirement);
        return Task.CompletedTask;
    }
}
