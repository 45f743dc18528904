using System.Net;

namespace ImageQueue.Core.Forge;

/// <summary>Reads progress, and interrupts.</summary>
internal sealed partial class ForgeClient
{
    public Task<ForgeProgress> GetProgressAsync(
        ForgeBackend backend, string taskId, bool withPreview, CancellationToken cancellationToken) =>
        WithinAsync(ShortDeadline, backend, cancellationToken, async token =>
        {
            if (await GetTaskProgressAsync(backend, taskId, withPreview, token) is { } progress)
            {
                await WatchForInterruptAsync(backend, taskId, progress, token);
                return progress;
            }

            var global = await GetGlobalProgressAsync(backend, taskId, token)
                ?? new ForgeProgress(ForgeTaskState.Unknown) { Source = ForgeProgressSource.None };
            return MemoryOf(backend).Upscale == taskId ? global with { Fraction = null } : global; // An upscale has no steps.
        });

    public Task<ForgeServerState?> GetServerStateAsync(ForgeBackend backend, CancellationToken cancellationToken) =>
        WithinAsync(ShortDeadline, backend, cancellationToken, token => GetStateAsync(backend, token));

    /// <remarks>Between the question and the interrupt our task can end and another start; Forge has no way to close that gap.</remarks>
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

    /// <summary>Whether an interrupt would hit this task, as far as the backend can tell.</summary>
    private async Task<bool> WouldHitAsync(ForgeBackend backend, string taskId, CancellationToken cancellationToken)
    {
        if (await GetTaskProgressAsync(backend, taskId, withPreview: false, cancellationToken) is { } progress)
            return progress.State == ForgeTaskState.Active;

        // Without task ids it hits whatever runs, which is ours only where no other client sends requests.
        return !backend.Shared
            && MemoryOf(backend).Capabilities is { Interrupt: true }
            && await GetStateAsync(backend, cancellationToken) is not { IsIdle: true };
    }

    /// <summary>Progress of the task by its id; null where the backend has no such endpoint.</summary>
    private async Task<ForgeProgress?> GetTaskProgressAsync(
        ForgeBackend backend, string taskId, bool withPreview, CancellationToken cancellationToken)
    {
        if (await CapabilitiesOfAsync(backend, cancellationToken) is { TaskIds: false } || MemoryOf(backend).Upscale == taskId)
            return null;

        // Forge encodes and sends a preview only when its number is not the caller's (progress.py, progressapi).
        var memory = MemoryOf(backend);
        var seen = memory.SeenPreview;
        using var message = Post(
            backend, "internal/progress", ForgeMessages.InternalProgress(
                taskId, withPreview, withPreview && seen?.TaskId == taskId ? seen.Value.Id : -1));
        var progress = await AskAsync(backend, message, ForgeAnswers.ReadInternalProgress, cancellationToken);
        if (progress is null)
        {
            Forget(backend, capabilities => capabilities with { TaskIds = false });
        }
        else if (progress.PreviewId is { } preview)
        {
            // One request is in flight per backend, so one number is enough.
            memory.SeenPreview = (taskId, preview);
        }

        return progress;
    }

    /// <summary>Progress of whatever the backend generates, never with its preview: that may be another client's image.</summary>
    private async Task<ForgeProgress?> GetGlobalProgressAsync(ForgeBackend backend, string taskId, CancellationToken cancellationToken)
    {
        if (await GetStateAsync(backend, cancellationToken) is not { } state)
            return null;
        if (state.IsIdle)
            return new ForgeProgress(ForgeTaskState.Unknown) { Source = ForgeProgressSource.Server };

        // Ours alone, so what is generated and was interrupted is the task; on a shared backend it may be another client's.
        if (state.WasInterrupted && !backend.Shared)
            MemoryOf(backend).InterruptedTask = taskId;
        return new ForgeProgress(ForgeTaskState.Active, state.Fraction) { Source = ForgeProgressSource.Server };
    }

    private async Task<ForgeServerState?> GetStateAsync(ForgeBackend backend, CancellationToken cancellationToken)
    {
        if (await CapabilitiesOfAsync(backend, cancellationToken) is { GlobalProgress: false })
            return null;
        using var message = Get(backend, ForgeKinds.Progress);
        var state = await AskAsync(backend, message, ForgeAnswers.ReadServerState, cancellationToken);
        if (state is null)
            Forget(backend, capabilities => capabilities with { GlobalProgress = false });
        return state;
    }

    /// <summary>
    /// Remembers that the task was interrupted while it is active: the flag is cleared when the next job starts (Forge's
    /// <c>shared_state.py</c>, begin), which can be before our answer arrives.
    /// </summary>
    private async Task WatchForInterruptAsync(
        ForgeBackend backend, string taskId, ForgeProgress progress, CancellationToken cancellationToken)
    {
        var memory = MemoryOf(backend);
        if (progress.State != ForgeTaskState.Active
            || memory is not { Capabilities.GlobalProgress: true }
            || memory.InterruptedTask == taskId)
        {
            return;
        }

        // Active before and after, so the state between was this task's.
        if (await TryGetStateAsync(backend, memory.Capabilities, cancellationToken) is { WasInterrupted: true }
            && await GetTaskProgressAsync(backend, taskId, withPreview: false, cancellationToken) is { State: ForgeTaskState.Active })
        {
            memory.InterruptedTask = taskId;
        }
    }
}
