using Microsoft.AspNetCore.SignalR;
using Microsoft.AspNetCore.SignalR.Protocol;

namespace ImageQueue.Web.Push;

internal static class PushServices
{
    /// <summary>Adds Server-Sent Events and the hub.</summary>
    /// <param name="configuration">Holds <see cref="PushOptions"/>.</param>
    /// <param name="configureJson">How the product writes JSON.</param>
    public static void AddPush(this IServiceCollection services, IConfiguration configuration, Action<JsonSerializerOptions> configureJson)
    {
        services.AddOptions<PushOptions>().Bind(configuration.GetSection(PushOptions.Section)).ValidateDataAnnotations().ValidateOnStart();
        services.AddSingleton<PushWriter>();
        services.AddSingleton<HubErrors>();
        services.AddLogging(logging => logging.AddFilter(HubErrors.ReplacedCategory, LogLevel.None));
        services.AddSignalR(options => options.AddFilter<HubErrors>()).AddJsonProtocol(
            options => configureJson(options.PayloadSerializerOptions));
        // Of two protocols with one name SignalR takes the one that was added last (DefaultHubProtocolResolver).
        services.AddSingleton<IHubProtocol>(
            provider => new OptionalArguments(new JsonHubProtocol(provider.GetRequiredService<IOptions<JsonHubProtocolOptions>>())));
    }
}
