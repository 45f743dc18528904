using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace ImageQueue.Core.Forge;

/// <summary>The registrations of this folder.</summary>
internal static class ForgeServices
{
    /// <summary>Adds the client, the models and the validators. The caller binds <see cref="ForgeOptions"/>.</summary>
    public static IServiceCollection AddForgeClient(this IServiceCollection services)
    {
        services.TryAddSingleton(TimeProvider.System);
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IValidateOptions<ForgeOptions>, ForgeOptionsValidator>());
        services.TryAddSingleton<ForgeConnections>();
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IValidateOptions<ForgeOptions>, ForgeModelsValidator>());
        services.TryAddSingleton(provider => new ForgeModels(provider.GetRequiredService<IOptions<ForgeOptions>>().Value));
        services.TryAddSingleton<IForgeClient, ForgeClient>();
        return services;
    }
}
