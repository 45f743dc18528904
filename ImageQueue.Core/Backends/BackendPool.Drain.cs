using ImageQueue.Core.Forge;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Backends;

/// <summary>
/// Draining: the one way in which a backend gets rid of what nobody wants any more, be it cancelled, timed out, lost, stopped, or
/// left by a process that died. Nobody tells Forge that a client went away, so it is asked until the task is over, and
/// interrupted only while that very task is active: its interrupt hits whoever runs.
/// </summary>
public sealed partial class BackendPool
{
    /// <summary>A second interrupt is worth a try when the first did nothing: a model that was being loaded forgets it.</summary>
    private static readonly TimeSpan InterruptAgain = TimeSpan.FromSeconds(5);

    private static readonly TimeSpan LongestPoll = TimeSpan.FromSeconds(0.5);

    /// <summary>How many times <c>Forge:Timeout</c> a server that can be neither asked nor interrupted is waited for while its answer may come.</summary>
    private const int DeafPatience = 5;

    internal void Abandon(Slot slot, Drain drain, bool isFirst)
    {
        lock (_gate)
        {
            if (isFirst && !_disposed)
            {
                slot.Busy = false;
                slot.LastUse = ++_numbers;
                Begin(slot, drain);
                Changed();
                return;
            }
        }

        drain.Close(_logger);
    }

    /// <summary>Call it holding the gate.</summary>
    private void Begin(Slot slot, Drain drain)
    {
        drain.Since = _time.GetTimestamp();
        slot.Draining?.Close(_logger);
        slot.Draining = drain;
        drain.Generating?.ContinueWith(
            _ =>
            {
                lock (_gate)
                    Wake(slot);
            },
            CancellationToken.None,
            TaskContinuationOptions.ExecuteSynchronously,
            TaskScheduler.Default);
        Wake(slot);
    }

    /// <returns>How long to wait before the next look.</returns>
    private async Task<TimeSpan> DrainAsync(Slot slot, Drain drain, CancellationToken stop)
    {
        try
        {
            if (!await IsOverAsync(slot, drain, mayInterrupt: true, stop))
            {
                if (drain.IsStuck)
                {
                    lock (_gate)
                        SetDown(slot, Stuck(drain), TimeSpan.Zero);
                }

                return _options.PollInterval < LongestPoll ? _options.PollInterval : LongestPoll;
            }
        }
        catch (ForgeException exception) when (exception.Failure != ForgeFailure.Unavailable)
        {
            // It answers, but cannot say.
            _logger.LogDebug(exception, "{Backend} does not say how {TaskId} stands.", slot.Backend.Name, drain.TaskId);
            if (_time.GetElapsedTime(drain.Since) < _options.Timeout)
                return LongestPoll;
        }
        catch (ForgeException exception)
        {
            lock (_gate)
            {
                // Drained when it is back.
                drain.ServerWasAway = true;
                SetDown(slot, exception.Reason, TimeSpan.Zero);
            }

            return TimeSpan.Zero;
        }

        End(slot, drain);
        return TimeSpan.Zero;
    }

    private void End(Slot slot, Drain drain)
    {
        lock (_gate)
        {
            if (slot.Draining != drain)
                return;
            slot.Draining = null;
            slot.NoteIsOld = true;
            slot.IdleSince = _time.GetTimestamp();
            Changed();
        }

        _logger.LogInformation(
            "{Backend} is done with {TaskId}, which nobody wanted any more, {Seconds:0.0} s after that.", slot.Backend.Name, drain.TaskId, _time.GetElapsedTime(drain.Since).TotalSeconds);
        drain.Close(_logger);
    }

    /// <summary>For the probe of one that was taken for down since it would not let go.</summary>
    private async Task<string?> StillStuckAsync(Slot slot, CancellationToken stop)
    {
        Drain? drain;
        lock (_gate)
            drain = slot.Draining;
        if (drain is not { IsStuck: true })
            return null;
        try
        {
            // Without an interrupt: another process may be using it by now.
            if (!await IsOverAsync(slot, drain, mayInterrupt: false, stop))
                return Stuck(drain);
        }
        catch (ForgeException exception)
        {
            return exception.Reason;
        }

        End(slot, drain);
        return null;
    }

    private static string Stuck(Drain drain) => $"it does not let go of {drain.TaskId}, which was interrupted";

    /// <summary>Asks once.</summary>
    /// <exception cref="ForgeException">The server cannot be asked now.</exception>
    private async Task<bool> IsOverAsync(Slot slot, Drain drain, bool mayInterrupt, CancellationToken stop)
    {
        if (drain.IsAnswered)
            return true;
        var progress = await _client.GetProgressAsync(slot.Backend, drain.TaskId, withPreview: false, stop);
        var isLate = _time.GetElapsedTime(drain.Since) >= _options.Timeout;
        switch (progress.State)
        {
            case ForgeTaskState.Completed:
                return true;

            case ForgeTaskState.Queued:
                // Somebody else is generating there, however long that takes; then ours begins, and is interrupted.
                (drain.WasSeen, drain.QuietLooks, drain.ActiveSince) = (true, 0, null);
                return false;

            case ForgeTaskState.Active:
                drain.WasSeen = true;

                // A task that failed stays active by its name for ever (progress.py: finish_task is not reached).
                if (progress.Source == ForgeProgressSource.Task && await _client.GetServerStateAsync(slot.Backend, stop) is { IsIdle: true })
                    return ++drain.QuietLooks >= 2;
                drain.QuietLooks = 0;
                drain.ActiveSince ??= _time.GetTimestamp();
                if (mayInterrupt)
                    await InterruptAsync(slot, drain, stop);

                // By the whole server's state alone it cannot be told whose image it is.
                if (progress.Source == ForgeProgressSource.Server && slot.Backend.Shared)
                    return isLate;
                drain.IsStuck = _time.GetElapsedTime(drain.ActiveSince.Value) >= _options.Timeout;
                return false;

            case ForgeTaskState.Unknown when progress.Source == ForgeProgressSource.None:
                // It does not say. A process that was away since then has forgotten it; else only the answer tells, and the
                // call stays open for it: an image that takes a few times as long as it may is still being generated.
                if (mayInterrupt)
                    await InterruptAsync(slot, drain, stop);
                var patience = drain.Generating is { IsCompleted: false } ? DeafPatience * _options.Timeout : _options.Timeout;
                return _time.GetElapsedTime(drain.Since) >= patience || drain.ServerWasAway;

            default:
                // Neither queued nor active: over, unless it has not yet arrived there. A new process never heard of it.
                var looks = progress.Source == ForgeProgressSource.Task && (drain.WasSeen || drain.ServerWasAway) ? 1
                    : drain.Generating is { IsCompleted: false } && !drain.WasSeen ? 4
                    : 2;
                return ++drain.QuietLooks >= looks;
        }
    }

    private async Task InterruptAsync(Slot slot, Drain drain, CancellationToken stop)
    {
        if (drain.InterruptedAt is { } at && _time.GetElapsedTime(at) < InterruptAgain)
            return;
        if (!await _client.InterruptAsync(slot.Backend, drain.TaskId, stop))
            return;
        if (drain.InterruptedAt is null)
            _logger.LogInformation("{Backend} was interrupted: nobody wants {TaskId} any more.", slot.Backend.Name, drain.TaskId);
        drain.InterruptedAt = _time.GetTimestamp();
    }

    /// <summary>What a backend is to get rid of.</summary>
    internal sealed class Drain(string taskId, Task? generating = null, CancellationTokenSource? call = null)
    {
        public string TaskId { get; } = taskId;

        public Task? Generating { get; } = generating;

        public long Since { get; set; }

        public long? ActiveSince { get; set; }

        public long? InterruptedAt { get; set; }

        /// <summary>Whether the server has said that it knows the task.</summary>
        public bool WasSeen { get; set; }

        /// <summary>Looks in a row that found nothing at work.</summary>
        public int QuietLooks { get; set; }

        public bool ServerWasAway { get; set; }

        /// <summary>Whether no interrupt ends it.</summary>
        public bool IsStuck { get; set; }

        /// <summary>Whether the call itself has said that it is over: by an image or an error, but not by a connection that broke.</summary>
        public bool IsAnswered => Generating switch
        {
            { IsCompletedSuccessfully: true } => true,
            { IsFaulted: true, Exception.InnerException: ForgeException { MayStillBeRunning: false } } => true,
            _ => false,
        };

        /// <summary>Ends the call, which may still fail: worth a line, not an unobserved exception.</summary>
        public void Close(ILogger logger)
        {
            // Not on this thread, which may hold the gate.
            _ = call?.CancelAsync();
            Generating?.ContinueWith(
                (generated, state) =>
                {
                    if (generated.Exception?.InnerException is { } exception)
                        ((ILogger)state!).LogDebug(exception, "{TaskId} ended after nobody wanted it any more.", TaskId);
                    call?.Dispose();
                },
                logger,
                CancellationToken.None,
                TaskContinuationOptions.ExecuteSynchronously,
                TaskScheduler.Default);
        }
    }
}
