using System.Collections.Concurrent;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;

namespace ImageQueue.Core.Forge;

/// <summary>The HTTP connections to the servers: one handler for each, since each may have a certificate of its own.</summary>
internal sealed class ForgeConnections : IDisposable
{
    private readonly ConcurrentDictionary<ForgeBackend, Lazy<HttpMessageInvoker>> _invokers = new();

    /// <summary>Sends, and returns once the status is known. There is no time limit but the token's.</summary>
    public Task<HttpResponseMessage> SendAsync(ForgeBackend backend, HttpRequestMessage message, CancellationToken cancellationToken) =>
        _invokers.GetOrAdd(backend, one => new Lazy<HttpMessageInvoker>(() => new HttpMessageInvoker(CreateHandler(one)))).Value.SendAsync(message, cancellationToken);

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var invoker in _invokers.Values)
        {
            if (invoker.IsValueCreated)
                invoker.Value.Dispose();
        }
    }

    private static SocketsHttpHandler CreateHandler(ForgeBackend backend)
    {
        var handler = new SocketsHttpHandler
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
        if (ForgeCertificates.CheckOf(backend) is { } check)
            handler.SslOptions.RemoteCertificateValidationCallback = check;
        return handler;
    }

    /// <summary>
    /// Connects as the default does, with TCP keep-alive: nothing moves on the connection while an image is generated, and
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

/// <summary>Whether a server's certificate is the right one, and what is wrong with it when it is not.</summary>
internal static class ForgeCertificates
{
    /// <summary>The check of one server.</summary>
    public static RemoteCertificateValidationCallback CheckOf(ForgeBackend backend)
    {
        var authorities = backend.CertificateAuthority is { } file ? ReadAuthorities(file) : null;
        var fingerprint = backend.CertificateFingerprint is { } hex ? Bare(hex) : null;
        return (_, certificate, chain, errors) => WhatIsWrong(certificate, chain, errors, authorities, fingerprint) is { } wrong
            ? throw new ForgeCertificateException(wrong)
            : true;
    }

    /// <summary>The certificates in a PEM file.</summary>
    /// <exception cref="InvalidDataException">It cannot be read, or holds none.</exception>
    public static X509Certificate2Collection ReadAuthorities(string file)
    {
        var authorities = new X509Certificate2Collection();
        try
        {
            authorities.ImportFromPemFile(file);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or System.Security.Cryptography.CryptographicException)
        {
            throw new InvalidDataException($"{file} cannot be read as PEM: {exception.Message}", exception);
        }

        return authorities.Count > 0 ? authorities : throw new InvalidDataException($"{file} holds no certificate");
    }

    /// <summary>The hex digits alone; null when it is no SHA-256.</summary>
    public static string? Bare(string fingerprint)
    {
        var bare = fingerprint.Replace(":", "", StringComparison.Ordinal).Replace(" ", "", StringComparison.Ordinal).ToLowerInvariant();
        return bare.Length == 64 && bare.All(char.IsAsciiHexDigit) ? bare : null;
    }

    private static string? WhatIsWrong(
        X509Certificate? certificate, X509Chain? chain, SslPolicyErrors errors, X509Certificate2Collection? authorities, string? fingerprint)
    {
        if (certificate is not X509Certificate2 own)
            return "the server shows no certificate";
        if (fingerprint is not null)
        {
            // Pinned: that very certificate, whatever it says and whoever signed it.
            var shown = own.GetCertHashString(System.Security.Cryptography.HashAlgorithmName.SHA256).ToLowerInvariant();
            return shown == fingerprint ? null : $"its certificate's SHA-256 is {shown}, and not that in Forge:Backends:n:CertificateFingerprint";
        }

        if ((errors & SslPolicyErrors.RemoteCertificateNameMismatch) != 0)
            return $"its certificate is for {own.GetNameInfo(X509NameType.DnsName, false)}, and not for this host";
        if (authorities is null)
            return errors == SslPolicyErrors.None ? null : Describe(own, chain);

        using var ours = new X509Chain();
        ours.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        ours.ChainPolicy.CustomTrustStore.AddRange(authorities);
        ours.ChainPolicy.ExtraStore.AddRange(chain?.ChainPolicy.ExtraStore ?? []);
        ours.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck; // A private authority rarely publishes revocations.
        return ours.Build(own) ? null : Describe(own, ours);
    }

    private static string Describe(X509Certificate2 certificate, X509Chain? chain)
    {
        var status = chain?.ChainStatus.FirstOrDefault(one => one.Status != X509ChainStatusFlags.NoError).Status ?? X509ChainStatusFlags.NoError;
        return status switch
        {
            X509ChainStatusFlags.NotTimeValid => FormattableString.Invariant(
                $"its certificate is valid from {certificate.NotBefore.ToUniversalTime():yyyy-MM-dd} to {certificate.NotAfter.ToUniversalTime():yyyy-MM-dd} only"),
            X509ChainStatusFlags.UntrustedRoot or X509ChainStatusFlags.PartialChain =>
                $"its certificate is signed by {certificate.GetNameInfo(X509NameType.SimpleName, true)}, which is not trusted (Forge:Backends:n:CertificateAuthority or CertificateFingerprint)",
            _ => $"its certificate is not accepted ({status})",
        };
    }
}

/// <summary>A certificate that is not accepted, and why.</summary>
internal sealed class ForgeCertificateException(string message) : Exception(message);
