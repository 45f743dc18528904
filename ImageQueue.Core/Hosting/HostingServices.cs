using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace ImageQueue.Core.Hosting;

/// <summary>How background services are registered.</summary>
internal static class HostingServices
{
    /// <summary>Adds a hosted service that others can also inject.</summary>
    public static IServiceCollection AddHostedSingleton<T>(this IServiceCollection services)
        where T : class, IHostedService =>
        services.AddSingleton<T>().AddHostedService(provider => provider.GetRequiredService<T>());
}
