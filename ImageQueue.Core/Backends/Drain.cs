using ImageQueue.Core.Forge;

namespace ImageQueue.Core.Backends;

/// <summary>What a backend still generates though no request needs it any more.</summary>
/// <param name="why">For operators, and for clients in <c>/api/queue</c>.</param>
internal sealed class Drain(string taskId, string why, Task? generating = null, CancellationTokenSource? call = null)
{
    public const string OfOtherHolder = "another process may have left a task there";

    public string TaskId { get; } = taskId;

    public string Why { get; } = why;

    public DateTimeOffset BeganAt { get; set; }

    /// <summary>The call that asked for it; null when another process did.</summary>
    public Task? Generating { get; } = generating;

    public long Since { get; set; }

    public long? ActiveSince { get; set; }

    public long? InterruptedAt { get; set; }

    /// <summary>Whether the server has said that it knows the task.</summary>
    public bool WasSeen { get; set; }

    /// <summary>Looks in a row that found no work.</summary>
    public int QuietLooks { get; set; }

    public bool WasServerAway { get; set; }

    /// <summary>Whether no interrupt ends it.</summary>
    public bool IsStuck { get; set; }

    public string StuckReason => $"it does not let go of {TaskId}, which was interrupted";

    /// <summary>Whether the call itself has ended with an image or an error, and not with a broken connection.</summary>
    public bool IsAnswered => Generating switch
    {
        { IsCompletedSuccessfully: true } => true,
        { IsFaulted: true, Exception.InnerException: ForgeException { MayStillBeRunning: false } } => true,
        _ => false,
    };

    /// <summary>Ends the call and observes it.</summary>
    public async Task CloseAsync(ILogger logger)
    {
        // Not on this thread, which may hold the gate.
        _ = call?.CancelAsync();
        if (Generating is null)
            return;
        await Generating.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (Generating.Exception?.InnerException is { } exception)
            logger.LogDebug(exception, "Task {TaskId} ended after its request had left it.", TaskId);
        call?.Dispose();
    }
}

/// <summary>
/// Finds out whether a drained task is over. Forge does not notice that a client went away, so it is polled, and interrupted only
/// while that very task is active: its interrupt hits whatever runs.
/// </summary>
internal sealed class Drainer(IForgeClient client, ForgeOptions options, TimeProvider time, ILogger logger)
{
    /// <summary>A first interrupt is lost when it comes while the model loads.</summary>
    private static readonly TimeSpan InterruptInterval = TimeSpan.FromSeconds(5);

    /// <summary>
    /// How many times <c>Forge:Timeout</c> a server is waited for that can be neither asked nor interrupted, while its answer may come.
    /// </summary>
    private const int SilentTimeouts = 5;

    /// <exception cref="ForgeException">The server cannot be asked now.</exception>
    public async Task<bool> IsOverAsync(ForgeBackend server, Drain drain, bool mayInterrupt, CancellationToken stop)
    {
        if (drain.IsAnswered)
            return true;
        var progress = await client.GetProgressAsync(server, drain.TaskId, withPreview: false, stop);
        var isLate = time.GetElapsedTime(drain.Since) >= options.Timeout;
        switch (progress.State)
        {
            case ForgeTaskState.Completed:
                return true;

            case ForgeTaskState.Queued:
                // Another client's image comes first, however long that takes; then ours starts, and is interrupted.
                (drain.WasSeen, drain.QuietLooks, drain.ActiveSince) = (true, 0, null);
                return false;

            case ForgeTaskState.Active:
                drain.WasSeen = true;

                // A task that failed stays active by its name for ever (progress.py: finish_task is not reached).
                if (progress.Source == ForgeProgressSource.Task && await client.GetServerStateAsync(server, stop) is { IsIdle: true })
                    return ++drain.QuietLooks >= 2;
                drain.QuietLooks = 0;
                drain.ActiveSince ??= time.GetTimestamp();
                if (mayInterrupt)
                    await InterruptAsync(server, drain, stop);

                // The whole server's state does not say whose image it is.
                if (progress.Source == ForgeProgressSource.Server && server.Shared)
                    return isLate;
                drain.IsStuck = time.GetElapsedTime(drain.ActiveSince.Value) >= options.Timeout;
                return false;

            case ForgeTaskState.Unknown when progress.Source == ForgeProgressSource.None:
                // It does not say. A process that was away since then has forgotten it; else only the answer tells, and the
                // call stays open for it: an image that takes a few times as long as it may is still being generated.
                if (mayInterrupt)
                    await InterruptAsync(server, drain, stop);
                var patience = drain.Generating is { IsCompleted: false } ? SilentTimeouts * options.Timeout : options.Timeout;
                return time.GetElapsedTime(drain.Since) >= patience || drain.WasServerAway;

            default:
                // Neither queued nor active: over, unless it has not arrived there yet. A new process does not know it.
                var looks = progress.Source == ForgeProgressSource.Task && (drain.WasSeen || drain.WasServerAway) ? 1
                    : drain.Generating is { IsCompleted: false } && !drain.WasSeen ? 4
                    : 2;
                return ++drain.QuietLooks >= looks;
        }
    }

    public async Task InterruptAsync(ForgeBackend server, Drain drain, CancellationToken stop)
    {
        if (drain.InterruptedAt is { } at && time.GetElapsedTime(at) < InterruptInterval)
            return;
        if (!await client.InterruptAsync(server, drain.TaskId, stop))
            return;
        if (drain.InterruptedAt is null)
            logger.LogInformation("Backend {Backend} was interrupted: no request needs task {TaskId} any more.", server.Name, drain.TaskId);
        drain.InterruptedAt = time.GetTimestamp();
    }
}
