using System.Net;
using ImageQueue.Web.Errors;
using Microsoft.AspNetCore.Antiforgery;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Cors.Infrastructure;
using Microsoft.AspNetCore.HttpOverrides;
using Microsoft.AspNetCore.HttpsPolicy;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.ModelBinding;

namespace ImageQueue.Web.Auth;

/// <summary>Registrations of authentication and authorization, and the order of their middleware.</summary>
internal static class AuthServices
{
    private const string SessionCookie = "imagequeue";
    private const string AntiforgeryCookie = "imagequeue-form";

    public static void AddImageQueueAuth(this IServiceCollection services, IConfiguration configuration)
    {
        services.AddSingleton<IValidateOptions<AuthOptions>, AuthOptionsValidator>();
        services.AddOptions<AuthOptions>().Bind(configuration.GetSection(AuthOptions.Section)).ValidateDataAnnotations().ValidateOnStart();
        services.AddOptions<LimitsOptions>()
            .Bind(configuration.GetSection(LimitsOptions.Section)).ValidateDataAnnotations().ValidateOnStart();
        services.AddOptions<HostingOptions>()
            .Bind(configuration.GetSection(HostingOptions.Section)).ValidateDataAnnotations().ValidateOnStart();
        services.AddKeyRing(configuration);
        services.AddSingleton<ApiKeys>();
        services.AddSingleton<WatcherTokens>();
        services.AddSingleton<WatcherReach>();
        services.AddSingleton<LocalAccess>();
        services.AddSingleton<SignInLockout>();
        services.AddSingleton<AuditLog>();
        services.AddSingleton<IHttpContextFactory, TokenInAddress>();

        services.AddAuthentication(Credentials.Any)
            .AddPolicyScheme(Credentials.Any, displayName: null, options => options.ForwardDefaultSelector = Credentials.Pick)
            .AddScheme<AuthenticationSchemeOptions, CredentialsHandler>(Credentials.Key, configureOptions: null)
            .AddScheme<AuthenticationSchemeOptions, CredentialsHandler>(Credentials.Token, configureOptions: null)
            .AddScheme<AuthenticationSchemeOptions, CredentialsHandler>(Credentials.Local, configureOptions: null)
            .AddCookie(Credentials.Cookie);
        services.AddOptions<CookieAuthenticationOptions>(Credentials.Cookie).Configure<IOptions<AuthOptions>, ApiKeys>(Configure);
        services.AddOptions<AntiforgeryOptions>().Configure(options =>
        {
            options.Cookie.Name = AntiforgeryCookie;
            options.Cookie.SameSite = SameSiteMode.Strict;
            options.Cookie.SecurePolicy = CookieSecurePolicy.SameAsRequest;
        });
        services.AddAuthorization(Access.Add);
        services.AddSingleton<IAuthorizationHandler, InReachHandler>();
        services.AddSingleton<IAuthorizationMiddlewareResultHandler, Refusal>();

        services.AddOptions<MvcOptions>().PostConfigure(options =>
        {
            // Nothing is bound to form fields, and these throw at fields that are no names (JQueryKeyValuePairNormalizer).
            options.ValueProviderFactories.RemoveType<FormValueProviderFactory>();
            options.ValueProviderFactories.RemoveType<FormFileValueProviderFactory>();
            options.ValueProviderFactories.RemoveType<JQueryFormValueProviderFactory>();
            options.ValueProviderFactories.RemoveType<JQueryQueryStringValueProviderFactory>();
        });

        services.AddRateLimits();
        services.AddCors();
        services.AddOptions<CorsOptions>().Configure<IOptions<AuthOptions>>((cors, options) => cors.AddDefaultPolicy(policy => policy
            .WithOrigins([.. options.Value.AllowedOrigins])
            .WithMethods("GET", "POST")
            .WithHeaders(
                "Authorization", "Cache-Control", "Content-Type", "Last-Event-ID", "Prefer", "Idempotency-Key", "If-None-Match",
                "X-Requested-With", "X-SignalR-User-Agent")
            .WithExposedHeaders("Location", "Retry-After", "ETag", "Idempotency-Replayed", "Preference-Applied")));
        services.AddOptions<ForwardedHeadersOptions>().Configure<IOptions<AuthOptions>>(
            (options, auth) => Configure(options, auth.Value, configuration["AllowedHosts"]));
        services.AddOptions<HstsOptions>().Configure(options => options.MaxAge = TimeSpan.FromDays(365));
    }

    /// <summary>Comes first: forwarded headers, security headers, HSTS and the redirect to HTTPS.</summary>
    public static void UseSecureTransport(this WebApplication app)
    {
        var auth = app.Services.GetRequiredService<IOptions<AuthOptions>>().Value;
        if (auth.Proxies.Count > 0)
            app.UseForwardedHeaders();
        if (app.Services.GetRequiredService<IOptions<HostingOptions>>().Value.PathBase is { Length: > 0 } pathBase)
            app.UsePathBase(pathBase);
        app.UseRouting(); // Not earlier, which is where WebApplication would put it: routes are matched without the path base.
        app.UseSecurityHeaders();
        var hasHttps = HasHttps(app.Configuration);
        if (hasHttps || auth.Proxies.Count > 0)
            app.UseHsts(); // Says nothing over plain HTTP.
        if (hasHttps)
        {
            // The app calls its simulator, and the host asks after its health, by plain HTTP from this machine.
            app.UseWhen(
                context => !context.Request.Path.StartsWithSegments(Simulator.SimulatorEndpoints.Path)
                    && !context.Request.Path.StartsWithSegments("/health"),
                others => others.UseHttpsRedirection());
        }
    }

    /// <summary>Authenticates, limits and authorizes. Static files of the pages come before this.</summary>
    public static void UseImageQueueAuth(this WebApplication app)
    {
        app.UseAuthentication();
        app.UseRateLimiter();
        app.UseHubOrigin();
        app.UseAuthorization();
        app.UseForms();
        app.UseAudit();
        app.Use(async (context, next) =>
        {
            Actor.Current = context.User.ToActor();
            await next(context);
        });
    }

    private static void Configure(CookieAuthenticationOptions options, IOptions<AuthOptions> auth, ApiKeys keys)
    {
        options.Cookie.Name = SessionCookie;
        options.Cookie.HttpOnly = true;
        // A link to the dashboard works; RequestOrigin refuses the other requests of foreign websites.
        options.Cookie.SameSite = SameSiteMode.Lax;
        options.Cookie.SecurePolicy = CookieSecurePolicy.SameAsRequest;
        options.ExpireTimeSpan = auth.Value.SessionLifetime;
        options.SlidingExpiration = true;
        options.Events.OnCheckSlidingExpiration = context =>
        {
            context.ShouldRenew &= !Forms.IsPoll(context.Request);
            return Task.CompletedTask;
        };
        // Removing a key from the settings ends the sign-ins made with it.
        options.Events.OnValidatePrincipal = context =>
        {
            if (context.Principal is null || !keys.IsCurrent(context.Principal))
                context.RejectPrincipal();
            return Task.CompletedTask;
        };
    }

    private static void Configure(ForwardedHeadersOptions options, AuthOptions auth, string? allowedHosts)
    {
        options.ForwardedHeaders = ForwardedHeaders.XForwardedFor | ForwardedHeaders.XForwardedProto
            | ForwardedHeaders.XForwardedHost | ForwardedHeaders.XForwardedPrefix;
        options.KnownProxies.Clear();
        options.KnownIPNetworks.Clear();
        if (allowedHosts is { Length: > 0 } and not "*")
            options.AllowedHosts = allowedHosts.Split(';', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        foreach (var proxy in auth.Proxies)
        {
            if (IPAddress.TryParse(proxy, out var address))
                options.KnownProxies.Add(address);
            else
                options.KnownIPNetworks.Add(System.Net.IPNetwork.Parse(proxy));
        }
    }

    private static bool HasHttps(IConfiguration configuration) =>
        (configuration["Urls"]?.Contains("https://", StringComparison.OrdinalIgnoreCase) ?? false)
        || !string.IsNullOrEmpty(configuration["HTTPS_PORTS"])
        || !string.IsNullOrEmpty(configuration["HTTPS_PORT"])
        || configuration.GetSection("Kestrel:Endpoints").GetChildren().Any(
            endpoint => endpoint["Url"]?.StartsWith("https://", StringComparison.OrdinalIgnoreCase) == true);

    /// <summary>Browsers let any page open a WebSocket to anywhere: CORS does not cover it, so the hub looks itself.</summary>
    private static void UseHubOrigin(this WebApplication app)
    {
        var allowed = app.Services.GetRequiredService<IOptions<AuthOptions>>().Value.AllowedOrigins;
        app.UseWhen(
            context => context.Request.Path.StartsWithSegments("/hubs"),
            hubs => hubs.Use((context, next) =>
                context.Request.Headers.Origin is [{ Length: > 0 } origin, ..]
                    && !RequestOrigin.IsOwn(context.Request, origin)
                    && !allowed.Contains(origin, StringComparer.OrdinalIgnoreCase)
                    ? Refusal.WriteAsync(
                        context, ProblemCodes.Forbidden, "A page of this website cannot watch. Add the website to Auth:AllowedOrigins.")
                    : next(context)));
    }

    private static void UseAudit(this WebApplication app)
    {
        var audit = app.Services.GetRequiredService<AuditLog>();
        app.UseWhen(AuditLog.IsCommand, commands =>
        {
            commands.Use(async (context, next) =>
            {
                try
                {
                    await next(context);
                }
                finally
                {
                    audit.Command(context);
                }
            });
            commands.UseExceptionHandler(); // Within the audit, which would see the status before the handler sets it otherwise.
        });
    }
}
