using ImageQueue.Core.Backends;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;

namespace ImageQueue.Core.Forge;

/// <summary>The registrations of this folder.</summary>
internal static class ForgeServices
{
    /// <summary>Adds the client, the pool and the validators. The caller binds <see cref="ForgeOptions"/>.</summary>
    public static IServiceCollection AddForgeClient(this IServiceCollection services)
    {
        services.TryAddSingleton(TimeProvider.System);
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IValidateOptions<ForgeOptions>, ForgeOptionsValidator>());
        services.TryAddSingleton<ForgeConnections>();
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IValidateOptions<ForgeOptions>, ForgeModelsValidator>());
        services.TryAddSingleton(provider => new ForgeModels(provider.GetRequiredService<IOptions<ForgeOptions>>().Value));
        services.TryAddSingleton<IForgeCatalogue, ForgeCatalogue>();
        services.TryAddSingleton<IForgeClient, ForgeClient>();
        services.TryAddSingleton<BackendPool>();
        services.AddHostedService<ForgePoolStop>();
        return services;
    }

    /// <summary>Releases the backends at a stop; registered before the job servers, so it stops after them.</summary>
    private sealed class ForgePoolStop(IServiceProvider services) : IHostedService
    {
        public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) =>
            services.GetRequiredService<BackendPool>().StopAsync(cancellationToken);
    }
}
