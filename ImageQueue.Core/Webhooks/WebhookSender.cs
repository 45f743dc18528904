using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using Microsoft.Extensions.Options;

namespace ImageQueue.Core.Webhooks;

/// <summary>
/// Posts to receivers. What a name means is looked up for each connection and checked there: a name that meant a public address at
/// the start may mean another one later. Redirects are not followed, and no proxy is asked, which would look up the name itself.
/// </summary>
public sealed class WebhookSender : IDisposable
{
    private readonly WebhooksOptions _options;
    private readonly TimeProvider _time;
    private readonly HttpClient _http;

    /// <summary>Sends nothing yet.</summary>
    public WebhookSender(IOptions<WebhooksOptions> options, TimeProvider time)
    {
        ArgumentNullException.ThrowIfNull(options);
        (_options, _time) = (options.Value, time);
        var handler = new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            UseProxy = false,
            UseCookies = false,
            PooledConnectionLifetime = TimeSpan.FromMinutes(2),
            ConnectCallback = ConnectAsync,
            ActivityHeadersPropagator = null,
        };
        _http = new HttpClient(handler) { Timeout = _options.Timeout };
    }

    /// <summary>One try.</summary>
    /// <returns>What the receiver answered, for operators.</returns>
    /// <exception cref="WebhookException">It did not take it.</exception>
    public async Task<string> SendAsync(WebhookReceiver receiver, string id, ReadOnlyMemory<byte> body, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(receiver);
        var (now, started) = (_time.GetUtcNow(), _time.GetTimestamp());
        using var request = new HttpRequestMessage(HttpMethod.Post, receiver.Url) { Content = new ReadOnlyMemoryContent(body) };
        request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        request.Headers.UserAgent.Add(new ProductInfoHeaderValue("ImageQueue", null));
        request.Headers.Add("webhook-id", id);
        request.Headers.Add("webhook-timestamp", now.ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture));
        request.Headers.Add("webhook-signature", WebhookSignature.Of(receiver.Keys, id, now, body.Span));
        try
        {
            // What it has to say beside the status is not read: it could be anything, and endless.
            using var response = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
            var answer = string.Create(
                CultureInfo.InvariantCulture, $"{(int)response.StatusCode} {response.StatusCode} after {_time.GetElapsedTime(started).TotalSeconds:0.00} s");
            return response.IsSuccessStatusCode
                ? answer
                : throw new WebhookException(answer) { Kind = ((int)response.StatusCode).ToString(CultureInfo.InvariantCulture) };
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new WebhookException($"No answer within {_options.Timeout.TotalSeconds:0.#} s.", e) { Kind = "timeout" };
        }
        catch (HttpRequestException e)
        {
            throw new WebhookException(e.InnerException is WebhookException or SocketException or IOException ? e.InnerException.Message : e.Message, e);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _http.Dispose();

    private async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken cancellationToken)
    {
        var (host, port) = (context.DnsEndPoint.Host, context.DnsEndPoint.Port);
        var addresses = IPAddress.TryParse(host, out var literal) ? [literal] : await Dns.GetHostAddressesAsync(host, cancellationToken);
        var allowed = _options.AllowPrivate ? addresses : [.. addresses.Where(PublicAddresses.Holds)];
        if (allowed.Length == 0)
            throw new WebhookException($"{host} is at a private address. Set Webhooks:AllowPrivate to true to allow such.");
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(allowed, port, cancellationToken);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}

/// <summary>A receiver did not take an event. The message is for operators.</summary>
public sealed class WebhookException(string message, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>Which kind of trouble, of a few: a status, timeout, or connection.</summary>
    public string Kind { get; init; } = "connection";
}
