using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Forge;

/// <summary>
/// Speaks Forge's HTTP API and turns all of its trouble into <see cref="ForgeException"/>. Holds nothing but a memory of
/// which servers lack which endpoint, and which preview each has sent last.
/// </summary>
/// <remarks>
/// Source: Forge's <c>modules/api/api.py</c> (endpoints, error bodies), <c>modules/progress.py</c> (progress). A cancelled
/// token always surfaces as <see cref="OperationCanceledException"/>.
/// </remarks>
internal sealed class ForgeClient(IHttpClientFactory http, TimeProvider time, ILogger<ForgeClient> logger) : IForgeClient
{
    /// <summary>The name of the <see cref="HttpClient"/>; see <see cref="ForgeServices"/>.</summary>
    public const string HttpClientName = "forge";

    /// <summary>Longest wait for the small answers: progress, interrupt, probe, and the text of an error.</summary>
    private static readonly TimeSpan ShortDeadline = TimeSpan.FromSeconds(5);

    /// <summary>How long an endpoint that was not there is not asked for again. Servers restart with other flags.</summary>
    private static readonly TimeSpan AbsenceIsRemembered = TimeSpan.FromSeconds(60);

    private const int MaxPictureBody = 256 * 1024 * 1024;
    private const int MaxSmallBody = 16 * 1024 * 1024;
    private const int MaxErrorBody = 64 * 1024;

    private readonly ConcurrentDictionary<ForgeBackend, Memory> _memories = new();

    /// <inheritdoc/>
    public async Task<ForgePicture> PaintAsync(
        ForgeBackend backend, string taskId, PaintRequest request, CancellationToken cancellationToken)
    {
        using var message = Post(backend, "sdapi/v1/txt2img", ForgeMessages.Txt2Img(taskId, request));
        using var response = await SendAsync(backend, message, cancellationToken);
        if (response.StatusCode != HttpStatusCode.OK)
        {
            throw await ReadFailureAsync(backend, response, cancellationToken);
        }

        using var body = await ReadPictureBodyAsync(response, cancellationToken);
        return ForgeMessages.ReadPicture(body.Bytes);
    }

    /// <inheritdoc/>
    public Task<ForgeProgress> GetProgressAsync(
        ForgeBackend backend, string taskId, bool withPreview, CancellationToken cancellationToken) =>
        WithinAsync(ShortDeadline, backend, cancellationToken, async token =>
            await GetTaskProgressAsync(backend, taskId, withPreview, token)
            ?? await GetGlobalProgressAsync(backend, token)
            ?? new ForgeProgress(ForgeTaskState.Unknown) { Source = ForgeProgressSource.None });

    /// <inheritdoc/>
    public Task<ForgeServerState?> GetServerStateAsync(ForgeBackend backend, CancellationToken cancellationToken) =>
        WithinAsync(ShortDeadline, backend, cancellationToken, token => GetStateAsync(backend, token));

    /// <inheritdoc/>
    public Task<ForgeCapabilities> LearnAsync(ForgeBackend backend, CancellationToken cancellationToken) =>
        Task.FromResult(ForgeCapabilities.Unknown);

    /// <inheritdoc/>
    /// <remarks>
    /// Where there is no <c>/internal/progress</c> nothing is interrupted: people at Forge's own page share the server, and
    /// without a task's name it cannot be told whose picture would be lost. Between the question and the interrupt our task
    /// can still end and another begin; Forge has no way to close that gap.
    /// </remarks>
    public Task<bool> InterruptAsync(ForgeBackend backend, string taskId, CancellationToken cancellationToken) =>
        WithinAsync(ShortDeadline, backend, cancellationToken, async token =>
        {
            var progress = await GetTaskProgressAsync(backend, taskId, withPreview: false, token);
            if (progress?.State != ForgeTaskState.Active) return false;

            using var message = Post(backend, "sdapi/v1/interrupt", []);
            using var response = await SendAsync(backend, message, token);
            if (response.IsSuccessStatusCode) return true;
            if (response.StatusCode is HttpStatusCode.NotFound or HttpStatusCode.MethodNotAllowed) return false;
            throw await ReadFailureAsync(backend, response, token);
        });

    /// <inheritdoc/>
    /// <remarks>
    /// Asks <c>GET /sdapi/v1/samplers</c>: every known server has it, it lists constants (sd-models reads a directory, options
    /// builds the whole settings page), it is behind <c>--api-auth</c>, and it is there only when txt2img is. Wrong
    /// credentials (401, 403) are unhealthy: every request would be refused for a reason that is not its own, so requests
    /// wait while an operator reads <see cref="WhyUnhealthy"/>.
    /// </remarks>
    public async Task<bool> IsHealthyAsync(ForgeBackend backend, CancellationToken cancellationToken)
    {
        var memory = MemoryOf(backend);
        try
        {
            memory.WhyUnhealthy = await WithinAsync(ShortDeadline, backend, cancellationToken, async token =>
            {
                using var message = Get(backend, "sdapi/v1/samplers");
                using var response = await SendAsync(backend, message, token);
                if (response.StatusCode == HttpStatusCode.OK)
                {
                    using var body = await ReadSmallBodyAsync(backend, response, token);
                    return ForgeMessages.IsArray(body.Bytes) ? null : "its answer is not that of Forge's API; is the address right?";
                }

                return response.StatusCode switch
                {
                    HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden =>
                        "it refuses the user and password (Forge:Backends:n:Username and Password)",
                    HttpStatusCode.NotFound => "its API is off (start Forge with --api) or not up yet",
                    _ => (await ReadFailureAsync(backend, response, token)).Reason,
                };
            });
        }
        catch (ForgeException exception)
        {
            memory.WhyUnhealthy = exception.Reason;
        }

        return memory.WhyUnhealthy is null;
    }

    /// <inheritdoc/>
    public string? WhyUnhealthy(ForgeBackend backend) => MemoryOf(backend).WhyUnhealthy;

    /// <summary>Progress of the very task; null where the server has no such endpoint.</summary>
    private async Task<ForgeProgress?> GetTaskProgressAsync(
        ForgeBackend backend, string taskId, bool withPreview, CancellationToken cancellationToken)
    {
        var memory = MemoryOf(backend);
        if (IsRemembered(memory.NoTaskProgressSince)) return null;

        // Forge encodes and sends a preview only when its number is another than the asker's (progress.py, progressapi).
        var seen = memory.SeenPreview;
        using var message = Post(
            backend, "internal/progress", ForgeMessages.InternalProgress(taskId, withPreview, withPreview && seen?.TaskId == taskId ? seen.Id : -1));
        var progress = await AskAsync(backend, message, ForgeMessages.ReadInternalProgress, cancellationToken);
        if (progress is null)
        {
            memory.NoTaskProgressSince = time.GetTimestamp();
            logger.LogDebug("{Backend} has no /internal/progress; its global progress is used.", backend.Name);
        }
        else if (progress.PreviewId is { } preview)
        {
            // One request is in flight per server, so this is one memory for each.
            memory.SeenPreview = new SeenPreview(taskId, preview);
        }

        return progress;
    }

    /// <summary>Progress of whatever the server works on, never with its preview: that may be another person's picture.</summary>
    private async Task<ForgeProgress?> GetGlobalProgressAsync(ForgeBackend backend, CancellationToken cancellationToken) =>
        await GetStateAsync(backend, cancellationToken) is not { } state ? null
        : state.IsIdle ? new ForgeProgress(ForgeTaskState.Unknown) { Source = ForgeProgressSource.Server }
        : new ForgeProgress(ForgeTaskState.Active, state.Fraction) { Source = ForgeProgressSource.Server };

    private async Task<ForgeServerState?> GetStateAsync(ForgeBackend backend, CancellationToken cancellationToken)
    {
        var memory = MemoryOf(backend);
        if (IsRemembered(memory.NoGlobalProgressSince)) return null;

        using var message = Get(backend, "sdapi/v1/progress?skip_current_image=true");
        var state = await AskAsync(backend, message, ForgeMessages.ReadServerState, cancellationToken);
        if (state is null)
        {
            memory.NoGlobalProgressSince = time.GetTimestamp();
            logger.LogDebug("{Backend} has no /sdapi/v1/progress either; its progress is unknown.", backend.Name);
        }

        return state;
    }

    /// <summary>The answer; null when the endpoint is not there: 404, 405, or a page that answers for every path.</summary>
    private async Task<T?> AskAsync<T>(
        ForgeBackend backend,
        HttpRequestMessage message,
        Func<ReadOnlyMemory<byte>, T?> read,
        CancellationToken cancellationToken)
        where T : class
    {
        using var response = await SendAsync(backend, message, cancellationToken);
        if (response.StatusCode is HttpStatusCode.NotFound or HttpStatusCode.MethodNotAllowed) return null;
        if (response.StatusCode != HttpStatusCode.OK)
        {
            throw await ReadFailureAsync(backend, response, cancellationToken);
        }

        using var body = await ReadSmallBodyAsync(backend, response, cancellationToken);
        return read(body.Bytes);
    }

    /// <summary>Sends, and returns once the status is known.</summary>
    /// <exception cref="ForgeException"><see cref="ForgeFailure.Unavailable"/>: no status came.</exception>
    private async Task<HttpResponseMessage> SendAsync(
        ForgeBackend backend, HttpRequestMessage message, CancellationToken cancellationToken)
    {
        try
        {
            var client = http.CreateClient(HttpClientName);
            return await client.SendAsync(message, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
        }
        catch (Exception exception) when (IsTransportTrouble(exception))
        {
            // A cancelled exchange can also surface as a broken one, and a connect time-out as a cancelled one.
            cancellationToken.ThrowIfCancellationRequested();
            throw new ForgeException(
                ForgeFailure.Unavailable, $"{backend.Name} could not be reached: {DescribeTransport(exception)}", exception);
        }
    }

    private static async Task<ForgeBody> ReadPictureBodyAsync(HttpResponseMessage response, CancellationToken cancellationToken)
    {
        try
        {
            return await ForgeBody.ReadAsync(response.Content, MaxPictureBody, cancellationToken);
        }
        catch (ForgeBodyTooLongException exception)
        {
            throw new ForgeException(ForgeFailure.BadImage, $"the answer is {exception.Message}", exception);
        }
        catch (Exception exception) when (IsTransportTrouble(exception))
        {
            cancellationToken.ThrowIfCancellationRequested();
            throw new ForgeException(ForgeFailure.BadImage, "the answer was cut short", exception);
        }
    }

    private static async Task<ForgeBody> ReadSmallBodyAsync(
        ForgeBackend backend, HttpResponseMessage response, CancellationToken cancellationToken)
    {
        try
        {
            return await ForgeBody.ReadAsync(response.Content, MaxSmallBody, cancellationToken);
        }
        catch (ForgeBodyTooLongException exception)
        {
            throw new ForgeException(ForgeFailure.Failed, $"the answer of {backend.Name} is {exception.Message}", exception);
        }
        catch (Exception exception) when (IsTransportTrouble(exception))
        {
            cancellationToken.ThrowIfCancellationRequested();
            throw new ForgeException(
                ForgeFailure.Unavailable, $"the answer of {backend.Name} was cut short", exception);
        }
    }

    /// <summary>What a status other than 200 means, and what the server says of it.</summary>
    private async Task<ForgeException> ReadFailureAsync(
        ForgeBackend backend, HttpResponseMessage response, CancellationToken cancellationToken)
    {
        string? text = null;
        var outOfMemory = false;
        Exception? cause = null;
        try
        {
            // The text is worth a moment, not the whole time that a picture may take.
            using var deadline = new CancellationTokenSource(ShortDeadline, time);
            using var linked = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, deadline.Token);
            using var body = await ForgeBody.ReadAsync(response.Content, MaxErrorBody, linked.Token);
            text = ForgeErrorText.Of(body.Bytes);
            outOfMemory = ForgeErrorText.IsOutOfMemory(body.Bytes.Span);
        }
        catch (Exception exception) when (IsTransportTrouble(exception) || exception is ForgeBodyTooLongException)
        {
            cancellationToken.ThrowIfCancellationRequested();
            cause = exception;
        }

        var failure = FailureOf(response.StatusCode, text, outOfMemory);
        return new ForgeException(failure, text ?? DescribeStatus(backend, response), cause);
    }

    private static ForgeFailure FailureOf(HttpStatusCode status, string? text, bool outOfMemory) => status switch
    {
        HttpStatusCode.BadGateway or HttpStatusCode.ServiceUnavailable or HttpStatusCode.GatewayTimeout =>
            ForgeFailure.Unavailable,

        // FastAPI says just "Not Found" for a path that is not there (yet); forge-classic answers 404 with a reason of its
        // own for a sampler that it does not know.
        HttpStatusCode.NotFound => NamesASetting(text) ? ForgeFailure.Rejected : ForgeFailure.Unavailable,

        // Redirects are not followed: a POST would become a GET. The address in the settings is at fault.
        >= HttpStatusCode.Ambiguous and < HttpStatusCode.BadRequest => ForgeFailure.Unavailable,
        >= HttpStatusCode.BadRequest and < HttpStatusCode.InternalServerError => ForgeFailure.Rejected,
        >= HttpStatusCode.InternalServerError => outOfMemory ? ForgeFailure.OutOfMemory : ForgeFailure.Failed,
        _ => ForgeFailure.BadImage,
    };

    private static bool NamesASetting(string? text) =>
        text is not null
        && (text.Contains("sampler", StringComparison.OrdinalIgnoreCase) || text.Contains("scheduler", StringComparison.OrdinalIgnoreCase));

    private static string DescribeStatus(ForgeBackend backend, HttpResponseMessage response)
    {
        var status = FormattableString.Invariant($"{backend.Name} answered {(int)response.StatusCode} {response.ReasonPhrase}").TrimEnd();
        return response.Headers.Location is { } location
            ? $"{status} to {location}; set Forge:Backends:n:Url to the final address"
            : status;
    }

    /// <summary>What the transport throws when an exchange breaks; <see cref="InvalidDataException"/> is a gzip body cut short.</summary>
    private static bool IsTransportTrouble(Exception exception) =>
        exception is HttpRequestException or IOException or InvalidDataException or SocketException or OperationCanceledException;

    private static string DescribeTransport(Exception exception)
    {
        for (var cause = exception; cause is not null; cause = cause.InnerException)
        {
            switch (cause)
            {
                case SocketException { SocketErrorCode: SocketError.ConnectionRefused }:
                    return "connection refused";
                case SocketException { SocketErrorCode: SocketError.ConnectionReset }:
                    return "connection reset";
                case SocketException { SocketErrorCode: SocketError.HostNotFound or SocketError.TryAgain or SocketError.NoData }:
                    return "its host name is not known";
                case SocketException or TimeoutException:
                    return cause.Message;
            }
        }

        return exception is HttpRequestException { HttpRequestError: HttpRequestError.ResponseEnded }
            ? "it closed the connection without an answer"
            : exception.Message;
    }

    /// <summary>Runs within a deadline of its own; missing it is the server's fault.</summary>
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
                ForgeFailure.Unavailable,
                FormattableString.Invariant($"{backend.Name} did not answer within {limit.TotalSeconds:0.#} s"),
                exception);
        }
    }

    private static HttpRequestMessage Get(ForgeBackend backend, string path) => Request(HttpMethod.Get, backend, path);

    private static HttpRequestMessage Post(ForgeBackend backend, string path, byte[] json)
    {
        var message = Request(HttpMethod.Post, backend, path);

        // An array and not JsonContent: that one is sent in chunks, which small servers do not read.
        message.Content = new ByteArrayContent(json) { Headers = { ContentType = new MediaTypeHeaderValue("application/json") } };
        return message;
    }

    private static HttpRequestMessage Request(HttpMethod method, ForgeBackend backend, string path)
    {
        // A path in the base address is kept: http://host/simulator/ + sdapi/v1/txt2img.
        var address = backend.Url.GetLeftPart(UriPartial.Path);
        var message = new HttpRequestMessage(method, new Uri(address.EndsWith('/') ? address + path : $"{address}/{path}"));
        message.Headers.Accept.ParseAdd("application/json");
        if (backend.Username is not null)
        {
            var credentials = Encoding.UTF8.GetBytes($"{backend.Username}:{backend.Password}");
            message.Headers.Authorization = new AuthenticationHeaderValue("Basic", Convert.ToBase64String(credentials));
        }

        return message;
    }

    private bool IsRemembered(long? since) => since is { } timestamp && time.GetElapsedTime(timestamp) < AbsenceIsRemembered;

    private Memory MemoryOf(ForgeBackend backend) => _memories.GetOrAdd(backend, _ => new Memory());

    /// <summary>What was learnt of one server. Races only cost a question more.</summary>
    private sealed class Memory
    {
        public long? NoTaskProgressSince { get; set; }

        public long? NoGlobalProgressSince { get; set; }

        public string? WhyUnhealthy { get; set; }

        public SeenPreview? SeenPreview { get; set; }
    }

    private sealed record SeenPreview(string TaskId, long Id);
}
