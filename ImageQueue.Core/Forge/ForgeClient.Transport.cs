using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Http.Headers;

namespace ImageQueue.Core.Forge;

/// <summary>
/// Sends requests and reads answers, bounded in bytes and time, and turns transport errors into <see cref="ForgeException"/>.
/// </summary>
internal sealed partial class ForgeClient
{
    private const int MaxImageBody = 256 * 1024 * 1024;
    private const int MaxSmallBody = 16 * 1024 * 1024;
    private const int MaxErrorBody = 64 * 1024;

    /// <summary>The answer; null when the endpoint is not there: 404, 405, or a page that answers for every path.</summary>
    private async Task<T?> AskAsync<T>(
        ForgeBackend backend, HttpRequestMessage message, Func<ReadOnlyMemory<byte>, T?> read, CancellationToken cancellationToken)
        where T : class
    {
        using var response = await SendAsync(backend, message, cancellationToken);
        if (response.StatusCode is HttpStatusCode.NotFound or HttpStatusCode.MethodNotAllowed)
            return null;
        if (response.StatusCode != HttpStatusCode.OK)
            throw await ReadFailureAsync(backend, response, cancellationToken);

        using var body = await ReadSmallBodyAsync(backend, response, cancellationToken);
        return read(body.Bytes);
    }

    /// <summary>Sends, and returns once the status is known.</summary>
    /// <exception cref="ForgeException"><see cref="ForgeFailure.Unavailable"/> or <see cref="ForgeFailure.Disrupted"/>: no status
    /// came.</exception>
    private async Task<HttpResponseMessage> SendAsync(
        ForgeBackend backend, HttpRequestMessage message, CancellationToken cancellationToken, bool isGeneration = false)
    {
        try
        {
            return await connections.SendAsync(backend, message, cancellationToken);
        }
        catch (Exception exception) when (ForgeFailures.IsTransportTrouble(exception))
        {
            // A cancelled exchange can also surface as a broken one, and a connect time-out as a cancelled one.
            cancellationToken.ThrowIfCancellationRequested();
            throw ForgeFailures.OfTransport(backend, exception, isGeneration);
        }
    }

    private static Task<ForgeBody> ReadImageBodyAsync(HttpResponseMessage response, CancellationToken cancellationToken) =>
        ReadBodyAsync(response, MaxImageBody, "the answer", ForgeFailure.BadImage, ForgeFailure.BadImage, cancellationToken);

    private static Task<ForgeBody> ReadSmallBodyAsync(
        ForgeBackend backend, HttpResponseMessage response, CancellationToken cancellationToken) => ReadBodyAsync(
            response, MaxSmallBody, $"the answer of {backend.Name}", ForgeFailure.Failed, ForgeFailure.Unavailable, cancellationToken);

    private static async Task<ForgeBody> ReadBodyAsync(
        HttpResponseMessage response, int maxBytes, string what, ForgeFailure tooLong, ForgeFailure cutShort,
        CancellationToken cancellationToken)
    {
        try
        {
            return await ForgeBody.ReadAsync(response.Content, maxBytes, cancellationToken);
        }
        catch (ForgeBodyTooLongException exception)
        {
            throw new ForgeException(tooLong, $"{what} is {exception.Message}", exception);
        }
        catch (Exception exception) when (ForgeFailures.IsTransportTrouble(exception))
        {
            cancellationToken.ThrowIfCancellationRequested();
            throw new ForgeException(cutShort, $"{what} was cut short", exception);
        }
    }

    /// <summary>The exception for a status other than 200.</summary>
    /// <param name="elapsed">Since an image was requested; null for a small call.</param>
    private async Task<ForgeException> ReadFailureAsync(
        ForgeBackend backend, HttpResponseMessage response, CancellationToken cancellationToken, TimeSpan? elapsed = null)
    {
        try
        {
            // Not as long as an image may take.
            using var deadline = new CancellationTokenSource(ShortDeadline, time);
            using var linked = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, deadline.Token);
            using var body = await ForgeBody.ReadAsync(response.Content, MaxErrorBody, linked.Token);
            return ForgeFailures.OfAnswer(backend, response, body.Bytes, elapsed);
        }
        catch (Exception exception) when (ForgeFailures.IsTransportTrouble(exception) || exception is ForgeBodyTooLongException)
        {
            cancellationToken.ThrowIfCancellationRequested();
            return ForgeFailures.OfAnswer(backend, response, default, elapsed, exception);
        }
    }

    /// <summary>Runs within a deadline of its own; missing it makes the backend unavailable.</summary>
    [SuppressMessage("Design", "CA1068", Justification = "The body reads best last.")]
    private async Task<T> WithinAsync<T>(
        TimeSpan limit, ForgeBackend backend, CancellationToken cancellationToken, Func<CancellationToken, Task<T>> run)
    {
        using var deadline = new CancellationTokenSource(limit, time);
        using var linked = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, deadline.Token);
        try
        {
            return await run(linked.Token);
        }
        catch (OperationCanceledException exception) when (!cancellationToken.IsCancellationRequested)
        {
            throw new ForgeException(
                ForgeFailure.Unavailable, FormattableString.Invariant($"{backend.Name} did not answer within {limit.TotalSeconds:0.#} s"),
                exception);
        }
    }

    private static HttpRequestMessage Get(ForgeBackend backend, string path) => Request(HttpMethod.Get, backend, path);

    // An array and not JsonContent: that is sent in chunks, which small servers do not read.
    private static HttpRequestMessage Post(ForgeBackend backend, string path, byte[] json) =>
        Post(backend, path, new ByteArrayContent(json) { Headers = { ContentType = new MediaTypeHeaderValue("application/json") } });

    private static HttpRequestMessage Post(ForgeBackend backend, string path, HttpContent content)
    {
        var message = Request(HttpMethod.Post, backend, path);
        message.Content = content;
        return message;
    }

    private static HttpRequestMessage Request(HttpMethod method, ForgeBackend backend, string path)
    {
        // A path in the base address is kept: http://host/simulator/ + sdapi/v1/txt2img.
        var message = new HttpRequestMessage(method, new Uri($"{ForgeAddress.Of(backend.Url)}/{path}"));
        message.Headers.Accept.ParseAdd("application/json");
        if (backend.Username is not null)
        {
            var credentials = Encoding.UTF8.GetBytes($"{backend.Username}:{backend.Password}");
            message.Headers.Authorization = new AuthenticationHeaderValue("Basic", Convert.ToBase64String(credentials));
        }

        return message;
    }
}
