using System.Collections.Concurrent;
using System.Net;

namespace ImageQueue.Core.Forge;

/// <summary>Speaks Forge's HTTP API and turns all of its errors into <see cref="ForgeException"/>.</summary>
/// <remarks>
/// Source: Forge's <c>modules/api/api.py</c> (endpoints, error bodies), <c>modules/progress.py</c> (progress). A cancelled token
/// always surfaces as <see cref="OperationCanceledException"/>. <see cref="ForgeFailures"/> says what error answers mean,
/// <see cref="ForgeConnections"/> holds the connections.
/// </remarks>
internal sealed partial class ForgeClient(ForgeConnections connections, TimeProvider time, ILogger<ForgeClient> logger) : IForgeClient
{
    /// <summary>For the small calls: progress, interrupt, probe, and the text of an error.</summary>
    private static readonly TimeSpan ShortDeadline = TimeSpan.FromSeconds(5);

    /// <summary>For the question whether an image was interrupted, which must not delay it.</summary>
    private static readonly TimeSpan StateDeadline = TimeSpan.FromSeconds(2);

    private readonly ConcurrentDictionary<ForgeBackend, Memory> _memories = new();

    public async Task<ForgeImage> GenerateAsync(
        ForgeBackend backend, string taskId, GenerationRequest request, Func<Task> answered, CancellationToken cancellationToken)
    {
        var capabilities = MemoryOf(backend).Capabilities ?? ForgeCapabilities.Unknown;
        var isUpscale = request.Task == ForgeTask.Upscale;
        MemoryOf(backend).Upscale = isUpscale ? taskId : null;
        var sent = isUpscale ? request : ForgeRequests.Fit(request, capabilities);
        using var message = Generation(backend, taskId, sent, capabilities);
        var started = time.GetTimestamp();
        using var response = await SendAsync(backend, message, cancellationToken, isGeneration: true);
        if (response.StatusCode is HttpStatusCode.NotFound or HttpStatusCode.MethodNotAllowed && capabilities.Can(request.Task) is null)
            throw new ForgeException(ForgeFailure.Rejected, $"{backend.Name} has no {message.RequestUri?.Segments[^1]}");
        if (response.StatusCode != HttpStatusCode.OK)
            throw await ReadFailureAsync(backend, response, cancellationToken, time.GetElapsedTime(started));

        // Requested while the image is being received: the flag lasts until the next job starts, so that must not start before.
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var afterwards = isUpscale // It cannot be interrupted, so the flag is another job's.
            ? Task.FromResult<ForgeServerState?>(null)
            : TryGetStateAsync(backend, capabilities, ended.Token);
        try
        {
            var reading = ReadImageBodyAsync(response, cancellationToken);
            var wasInterrupted = await afterwards is { WasInterrupted: true } || MemoryOf(backend).InterruptedTask == taskId;

            // Forge answers when it is done: receiving the rest of the answer keeps it from nothing.
            var free = wasInterrupted ? Task.CompletedTask : answered();
            using var body = await reading;
            await free;
            if (wasInterrupted)
                throw new ForgeException(ForgeFailure.Interrupted, $"another client interrupted it at {backend.Name}");

            if (isUpscale)
                return ForgeAnswers.ReadUpscaled(body.Bytes) with { Upscaler = capabilities.Lists.Upscaler };
            var image = ForgeAnswers.ReadImage(body.Bytes);
            return image with { ReplacedScheduler = ForgeRequests.Compare(sent, image.Info, capabilities) };
        }
        finally
        {
            await ended.CancelAsync();
            await afterwards;
        }
    }

    /// <remarks>
    /// <c>GET /sdapi/v1/samplers</c>: every known server has it, it lists constants (options builds the whole settings page), it is
    /// behind <c>--api-auth</c>, and it is there only when txt2img is. Then <c>GET /sdapi/v1/sd-models</c>: a Forge whose model
    /// folder is not mounted answers everything else, and fails every request.
    /// </remarks>
    public async Task<string?> WhyUnhealthyAsync(ForgeBackend backend, CancellationToken cancellationToken)
    {
        try
        {
            return await WithinAsync(ShortDeadline, backend, cancellationToken, async token =>
            {
                using var message = Get(backend, "sdapi/v1/samplers");
                using var response = await SendAsync(backend, message, token);
                if (response.StatusCode != HttpStatusCode.OK)
                    return (await ReadFailureAsync(backend, response, token)).Reason;
                using var body = await ReadSmallBodyAsync(backend, response, token);
                return ForgeAnswers.CountItems(body.Bytes) switch
                {
                    null => "its answer is not that of Forge's API; is the address right?",
                    0 => "it has no sampler: no image model is loaded",
                    _ => null,
                };
            }) ?? await FindNoModelAsync(backend, cancellationToken);
        }
        catch (ForgeException exception)
        {
            return exception.Reason;
        }
    }

    /// <remarks>By GETs only: KoboldCpp holds a POST to an unknown path until it is idle.</remarks>
    public async Task<ForgeCapabilities> LearnAsync(ForgeBackend backend, CancellationToken cancellationToken)
    {
        string[] paths = [.. ForgeKinds.Paths, .. ForgeKinds.ListPaths];
        var answers = paths.Zip(await Task.WhenAll(paths.Select(path => FindAsync(backend, path, cancellationToken)))).ToDictionary();
        try
        {
            if (Array.TrueForAll(ForgeKinds.Paths, path => answers[path].Trouble is not null))
                throw answers[ForgeKinds.Paths[0]].Trouble!; // Just checked.
            if (ForgeKinds.IsFamilyOfSdCpp(answers))
                answers[ForgeKinds.KoboldVersion] = await FindAsync(backend, ForgeKinds.KoboldVersion, cancellationToken);
            var capabilities = ForgeKinds.Describe(answers);
            MemoryOf(backend).Capabilities = capabilities;
            logger.LogDebug(
                "Backend {Backend} is {Kind}: task ids {TaskIds}, global progress {GlobalProgress}, interrupt {Interrupt}, "
                    + "{Models} models, {Samplers} samplers.",
                backend.Name, capabilities.Kind, capabilities.TaskIds, capabilities.GlobalProgress, capabilities.Interrupt,
                capabilities.Checkpoints.Count, capabilities.Samplers.Names.Count);
            return capabilities;
        }
        finally
        {
            foreach (var answer in answers.Values)
                answer.Body?.Dispose();
        }
    }

    /// <summary>What is known of a backend; learned when nothing is.</summary>
    private async Task<ForgeCapabilities> CapabilitiesOfAsync(ForgeBackend backend, CancellationToken cancellationToken) =>
        MemoryOf(backend).Capabilities ?? await LearnAsync(backend, cancellationToken);

    /// <summary>A JSON answer; that the endpoint is not there; or why that is not known.</summary>
    private async Task<ForgeKinds.Answer> FindAsync(ForgeBackend backend, string path, CancellationToken cancellationToken)
    {
        try
        {
            return await WithinAsync(ShortDeadline, backend, cancellationToken, async token =>
            {
                using var message = Get(backend, path);
                using var response = await SendAsync(backend, message, token);
                if (response.StatusCode is HttpStatusCode.NotFound or HttpStatusCode.MethodNotAllowed)
                    return new ForgeKinds.Answer(IsThere: false);
                if (response.StatusCode != HttpStatusCode.OK)
                    return new ForgeKinds.Answer(Trouble: await ReadFailureAsync(backend, response, token));

                // Copied out of rented memory: the document reads from it later.
                using var bytes = await ReadSmallBodyAsync(backend, response, token);
                var body = LenientJson.TryParse(bytes.Bytes.ToArray());
                return new ForgeKinds.Answer(IsThere: body is not null, Body: body);
            });
        }
        catch (ForgeException exception)
        {
            return new ForgeKinds.Answer(Trouble: exception);
        }
    }

    private static HttpRequestMessage Generation(
        ForgeBackend backend, string taskId, GenerationRequest request, ForgeCapabilities capabilities) => request.Source switch
        {
            null => Post(backend, "sdapi/v1/txt2img", ForgeMessages.Generate(taskId, request, capabilities, backend.Shared)),
            { Asked.Upscale: { } factor, ImagePath: var image } => Post(
                backend, "sdapi/v1/extra-single-image",
                new ForgeSourceContent(ForgeMessages.Upscale(capabilities.Lists.Upscaler, factor), ("image", image, false))),
            { ImagePath: var image, MaskPath: var mask } => Post(
                backend,
                "sdapi/v1/img2img",
                new ForgeSourceContent(
                    ForgeMessages.Generate(taskId, request, capabilities, backend.Shared),
                    [("init_images", image, true), .. mask is null ? [] : new[] { ("mask", mask, false) }])),
        };

    /// <summary>A backend that does not list its models may have some.</summary>
    private async Task<string?> FindNoModelAsync(ForgeBackend backend, CancellationToken cancellationToken)
    {
        using var models = (await FindAsync(backend, ForgeKinds.Models, cancellationToken)).Body;
        return models?.RootElement is { ValueKind: JsonValueKind.Array } list && list.GetArrayLength() == 0
            ? "it has no model: is its model folder mounted?"
            : null;
    }

    /// <summary>The global state; null when the backend does not say, and the image counts as whole.</summary>
    private async Task<ForgeServerState?> TryGetStateAsync(
        ForgeBackend backend, ForgeCapabilities capabilities, CancellationToken cancellationToken)
    {
        if (capabilities.GlobalProgress != true)
            return null;
        try
        {
            return await WithinAsync(StateDeadline, backend, cancellationToken, token => GetStateAsync(backend, token));
        }
        catch (Exception exception) when (exception is ForgeException or OperationCanceledException)
        {
            logger.LogDebug(exception, "Backend {Backend} does not say whether an image was interrupted.", backend.Name);
            return null;
        }
    }

    private Memory MemoryOf(ForgeBackend backend) => _memories.GetOrAdd(backend, _ => new Memory());

    /// <summary>
    /// A backend that restarted with other flags lacks an endpoint: it is not called again until the backend comes up anew.
    /// </summary>
    private void Forget(ForgeBackend backend, Func<ForgeCapabilities, ForgeCapabilities> without)
    {
        var memory = MemoryOf(backend);
        memory.Capabilities = without(memory.Capabilities ?? ForgeCapabilities.Unknown);
    }

    /// <summary>What is known of one backend. Races only cost one more request.</summary>
    private sealed class Memory
    {
        public ForgeCapabilities? Capabilities { get; set; }

        public (string TaskId, long Id)? SeenPreview { get; set; }

        /// <summary>The last task, when it is an upscale: the backend was not told its id.</summary>
        public string? Upscale { get; set; }

        /// <summary>The last task that was seen interrupted while it was active.</summary>
        public string? InterruptedTask { get; set; }
    }
}
