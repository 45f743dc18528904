using System.Globalization;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Messages;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Backends;

/// <summary>
/// The leases in the database: one process at a time uses a backend. Held while it is healthy and may be used, renewed before
/// its term is over, given back when it goes down and at a stop. So those held are what all processes together can generate on.
/// </summary>
/// <remarks>
/// A lease's note is the task sent last, written by the claim of its message row. A crash leaves the note, and whoever gets the
/// lease next drains that task first. A database that is away takes nothing from this process until the term is over, since
/// nobody else can take it either; then nothing new is sent, and what is being generated goes on.
/// </remarks>
public sealed partial class BackendPool
{
    internal static readonly TimeSpan LeaseTerm = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan LeaseRenewal = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan LeaseRetry = TimeSpan.FromSeconds(1);

    /// <summary>A backend that has been idle for so long is at nothing, and its lease's note can say so without being in the next claim's way.</summary>
    private static readonly TimeSpan NoteGrace = TimeSpan.FromSeconds(5);

    /// <summary>How long writing a note may hold a backend back.</summary>
    private static readonly TimeSpan NotePatience = TimeSpan.FromSeconds(2);

    private readonly string _holder = string.Create(CultureInfo.InvariantCulture, $"{Environment.MachineName}:{Environment.ProcessId}:{Guid.NewGuid():N}");
    private readonly SemaphoreSlim _leasing = new(1, 1);
    private TaskCompletionSource _leasesWake = NewSignal();
    private bool _leasesRanOut;

    /// <summary>Interrupts what is being drained, and gives the leases back with what they say. Nothing is lent any more.</summary>
    /// <param name="cancellationToken">How long that may take.</param>
    public async Task StopAsync(CancellationToken cancellationToken)
    {
        Slot[] slots;
        lock (_gate)
        {
            _isStopping = true;
            slots = [.. _slots];
            Changed();
        }

        try
        {
            // An image that nobody waits for should not go on after this process.
            using var patience = new CancellationTokenSource(NotePatience, _time);
            using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, patience.Token);
            await Task.WhenAll(slots.Select(slot => InterruptBeforeStopAsync(slot, either.Token)));
            await _leasing.WaitAsync(either.Token); // For good: no renewal may come after this.
            string[] held;
            lock (_gate)
                held = [.. slots.Where(slot => slot.LeasedUntil is not null).Select(slot => slot.LeaseName)];
            if (held.Length == 0)
                return;
            foreach (var slot in slots)
                await NoteNothingAsync(slot, TimeSpan.Zero, either.Token);
            lock (_gate)
            {
                foreach (var slot in slots)
                    slot.LeasedUntil = null;
            }

            await _store.ReleaseLeasesAsync(_holder, held, either.Token);
        }
        catch (Exception exception) when (exception is StoreUnavailableException or OperationCanceledException)
        {
            _logger.LogDebug(exception, "The leases of the Forge backends could not be given back; they end by themselves within {Term}.", LeaseTerm);
        }
    }

    private async Task InterruptBeforeStopAsync(Slot slot, CancellationToken cancellationToken)
    {
        Drain? drain;
        lock (_gate)
            drain = slot.Healthy == true ? slot.Draining : null;
        if (drain is null)
            return;
        try
        {
            await InterruptAsync(slot, drain, cancellationToken);
        }
        catch (Exception exception) when (exception is ForgeException or OperationCanceledException)
        {
            _logger.LogDebug(exception, "{Backend} could not be interrupted before the stop; whoever uses it next does that.", slot.Backend.Name);
        }
    }

    private bool IsLeased(Slot slot) => slot.LeasedUntil is { } until && _time.GetTimestamp() < until;

    private async Task KeepLeasesAsync(CancellationToken stop)
    {
        await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        await _readiness.Ready.WaitAsync(stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        while (!stop.IsCancellationRequested)
        {
            Task wake;
            lock (_gate)
            {
                if (_leasesWake.Task.IsCompleted)
                    _leasesWake = NewSignal();
                wake = _leasesWake.Task;
            }

            var pause = LeaseRenewal;
            try
            {
                await _leasing.WaitAsync(stop);
                try
                {
                    await RenewAsync(stop);
                }
                finally
                {
                    _leasing.Release();
                }
            }
            catch (StoreUnavailableException exception)
            {
                pause = LeaseRetry;
                SayIfLeasesRanOut(exception);
            }
            catch (OperationCanceledException) when (stop.IsCancellationRequested)
            {
                return;
            }
            catch (Exception exception)
            {
                // Without this loop nothing would ever be generated again.
                pause = LeaseRetry;
                _logger.LogError(exception, "The leases of the Forge backends could not be renewed.");
            }

            await wake.WaitAsync(pause, _time, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task RenewAsync(CancellationToken stop)
    {
        Slot[] wanted, unwanted;
        lock (_gate)
        {
            wanted = [.. _slots.Where(IsWanted)];
            unwanted = [.. _slots.Where(slot => slot.LeasedUntil is not null && !IsWanted(slot))];
        }

        if (unwanted.Length > 0)
        {
            // Whoever gets it next should not wait for what was answered: some servers cannot even say that it was.
            foreach (var slot in unwanted)
                await NoteNothingAsync(slot, TimeSpan.Zero, stop);
            lock (_gate)
            {
                unwanted = [.. unwanted.Where(slot => !IsWanted(slot))]; // Well again meanwhile, and perhaps lent.
                foreach (var slot in unwanted)
                    slot.LeasedUntil = null;
            }

            await _store.ReleaseLeasesAsync(_holder, [.. unwanted.Select(slot => slot.LeaseName)], stop);
        }

        if (wanted.Length == 0)
            return;

        // The term is counted from before the question, so that it ends here no later than in the database.
        var until = _time.GetTimestamp() + (long)(LeaseTerm.TotalSeconds * _time.TimestampFrequency);
        var leases = await _store.AcquireLeasesAsync(_holder, [.. wanted.Select(slot => slot.LeaseName)], LeaseTerm, stop);
        lock (_gate)
        {
            foreach (var slot in wanted)
                Take(slot, leases.Where(lease => lease.Name == slot.LeaseName).Select(lease => (Lease?)lease).FirstOrDefault(), until);
            _leasesRanOut = false;
            Changed();
        }

        foreach (var slot in wanted)
            await NoteNothingAsync(slot, NoteGrace, stop);
    }

    private static bool IsWanted(Slot slot) => slot.Busy || (slot.Healthy == true && (!slot.Paused || slot.Draining is not null));

    private void Take(Slot slot, Lease? lease, long until)
    {
        var hadIt = slot.LeasedUntil is not null;
        if (lease is null)
        {
            if (hadIt)
                _logger.LogWarning("Forge {Backend} is used by another process now; this one lends it no more.", slot.Backend);
            slot.LeasedUntil = null;
            return;
        }

        slot.LeasedUntil = until;
        if (hadIt)
            return;
        if (lease.Value.Note is { Length: > 0 } taskId && slot.Draining?.TaskId != taskId)
        {
            if (slot.Busy)
            {
                slot.LeftBehind = taskId;
            }
            else
            {
                _logger.LogInformation("Forge {Backend} may still be at {TaskId}, which its last user left; that is seen to first.", slot.Backend, taskId);
                Begin(slot, new Drain(taskId));
            }
        }

        Wake(slot);
    }

    /// <summary>Writes that the backend is at nothing, while it is held back from its next user for that moment.</summary>
    private async Task NoteNothingAsync(Slot slot, TimeSpan idleFor, CancellationToken stop)
    {
        lock (_gate)
        {
            if (!slot.NoteIsOld || !slot.IsFree || slot.LeasedUntil is null || _time.GetElapsedTime(slot.IdleSince) < idleFor)
                return;
            slot.IsBeingNoted = true;
        }

        using var patience = new CancellationTokenSource(NotePatience, _time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(stop, patience.Token);
        var isNoted = false;
        try
        {
            isNoted = await _store.NoteLeaseAsync(_holder, slot.LeaseName, null, either.Token);
        }
        catch (OperationCanceledException) when (!stop.IsCancellationRequested)
        {
            _logger.LogDebug("The lease of {Backend} could not be noted in time; it is tried again.", slot.Backend.Name);
        }
        finally
        {
            lock (_gate)
            {
                slot.IsBeingNoted = false;
                if (isNoted)
                    slot.NoteIsOld = false;
                Changed();
            }
        }
    }

    private void SayIfLeasesRanOut(StoreUnavailableException exception)
    {
        lock (_gate)
        {
            if (_leasesRanOut || !_slots.Exists(slot => slot.LeasedUntil is not null && !IsLeased(slot)))
                return;
            _leasesRanOut = true;
        }

        _logger.LogWarning(exception, "No lease of a Forge backend could be renewed for {Term}: nothing new is sent there until the database is back.", LeaseTerm);
    }

    private void WakeLeases() => _leasesWake.TrySetResult();
}
