using System.Net;

namespace ImageQueue.Core.Forge;

/// <summary>Learns what a backend can do, by GETs only: KoboldCpp holds a POST to an unknown path until it is idle.</summary>
internal sealed partial class ForgeClient
{
    /// <inheritdoc/>
    public async Task<ForgeCapabilities> LearnAsync(ForgeBackend backend, CancellationToken cancellationToken)
    {
        var document = FindAsync(backend, "openapi.json", cancellationToken);
        var tasks = FindAsync(backend, "internal/pending-tasks", cancellationToken);
        var progress = FindAsync(backend, GlobalProgressPath, cancellationToken);
        var options = FindAsync(backend, "sdapi/v1/options", cancellationToken);
        var models = FindAsync(backend, "sdapi/v1/sd-models", cancellationToken);
        var samplers = FindAsync(backend, "sdapi/v1/samplers", cancellationToken);
        var schedulers = FindAsync(backend, "sdapi/v1/schedulers", cancellationToken);
        var lists = Task.WhenAll(ForgeKinds.ListPaths.Select(path => FindAsync(backend, $"sdapi/v1/{path}", cancellationToken)));
        Found[] all = await Task.WhenAll(document, tasks, progress, options, models, samplers, schedulers);
        var listed = await lists;
        try
        {
            if (all.All(one => one.Trouble is not null))
                throw all[0].Trouble!; // Just checked.
            var kobold = ForgeKinds.IsFamilyOfSdCpp((await models).Body)
                ? await FindAsync(backend, "api/extra/version", cancellationToken)
                : default;
            using (kobold.Body)
            {
                var capabilities = ForgeKinds.Describe(
                    new ForgeKinds.Answers(
                        (await document).Body, (await options).Body, (await models).Body, (await samplers).Body, (await schedulers).Body,
                        kobold.Body)
                    {
                        HasTasks = (await tasks).IsThere,
                        HasProgress = (await progress).IsThere,
                        HasSchedulers = (await schedulers).IsThere,
                        Lists = ForgeKinds.ListPaths.Zip(listed).ToDictionary(list => list.First, list => list.Second.Body),
                    });
                MemoryOf(backend).Capabilities = capabilities;
                logger.LogDebug(
                    "Backend {Backend} is {Kind}: task ids {TaskIds}, global progress {GlobalProgress}, interrupt {Interrupt}, "
                        + "{Models} models, {Samplers} samplers.",
                    backend.Name,
                    capabilities.Kind,
                    capabilities.TaskIds,
                    capabilities.GlobalProgress,
                    capabilities.Interrupt,
                    capabilities.Checkpoints.Count,
                    capabilities.Samplers.Names.Count);
                return capabilities;
            }
        }
        finally
        {
            foreach (var one in all.Concat(listed))
                one.Body?.Dispose();
        }
    }

    /// <summary>What is known of a backend; learned when nothing is.</summary>
    private async Task<ForgeCapabilities> CapabilitiesOfAsync(ForgeBackend backend, CancellationToken cancellationToken) =>
        MemoryOf(backend).Capabilities ?? await LearnAsync(backend, cancellationToken);

    /// <summary>A JSON answer; that the endpoint is not there; or why that is not known.</summary>
    private async Task<Found> FindAsync(ForgeBackend backend, string path, CancellationToken cancellationToken)
    {
        try
        {
            return await WithinAsync(ShortDeadline, backend, cancellationToken, async token =>
            {
                using var message = Get(backend, path);
                using var response = await SendAsync(backend, message, token);
                if (response.StatusCode is HttpStatusCode.NotFound or HttpStatusCode.MethodNotAllowed)
                    return new Found(IsThere: false);
                if (response.StatusCode != HttpStatusCode.OK)
                    return new Found(Trouble: await ReadFailureAsync(backend, response, token));

                // Copied out of rented memory: the document reads from it later.
                using var bytes = await ReadSmallBodyAsync(backend, response, token);
                var body = LenientJson.TryParse(bytes.Bytes.ToArray());
                return new Found(IsThere: body is not null, Body: body);
            });
        }
        catch (ForgeException exception)
        {
            return new Found(Trouble: exception);
        }
    }

    /// <param name="IsThere">Null when not known.</param>
    /// <param name="Trouble">Why it is not known.</param>
    private readonly record struct Found(bool? IsThere = null, JsonDocument? Body = null, ForgeException? Trouble = null);
}
