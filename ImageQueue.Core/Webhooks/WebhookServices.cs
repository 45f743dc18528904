using ImageQueue.Core.Hosting;
using ImageQueue.Core.Queue;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;

namespace ImageQueue.Core.Webhooks;

/// <summary>The registrations of webhooks; without a receiver nothing runs.</summary>
internal static class WebhookServices
{
    /// <summary>Adds webhooks. The host adds <see cref="IWebhookBody"/>.</summary>
    public static void AddWebhooks(this IServiceCollection services, IConfiguration configuration)
    {
        services.AddSingleton<IValidateOptions<WebhooksOptions>, WebhooksOptionsValidator>();
        services.AddOptions<WebhooksOptions>()
            .Configure(options => options.ReadFrom(configuration.GetSection(WebhooksOptions.Section)))
            .ValidateOnStart();
        services.AddSingleton<WebhookSuspensions>();
        if (!WebhooksOptions.AreWanted(configuration))
            return;
        services.AddSingleton<WebhookReceivers>();
        services.AddSingleton<WebhookTraffic>();
        services.AddSingleton<WebhookDeliveries>();
        services.AddSingleton<IConditionSource, WebhookConditions>();
        services.AddSingleton<WebhookSender>();
        services.AddSingleton<WebhookPosition>();
        services.AddSingleton<WebhookChanges>();
        services.AddSingleton<IHostJobFilter, WebhookJobFilter>();
        services.AddTransient<DeliverWebhookJob>();
        services.AddHostedSingleton<WebhookDispatcher>();
    }
}
