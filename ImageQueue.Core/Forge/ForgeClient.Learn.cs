using System.Net;

namespace ImageQueue.Core.Forge;

/// <summary>Learns what a backend can do, by GETs only: KoboldCpp holds a POST to an unknown path until it is idle.</summary>
internal sealed partial class ForgeClient
{
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
}
