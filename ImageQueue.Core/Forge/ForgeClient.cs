using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Forge;

/// <summary>
/// Speaks Forge's HTTP API and turns all of its trouble into <see cref="ForgeException"/>. Holds nothing but a memory of what
/// each server can do, and which preview it has sent last.
/// </summary>
/// <remarks>
/// Source: Forge's <c>modules/api/api.py</c> (endpoints, error bodies), <c>modules/progress.py</c> (progress). A cancelled
/// token always surfaces as <see cref="OperationCanceledException"/>. <c>ForgeClient.Learn.cs</c> finds out what a server can do,
/// <see cref="ForgeFailures"/> says what its answers mean, <see cref="ForgeConnections"/> holds the connections.
/// </remarks>
internal sealed partial class ForgeClient(ForgeConnections connections, TimeProvider time, ILogger<ForgeClient> logger) : IForgeClient
{
    /// <summary>Longest wait for the small answers: progress, interrupt, probe, and the text of an error.</summary>
    private static readonly TimeSpan ShortDeadline = TimeSpan.FromSeconds(5);

    /// <summary>Longest wait for a word on whether an image that is there was interrupted: nobody should wait long for it.</summary>
    private static readonly TimeSpan AfterwordDeadline = TimeSpan.FromSeconds(2);

    private const int MaxImageBody = 256 * 1024 * 1024;
    private const int MaxSmallBody = 16 * 1024 * 1024;
    private const int MaxErrorBody = 64 * 1024;

    private readonly ConcurrentDictionary<ForgeBackend, Memory> _memories = new();

    /// <inheritdoc/>
    public async Task<ForgeImage> GenerateAsync(
        ForgeBackend backend, string taskId, GenerationRequest request, Func<Task> answered, CancellationToken cancellationToken)
    {
        var capabilities = MemoryOf(backend).Capabilities ?? ForgeCapabilities.Unknown;
        using var message = Post(backend, "sdapi/v1/txt2img", ForgeMessages.Txt2Img(taskId, ForgeRequests.Suit(request, capabilities), capabilities, backend.Shared));
        var started = time.GetTimestamp();
        using var response = await SendAsync(backend, message, cancellationToken, isGeneration: true);
        if (response.StatusCode != HttpStatusCode.OK)
            throw await ReadFailureAsync(backend, response, cancellationToken, time.GetElapsedTime(started));

        // Asked while the image is on its way. The flag stays until the next job begins, so that one is not to begin before it is known.
        using var noLonger = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var afterword = AskAfterwardsAsync(backend, capabilities, noLonger.Token);
        try
        {
            var reading = ReadImageBodyAsync(response, cancellationToken);
            var wasInterrupted = await afterword is { WasInterrupted: true };
            // A server answers when it is done: nothing of the answer's way to us needs it any more.
            var said = wasInterrupted ? Task.CompletedTask : answered();
            using var body = await reading;
            await said;
            if (wasInterrupted)
            {
                throw new ForgeException(ForgeFailure.Interrupted, $"somebody interrupted it at {backend.Name}");
            }

            var image = ForgeMessages.ReadImage(body.Bytes);
            ForgeRequests.Compare(request, image.Info, capabilities);
            return image;
        }
        finally
        {
            await noLonger.CancelAsync();
            await afterword;
        }
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
    /// <remarks>
    /// Between the question and the interrupt our task can still end and another begin; Forge has no way to close that gap.
    /// </remarks>
    public Task<bool> InterruptAsync(ForgeBackend backend, string taskId, CancellationToken cancellationToken) =>
        WithinAsync(ShortDeadline, backend, cancellationToken, async token =>
        {
            if (await CapabilitiesOfAsync(backend, token) is { Interrupt: false } || !await WouldHitAsync(backend, taskId, token))
                return false;

            using var message = Post(backend, "sdapi/v1/interrupt", []);
            using var response = await SendAsync(backend, message, token);
            if (response.IsSuccessStatusCode)
                return true;
            if (response.StatusCode is not (HttpStatusCode.NotFound or HttpStatusCode.MethodNotAllowed))
                throw await ReadFailureAsync(backend, response, token);
            Forget(backend, capabilities => capabilities with { Interrupt = false });
            return false;
        });

    /// <inheritdoc/>
    /// <remarks>
    /// Asks <c>GET /sdapi/v1/samplers</c>: every known server has it, it lists constants (sd-models reads a directory, options
    /// builds the whole settings page), it is behind <c>--api-auth</c>, and it is there only when txt2img is.
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
                if (response.StatusCode != HttpStatusCode.OK)
                    return (await ReadFailureAsync(backend, response, token)).Reason;
                using var body = await ReadSmallBodyAsync(backend, response, token);
                return ForgeMessages.CountItems(body.Bytes) switch
                {
                    null => "its answer is not that of Forge's API; is the address right?",
                    0 => "it has no sampler: no image model is loaded",
                    _ => null,
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

    /// <summary>Whether an interrupt would hit this task, as far as the server can tell.</summary>
    private async Task<bool> WouldHitAsync(ForgeBackend backend, string taskId, CancellationToken cancellationToken)
    {
        if (await GetTaskProgressAsync(backend, taskId, withPreview: false, cancellationToken) is { } progress)
            return progress.State == ForgeTaskState.Active;

        // Without task ids it hits whatever runs, and that is ours only where nobody else comes: one request is in flight.
        return !backend.Shared
            && MemoryOf(backend).Capabilities is { Interrupt: true }
            && await GetStateAsync(backend, cancellationToken) is not { IsIdle: true };
    }

    /// <summary>A courtesy of the server's: without it the image counts as whole.</summary>
    private async Task<ForgeServerState?> AskAfterwardsAsync(ForgeBackend backend, ForgeCapabilities capabilities, CancellationToken cancellationToken)
    {
        if (capabilities.GlobalProgress != true)
            return null;
        try
        {
            return await WithinAsync(AfterwordDeadline, backend, cancellationToken, token => GetStateAsync(backend, token));
        }
        catch (Exception exception) when (exception is ForgeException or OperationCanceledException)
        {
            logger.LogDebug(exception, "{Backend} does not say whether an image was interrupted.", backend.Name);
            return null;
        }
    }

    /// <summary>Progress of the very task; null where the server has no such endpoint.</summary>
    private async Task<ForgeProgress?> GetTaskProgressAsync(
        ForgeBackend backend, string taskId, bool withPreview, CancellationToken cancellationToken)
    {
        if (await CapabilitiesOfAsync(backend, cancellationToken) is { TaskIds: false })
            return null;

        // Forge encodes and sends a preview only when its number is another than the asker's (progress.py, progressapi).
        var memory = MemoryOf(backend);
        var seen = memory.SeenPreview;
        using var message = Post(
            backend, "internal/progress", ForgeMessages.InternalProgress(taskId, withPreview, withPreview && seen?.TaskId == taskId ? seen.Id : -1));
        var progress = await AskAsync(backend, message, ForgeMessages.ReadInternalProgress, cancellationToken);
        if (progress is null)
        {
            Forget(backend, capabilities => capabilities with { TaskIds = false });
        }
        else if (progress.PreviewId is { } preview)
        {
            // One request is in flight per server, so this is one memory for each.
            memory.SeenPreview = new SeenPreview(taskId, preview);
        }

        return progress;
    }

    /// <summary>Progress of whatever the server works on, never with its preview: that may be another person's image.</summary>
    private async Task<ForgeProgress?> GetGlobalProgressAsync(ForgeBackend backend, CancellationToken cancellationToken) =>
        await GetStateAsync(backend, cancellationToken) is not { } state ? null
        : state.IsIdle ? new ForgeProgress(ForgeTaskState.Unknown) { Source = ForgeProgressSource.Server }
        : new ForgeProgress(ForgeTaskState.Active, state.Fraction) { Source = ForgeProgressSource.Server };

    private async Task<ForgeServerState?> GetStateAsync(ForgeBackend backend, CancellationToken cancellationToken)
    {
        if (await CapabilitiesOfAsync(backend, cancellationToken) is { GlobalProgress: false })
            return null;
        using var message = Get(backend, GlobalProgressPath);
        var state = await AskAsync(backend, message, ForgeMessages.ReadServerState, cancellationToken);
        if (state is null)
            Forget(backend, capabilities => capabilities with { GlobalProgress = false });
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
        if (response.StatusCode is HttpStatusCode.NotFound or HttpStatusCode.MethodNotAllowed)
            return null;
        if (response.StatusCode != HttpStatusCode.OK)
        {
            throw await ReadFailureAsync(backend, response, cancellationToken);
        }

        using var body = await ReadSmallBodyAsync(backend, response, cancellationToken);
        return read(body.Bytes);
    }

    /// <summary>Sends, and returns once the status is known.</summary>
    /// <exception cref="ForgeException"><see cref="ForgeFailure.Unavailable"/> or <see cref="ForgeFailure.Disrupted"/>: no status came.</exception>
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

    private static async Task<ForgeBody> ReadImageBodyAsync(HttpResponseMessage response, CancellationToken cancellationToken)
    {
        try
        {
            return await ForgeBody.ReadAsync(response.Content, MaxImageBody, cancellationToken);
        }
        catch (ForgeBodyTooLongException exception)
        {
            throw new ForgeException(ForgeFailure.BadImage, $"the answer is {exception.Message}", exception);
        }
        catch (Exception exception) when (ForgeFailures.IsTransportTrouble(exception))
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
        catch (Exception exception) when (ForgeFailures.IsTransportTrouble(exception))
        {
            cancellationToken.ThrowIfCancellationRequested();
            throw new ForgeException(
                ForgeFailure.Unavailable, $"the answer of {backend.Name} was cut short", exception);
        }
    }

    /// <summary>What a status other than 200 means, and what the server says of it.</summary>
    /// <param name="elapsed">Since an image was requested; null for a small call.</param>
    private async Task<ForgeException> ReadFailureAsync(
        ForgeBackend backend, HttpResponseMessage response, CancellationToken cancellationToken, TimeSpan? elapsed = null)
    {
        try
        {
            // The text is worth a moment, not the whole time that an image may take.
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
        var message = new HttpRequestMessage(method, new Uri($"{ForgeAddress.Of(backend.Url)}/{path}"));
        message.Headers.Accept.ParseAdd("application/json");
        if (backend.Username is not null)
        {
            var credentials = Encoding.UTF8.GetBytes($"{backend.Username}:{backend.Password}");
            message.Headers.Authorization = new AuthenticationHeaderValue("Basic", Convert.ToBase64String(credentials));
        }

        return message;
    }

    private Memory MemoryOf(ForgeBackend backend) => _memories.GetOrAdd(backend, _ => new Memory());

    /// <summary>A server that restarted with other flags lacks what it had: it is not asked for that again until it comes up anew.</summary>
    private void Forget(ForgeBackend backend, Func<ForgeCapabilities, ForgeCapabilities> without)
    {
        var memory = MemoryOf(backend);
        memory.Capabilities = without(memory.Capabilities ?? ForgeCapabilities.Unknown);
    }

    /// <summary>What was learnt of one server. Races only cost a question more.</summary>
    private sealed class Memory
    {
        public ForgeCapabilities? Capabilities { get; set; }

        public string? WhyUnhealthy { get; set; }

        public SeenPreview? SeenPreview { get; set; }
    }

    private sealed record SeenPreview(string TaskId, long Id);
}
