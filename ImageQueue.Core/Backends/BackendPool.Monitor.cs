using ImageQueue.Core.Forge;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Backends;

/// <summary>
/// One loop for each backend, as long as the process lives: probes it while it is down and now and then while it is idle, and
/// drains it. It is the only one that asks the backend anything apart from those who generate on it.
/// </summary>
public sealed partial class BackendPool
{
    /// <summary>Between two probes of a backend that is down, while there are others; grows from the first to the last.</summary>
    private static readonly TimeSpan FirstPause = TimeSpan.FromSeconds(1);

    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(15);

    /// <summary>The same while there are none: its return should be known at once.</summary>
    private static readonly TimeSpan PauseOfAll = TimeSpan.FromSeconds(0.5);

    /// <summary>Between two probes of one that is healthy and idle, so that its death is known before its next request pays for it.</summary>
    private static readonly TimeSpan IdlePause = TimeSpan.FromSeconds(15);

    /// <summary>The loop looks up this often, since much of what it waits for has no event: rests that end, others that go down.</summary>
    private static readonly TimeSpan Tick = TimeSpan.FromSeconds(0.25);

    private async Task CareForAsync(Slot slot, CancellationToken stop)
    {
        // Off the caller's lock and thread before anything else.
        await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        var pause = FirstPause;
        while (!stop.IsCancellationRequested)
        {
            Task wake;
            Drain? drain;
            bool mustProbe;
            lock (_gate)
            {
                (slot.Wake, var woken) = (slot.Wake.Task.IsCompleted ? NewSignal() : slot.Wake, slot.Wake.Task.IsCompleted);
                wake = slot.Wake.Task;
                if (woken)
                    pause = FirstPause;
                drain = slot is { Healthy: true, Draining: { } draining } && IsLeased(slot) ? draining : null;
                mustProbe = drain is null && IsProbeDue(slot, pause);
            }

            var wait = Tick;
            try
            {
                if (drain is not null)
                    wait = await DrainAsync(slot, drain, stop);
                else if (mustProbe)
                    pause = await ProbeAsync(slot, stop) ? FirstPause : Longer(pause);
            }
            catch (Exception exception) when (!stop.IsCancellationRequested)
            {
                // The client promises not to throw. If it does, the backend must not be lost for good.
                _logger.LogError(exception, "Caring for {Backend} failed.", slot.Backend);
            }
            catch (OperationCanceledException)
            {
                return; // The pool is closing.
            }

            await wake.WaitAsync(wait, _time, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private bool IsProbeDue(Slot slot, TimeSpan pause)
    {
        var now = _time.GetTimestamp();
        if (slot is { MustProbe: true, Busy: false, Draining: null })
        {
            slot.MustProbe = false;
            return true;
        }

        if (slot.Healthy == true)
            return slot is { Busy: false, Draining: null } && _time.GetElapsedTime(slot.IdleSince, now) >= IdlePause;

        if (_noneHealthySince is not null)
            pause = PauseOfAll;
        return slot.LastProbe is not { } last || _time.GetElapsedTime(last, now) >= pause;
    }

    /// <returns>Whether it answers as it should.</returns>
    private async Task<bool> ProbeAsync(Slot slot, CancellationToken stop)
    {
        int troubles;
        bool wasUp;
        lock (_gate)
            (troubles, wasUp) = (slot.Troubles, slot.Healthy == true);
        var trouble = await _client.IsHealthyAsync(slot.Backend, stop) ? await StillStuckAsync(slot, stop) : _client.WhyUnhealthy(slot.Backend) ?? "it does not answer";
        var capabilities = trouble is null && !wasUp ? await LearnAsync(slot, stop) : null;
        lock (_gate)
        {
            var now = _time.GetTimestamp();
            if (_disposed || slot.Troubles != troubles)
                return trouble is null;
            slot.LastProbe = now;
            if (trouble is not null)
            {
                // Seen down: once it answers again it is another process, or another state of it, than the one that failed.
                (slot.RestsUntil, slot.FailuresInARow) = (null, 0);
                if (slot.Draining is { } draining)
                    draining.ServerWasAway = true;
                if (!wasUp || !slot.Busy)
                    SetDown(slot, trouble); // Lent meanwhile: whoever generates on it finds out.
                return false;
            }

            if (wasUp)
            {
                slot.IdleSince = now;
                return true;
            }

            (slot.Capabilities, slot.LoadedModel) = (capabilities ?? slot.Capabilities, capabilities?.LoadedModel ?? slot.LoadedModel);
            if (slot.RestsUntil is not { } rest || now >= rest)
                SetUp(slot);
            return true;
        }
    }

    private async Task<ForgeCapabilities?> LearnAsync(Slot slot, CancellationToken stop)
    {
        try
        {
            return await _client.LearnAsync(slot.Backend, stop);
        }
        catch (ForgeException exception)
        {
            _logger.LogDebug(exception, "What {Backend} can do could not be learnt.", slot.Backend.Name);
            return null;
        }
    }

    private static TimeSpan Longer(TimeSpan pause) => pause * 2 < LongestPause ? pause * 2 : LongestPause;

    /// <summary>Lets the loop of this backend look at once.</summary>
    private static void Wake(Slot slot) => slot.Wake.TrySetResult();
}
