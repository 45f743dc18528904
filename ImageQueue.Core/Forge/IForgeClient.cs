namespace ImageQueue.Core.Forge;

/// <summary>The seam to Forge: turns its HTTP API into typed outcomes. <see cref="ForgeException"/> says what can go wrong.</summary>
/// <remarks>Source of the endpoints: Forge's <c>modules/api/api.py</c> and <c>modules/progress.py</c>.</remarks>
public interface IForgeClient
{
    /// <summary>
    /// <c>POST /sdapi/v1/txt2img</c> with <paramref name="taskId"/> as <c>force_task_id</c>; returns when the backend answers.
    /// Has no deadline of its own: cancel the token. Cancelling only stops waiting; Forge generates until it is interrupted.
    /// </summary>
    /// <param name="answered">
    /// Called when the backend has answered with an image and is free for its next request; the image's bytes are still being
    /// received. Awaited before the image is decoded, which costs a processor for a while.
    /// </param>
    /// <exception cref="ForgeException">The backend could not be reached, refused, failed, or answered without an image.</exception>
    Task<ForgeImage> GenerateAsync(
        ForgeBackend backend, string taskId, GenerationRequest request, Func<Task> answered, CancellationToken cancellationToken);

    /// <summary>
    /// The task's progress by its id; where the backend knows no ids, its global progress; else <see cref="ForgeTaskState.Unknown"/>.
    /// <see cref="ForgeProgress.Source"/> says which. Each live preview is returned once.
    /// </summary>
    /// <exception cref="ForgeException">The backend could not be reached or did not answer in time.</exception>
    Task<ForgeProgress> GetProgressAsync(ForgeBackend backend, string taskId, bool withPreview, CancellationToken cancellationToken);

    /// <summary>The backend's global state (<c>/sdapi/v1/progress</c>); null where it has none.</summary>
    /// <exception cref="ForgeException">The backend could not be reached or did not answer in time.</exception>
    Task<ForgeServerState?> GetServerStateAsync(ForgeBackend backend, CancellationToken cancellationToken);

    /// <summary>
    /// <c>POST /sdapi/v1/interrupt</c>, which is global, so only while it would hit <paramref name="taskId"/>: while that task is
    /// active; on backends without task ids while they generate and only ImageQueue uses them (<see cref="ForgeBackend.Shared"/>).
    /// </summary>
    /// <returns>Whether the interrupt was sent.</returns>
    /// <exception cref="ForgeException">The backend could not be reached or did not answer in time.</exception>
    Task<bool> InterruptAsync(ForgeBackend backend, string taskId, CancellationToken cancellationToken);

    /// <summary>Learns, by GETs only, the backend's kind and what it can do.</summary>
    /// <exception cref="ForgeException">The backend could not be reached or did not answer in time.</exception>
    Task<ForgeCapabilities> LearnAsync(ForgeBackend backend, CancellationToken cancellationToken);

    /// <summary>Asks whether the image API answers (the web server is up earlier); never throws for an unhealthy backend.</summary>
    /// <returns>Why it does not answer as it should, for operators; null when it does.</returns>
    Task<string?> WhyUnhealthyAsync(ForgeBackend backend, CancellationToken cancellationToken);
}
