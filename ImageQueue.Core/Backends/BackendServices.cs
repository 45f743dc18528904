using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;

namespace ImageQueue.Core.Backends;

/// <summary>The registrations of this folder.</summary>
internal static class BackendServices
{
    public static IServiceCollection AddBackends(this IServiceCollection services)
    {
        services.TryAddSingleton<IForgeCatalogue, ForgeCatalogue>();
        services.TryAddSingleton<BackendPool>();
        services.AddHostedService<BackendPoolStop>();
        return services;
    }

    /// <summary>Releases the backends at a stop; registered before the job servers, so it stops after them.</summary>
    private sealed class BackendPoolStop(IServiceProvider services) : IHostedService
    {
        public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) =>
            services.GetRequiredService<BackendPool>().StopAsync(cancellationToken);
    }
}
