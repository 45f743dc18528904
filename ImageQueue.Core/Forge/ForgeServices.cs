using System.Net;
using System.Net.Sockets;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;

namespace ImageQueue.Core.Forge;

/// <summary>The registrations of this folder.</summary>
internal static class ForgeServices
{
    /// <summary>
    /// Adds <see cref="IForgeClient"/>, <see cref="ForgePool"/> and the checks of <see cref="ForgeOptions"/> that attributes
    /// cannot express. Binding the options is the caller's.
    /// </summary>
    public static IServiceCollection AddForgeClient(this IServiceCollection services)
    {
        services.TryAddSingleton(TimeProvider.System);
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IValidateOptions<ForgeOptions>, ForgeOptionsValidator>());
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IValidateOptions<ForgeOptions>, ForgeModelsValidator>());
        services.TryAddSingleton(provider => new ForgeModels(provider.GetRequiredService<IOptions<ForgeOptions>>().Value));
        services.TryAddSingleton<IForgeCatalogue, NoForgeCatalogue>();
        services.TryAddSingleton<IForgeClient, ForgeClient>();
        services.TryAddSingleton<ForgePool>();
        services.AddHostedService<ForgePoolStop>();

        services.AddHttpClient(ForgeClient.HttpClientName)
            .ConfigureHttpClient(client => client.Timeout = Timeout.InfiniteTimeSpan)
            .ConfigurePrimaryHttpMessageHandler(CreateHandler)

            // The handler renews its own connections (PooledConnectionLifetime), so the factory need not replace it.
            .SetHandlerLifetime(Timeout.InfiniteTimeSpan)

            // Two lines for every progress question would drown the log.
            .RemoveAllLoggers();
        return services;
    }

    internal static SocketsHttpHandler CreateHandler() => new()
    {
        AllowAutoRedirect = false,
        AutomaticDecompression = DecompressionMethods.GZip,
        UseCookies = false,
        ConnectTimeout = TimeSpan.FromSeconds(5),
        PooledConnectionLifetime = TimeSpan.FromMinutes(5),

        // Uvicorn closes idle connections after 5 s. A POST that meets the closing cannot be repeated safely and would look
        // like a server that is down, so ours are given up well before.
        PooledConnectionIdleTimeout = TimeSpan.FromSeconds(2),
        Proxy = new ProxyBeyondThisMachine(),
        ConnectCallback = ConnectAsync,
    };

    /// <summary>
    /// Connects as the default does, with TCP keep-alive: nothing moves on the connection while a picture is painted, and
    /// balancers and NAT drop a connection that is silent for some minutes without telling either side.
    /// </summary>
    private static async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken cancellationToken)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
            socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, 30);
            socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval, 10);
            await socket.ConnectAsync(context.DnsEndPoint, cancellationToken);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Gives the backends back at a stop; registered before the job servers, so it stops after them.</summary>
    private sealed class ForgePoolStop(IServiceProvider services) : IHostedService
    {
        public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => services.GetRequiredService<ForgePool>().StopAsync(cancellationToken);
    }

    /// <summary>The system's proxy (HTTP_PROXY and so on), but never for this machine, where the simulator is.</summary>
    private sealed class ProxyBeyondThisMachine : IWebProxy
    {
        public ICredentials? Credentials
        {
            get => HttpClient.DefaultProxy.Credentials;
            set => throw new NotSupportedException();
        }

        public Uri? GetProxy(Uri destination) => IsBypassed(destination) ? null : HttpClient.DefaultProxy.GetProxy(destination);

        public bool IsBypassed(Uri host) => host.IsLoopback || HttpClient.DefaultProxy.IsBypassed(host);
    }
}
