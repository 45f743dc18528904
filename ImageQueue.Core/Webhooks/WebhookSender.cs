using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;

namespace ImageQueue.Core.Webhooks;

/// <summary>
/// Posts to receivers. Host names are resolved and checked for each connection: a name with a public address at the start may have a
/// private one later. Redirects are not followed, and no proxy is used, which would resolve the name itself.
/// </summary>
public sealed class WebhookSender : IDisposable
{
    private static readonly TimeSpan LongestRetryAfter = TimeSpan.FromDays(1);

    private readonly WebhooksOptions _options;
    private readonly TimeProvider _time;
    private readonly HttpClient _http;

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

    /// <returns>What the receiver answered, for operators.</returns>
    /// <exception cref="WebhookException">It did not accept the event.</exception>
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
            // The body is not read: it could be endless.
            using var response = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
            var answer = string.Create(
                CultureInfo.InvariantCulture,
                $"{(int)response.StatusCode} {response.StatusCode} after {_time.GetElapsedTime(started).TotalSeconds:0.00} s");
            return response.IsSuccessStatusCode
                ? answer
                : throw new WebhookException(answer)
                {
                    Kind = ((int)response.StatusCode).ToString(CultureInfo.InvariantCulture),
                    IsGone = response.StatusCode == HttpStatusCode.Gone,
                    RetryAfter = response.StatusCode is HttpStatusCode.TooManyRequests or HttpStatusCode.ServiceUnavailable
                        ? RetryAfterOf(response, now)
                        : null,
                };
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new WebhookException($"No answer within {_options.Timeout.TotalSeconds:0.#} s.", e) { Kind = "timeout" };
        }
        catch (HttpRequestException e)
        {
            throw new WebhookException(
                e.InnerException is WebhookException or SocketException or IOException ? e.InnerException.Message : e.Message, e);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _http.Dispose();

    private static TimeSpan? RetryAfterOf(HttpResponseMessage response, DateTimeOffset now)
    {
        var delay = response.Headers.RetryAfter is { } header ? header.Delta ?? header.Date - now : null;
        return delay is { Ticks: > 0 } wanted ? (wanted < LongestRetryAfter ? wanted : LongestRetryAfter) : null;
    }

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

/// <summary>A receiver did not accept an event. The message is for operators.</summary>
internal sealed class WebhookException(string message, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>The kind of failure, of a few: a status, timeout, or connection.</summary>
    public string Kind { get; init; } = "connection";

    /// <summary>Whether the receiver wants no more deliveries (410).</summary>
    public bool IsGone { get; init; }

    /// <summary>How long the receiver wants no deliveries, at most a day; null when it did not say.</summary>
    public TimeSpan? RetryAfter { get; init; }
}
