using System.Text.Encodings.Web;
using System.Text.Json.Serialization;
using Hangfire;
using Hangfire.AspNetCore;
using Hangfire.Dashboard;
using ImageQueue.Core;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Webhooks;
using ImageQueue.Web.Api;
using ImageQueue.Web.Api.Description;
using ImageQueue.Web.Auth;
using ImageQueue.Web.Chat;
using ImageQueue.Web.Compatibility;
using ImageQueue.Web.Dashboard;
using ImageQueue.Web.Errors;
using ImageQueue.Web.Health;
using ImageQueue.Web.Push;
using ImageQueue.Web.Simulator;
using ImageQueue.Web.Startup;
using ImageQueue.Web.Telemetry;
using ImageQueue.Web.Webhooks;
using Microsoft.AspNetCore.HostFiltering;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.Formatters;

namespace ImageQueue.Web;

/// <summary>The one list of the web app's services and endpoints.</summary>
public static class WebServices
{
    /// <summary>Adds all of ImageQueue's services.</summary>
    public static WebApplicationBuilder AddImageQueue(this WebApplicationBuilder builder)
    {
        var services = builder.Services;
        builder.Configuration.ResolvePaths(Directory.GetCurrentDirectory());
        builder.AddConsoleFormat();
        services.AddServiceManager();
        services.AddImageQueueCore(builder.Configuration);
        services.AddImageHangfire();
        if (WebhooksOptions.AreWanted(builder.Configuration))
            services.AddWebhookDelivery();
        services.AddForgeSimulator();
        services.AddImageDashboard();
        services.AddSingleton<BackendPlan>();
        services.AddOptions<HostFilteringOptions>().PostConfigure<BackendPlan>((options, plan) =>
        {
            // The simulator is called by this process's own address, whatever names are served.
            if (plan.UsesSimulator && OwnAddress.In(builder.Configuration) is { } own && !options.AllowedHosts.Contains("*"))
                options.AllowedHosts = [.. options.AllowedHosts, own.Host];
        });
        services.AddHostedService<DatabaseStart>();
        services.AddHostedService<StartupReport>();
        services.AddOptions<HostOptions>().Configure<IOptions<ShutdownOptions>>(
            (host, shutdown) => host.ShutdownTimeout = shutdown.Value.HostTimeout);

        services.AddSingleton<MessageWait>();
        services.AddImageQueueAuth(builder.Configuration);
        services.AddKestrelLimits(builder.Configuration);
        services.AddPush(builder.Configuration, Configure);
        // Before MVC's own: the first that can write is used, and this one always can.
        services.AddSingleton<IProblemDetailsWriter, ProblemWriter>();
        services.AddControllersWithViews(options => options.Conventions.Add(new HeadWhereverGetIs())).AddJsonOptions(options =>
        {
            Configure(options.JsonSerializerOptions);
            options.JsonSerializerOptions.Converters.Add(new WholeNumber<int>());
            options.JsonSerializerOptions.Converters.Add(new WholeNumber<long>());
        });
        services.PostConfigure<MvcOptions>(options =>
        {
            var json = options.InputFormatters.OfType<SystemTextJsonInputFormatter>().Single();
            options.InputFormatters[options.InputFormatters.IndexOf(json)] = new JsonBody(json);
        });
        services.ConfigureHttpJsonOptions(options => Configure(options.SerializerOptions));
        services.Configure<ApiBehaviorOptions>(options =>
        {
            options.InvalidModelStateResponseFactory = InvalidBody.ToProblem;
            options.SuppressMapClientErrors = true; // UseStatusCodePages gives every empty error its problem.
        });
        services.AddProblemDetails();
        services.AddExceptionHandler<ProblemExceptionHandler>();
        services.AddApiDescription(builder.Configuration);
        services.AddChatAssets();
        services.AddAntiforgery(); // Hangfire's dashboard checks its forms only where this is registered.
        // It would log a forged cookie as an error; the form is refused all the same.
        services.AddLogging(logging => logging.AddFilter("Microsoft.AspNetCore.Antiforgery.DefaultAntiforgery", LogLevel.None));
        services.AddCompatibility(builder.Configuration);
        services.AddHealth();
        builder.AddTelemetry();
        return builder;
    }

    /// <summary>Adds all of ImageQueue's endpoints.</summary>
    public static WebApplication UseImageQueue(this WebApplication app)
    {
        app.UseSecureTransport();
        app.UseExceptionHandler();
        app.UseStatusCodePages();
        app.UseChatAssets();
        app.UseCors();
        app.UseOpenStreams();
        app.UseImageQueueAuth();
        app.UseDashboardFrame();
        ImageDashboard.AddPages();

        // Each endpoint names a policy; one without is closed (Auth/Access.cs).
        app.MapControllers();
        app.MapHub<ImagesHub>(ImagesHub.Path, options =>
        {
            options.CloseOnAuthenticationExpiration = true;
            options.TransportSendTimeout = app.Services.GetRequiredService<IOptions<PushOptions>>().Value.SlowestReader;
        }).RequireAuthorization(Access.Connect)
            .WithMetadata(new StreamAttribute(), new TokenInAddressAttribute(), new NotAuditedAttribute());
        app.MapApiDescription();
        app.MapCompatibility();
        app.MapHealth();
        app.MapTelemetry();
        app.MapHangfireDashboardWithAuthorizationPolicy(Access.Dashboard, Forms.Dashboard, new DashboardOptions
        {
            DashboardTitle = "ImageQueue",
            AppPath = "~/", // As DashboardFrame completes it.
            DisplayStorageConnectionString = false,
            StatsPollingInterval = 5000,
            DisplayNameFunc = (_, job) => JobNames.MarkOf(job),
            IsReadOnlyFunc = dashboard => !dashboard.GetHttpContext().User.Is(Roles.Operator),
        }, ImageDashboard.StorageOf(app.Services));
        if (app.Services.GetRequiredService<BackendPlan>().UsesSimulator)
            app.MapForgeSimulator().RequireAuthorization(Access.ThisMachine);
        return app;
    }

    private static void Configure(JsonSerializerOptions options)
    {
        options.PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower;
        options.DictionaryKeyPolicy = null;
        options.Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping; // The answers are JSON, never part of a page.
        options.NumberHandling = JsonNumberHandling.Strict;
        options.UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow;
        options.AllowDuplicateProperties = false;
    }

    private static void AddImageHangfire(this IServiceCollection services)
    {
        services.AddSingleton<JobActivator>(provider => new AspNetCoreJobActivator(provider.GetRequiredService<IServiceScopeFactory>()));
        services.AddHangfire(configuration => configuration
            .SetDataCompatibilityLevel(CompatibilityLevel.Version_180)
            .UseSimpleAssemblyNameTypeSerializer()
            .UseRecommendedSerializerSettings());

        // These workers fetch through CapacityGatedFetch: a backend first, then the job. A few more workers than backends, so that
        // storing an image never delays the next.
        services.AddJobServer<CapacityGatedStorage>("images", (provider, options) =>
        {
            var backends = provider.GetRequiredService<BackendPlan>().Count;
            options.Queues = ImageJobs.QueuesOf(
                provider.GetRequiredService<IOptions<QueueOptions>>().Value.Order, provider.GetRequiredService<ImageJobs>().AreVolatile);
            options.WorkerCount = backends + 1 + (backends / 4);
            options.CancellationCheckInterval = TimeSpan.FromSeconds(1);
            options.IsLightweightServer = true; // The other one runs the schedulers.
        });

        // The maintenance queue has a worker of its own, so that neither delays the other.
        services.AddJobServer<JobStorage>("maintenance", (_, options) =>
        {
            options.Queues = [JobQueues.Maintenance];
            options.WorkerCount = 2; // A bulk command must not delay the sweep.
            options.CancellationCheckInterval = TimeSpan.FromSeconds(1); // It can be stopped by deleting its job.
        });

        // So has the cleanup: a first retention on 100,000 images takes long, and the sweep is due each minute.
        services.AddJobServer<JobStorage>("cleanup", (_, options) =>
        {
            options.Queues = [JobQueues.Cleanup];
            options.WorkerCount = 1;
            options.IsLightweightServer = true;
        });
    }

    /// <summary>Webhooks have workers of their own: a receiver that hangs delays neither generation nor maintenance.</summary>
    private static void AddWebhookDelivery(this IServiceCollection services)
    {
        services.AddSingleton<IWebhookBody, WebhookBody>();
        services.AddJobServer<JobStorage>("webhooks", (provider, options) =>
        {
            options.Queues = [DeliverWebhookJob.QueueName];
            options.WorkerCount = WebhookTraffic.AtOnce * provider.GetRequiredService<WebhookReceivers>().All.Count;
            options.SchedulePollingInterval = TimeSpan.FromSeconds(5); // The shortest pause before another try.
            options.CancellationCheckInterval = TimeSpan.FromSeconds(1);
        });
    }
}
