using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace ImageQueue.Core.Forge;

/// <summary>The HTTP connections: one handler per backend, since each may have its own certificate.</summary>
internal sealed class ForgeConnections : IDisposable
{
    private readonly ConcurrentDictionary<ForgeBackend, Lazy<HttpMessageInvoker>> _invokers = new();

    /// <summary>Sends, and returns once the status is known. There is no time limit but the token's.</summary>
    public Task<HttpResponseMessage> SendAsync(ForgeBackend backend, HttpRequestMessage message, CancellationToken cancellationToken) =>
        _invokers.GetOrAdd(backend, one => new Lazy<HttpMessageInvoker>(() => new HttpMessageInvoker(CreateHandler(one))))
            .Value.SendAsync(message, cancellationToken);

    public void Dispose()
    {
        foreach (var invoker in _invokers.Values.Where(invoker => invoker.IsValueCreated))
            invoker.Value.Dispose();
    }

    private static SocketsHttpHandler CreateHandler(ForgeBackend backend) => new()
    {
        AllowAutoRedirect = false,
        AutomaticDecompression = DecompressionMethods.GZip,
        UseCookies = false,
        ConnectTimeout = TimeSpan.FromSeconds(5),
        PooledConnectionLifetime = TimeSpan.FromMinutes(5),

        // Uvicorn closes idle connections after 5 s. A POST that meets the closing cannot be repeated safely and would look
        // like a server that is down, so ours are closed well before.
        PooledConnectionIdleTimeout = TimeSpan.FromSeconds(2),
        Proxy = new ProxyBeyondThisMachine(),
        ConnectCallback = ConnectAsync,
        SslOptions = { RemoteCertificateValidationCallback = ForgeCertificates.CheckOf(backend) },
    };

    /// <summary>
    /// Connects as the default does, with TCP keep-alive: no byte is sent while an image is generated, and load balancers
    /// and NAT drop a connection that is silent for some minutes without telling either side.
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

    /// <summary>The system's proxy (HTTP_PROXY and so on), but never for this machine, where the simulator is.</summary>
    private sealed class ProxyBeyondThisMachine : IWebProxy
    {
        public ICredentials? Credentials
        {
            get => HttpClient.DefaultProxy.Credentials;
            set => throw new NotSupportedException("They are the system proxy's own.");
        }

        public Uri? GetProxy(Uri destination) => IsBypassed(destination) ? null : HttpClient.DefaultProxy.GetProxy(destination);

        public bool IsBypassed(Uri host) => host.IsLoopback || HttpClient.DefaultProxy.IsBypassed(host);
    }
}
