using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Backends;

/// <summary>Which backends are well: what their users report, and what that means.</summary>
/// <remarks>
/// A request's own fault and a server's look the same when they happen: a 500. So after two of them in a row a backend is under
/// suspicion and used only where there is no other, until it is known how those requests fared elsewhere. CompletedGeneration there: the
/// backend is at fault, and rests; failed there too: the requests were.
/// </remarks>
public sealed partial class BackendPool
{
    /// <summary>Requests that one backend may fail before it is left alone.</summary>
    private const int FailuresAllowed = 2;

    /// <summary>How long an answer may stay without a word on whether the image in it was good.</summary>
    private static readonly TimeSpan VerdictPatience = TimeSpan.FromSeconds(10);

    private static readonly TimeSpan LongestRest = TimeSpan.FromSeconds(15);

    /// <summary>
    /// Rests after failures in a row. One that cannot be reached, 1 s, 2 s, 4 s, 8 s, 15 s: it costs nobody more than a moment.
    /// One that fails what others generate, 5 s, 10 s, 15 s: each time a request has to go elsewhere. A dead GPU, 10 s, 15 s: only a
    /// restart helps it, and a probe sees that.
    /// </summary>
    private static TimeSpan NextRest(Slot slot, Rest kind)
    {
        var failures = Math.Min(slot.FailuresInARow++, 10);
        var rest = TimeSpan.FromSeconds(kind switch
        {
            Rest.Unreachable => 1 << failures,
            Rest.Failing => 5 * (failures + 1),
            _ => 10 + (5 * failures),
        });
        return rest < LongestRest ? rest : LongestRest;
    }

    private enum Rest
    {
        Unreachable,
        Failing,
        DeadGpu,
    }

    internal void ReportDown(Slot slot, string reason, bool gpuIsDead, string? mayGoOn)
    {
        lock (_gate)
        {
            if (_disposed)
                return;
            slot.UnverifiedSince = null;
            if (mayGoOn is not null)
                Begin(slot, new Drain(mayGoOn));
            SetDown(slot, reason, NextRest(slot, gpuIsDead ? Rest.DeadGpu : Rest.Unreachable));
        }
    }

    /// <summary>Whether all that it has answered so far was good, as far as that was to be known.</summary>
    internal bool IsTrusted(Slot slot)
    {
        lock (_gate)
            return slot is { Failed.Count: 0, GeneratedElsewhere: 0, FailuresInARow: 0, UnverifiedSince: null };
    }

    internal void ReportGenerated(Slot slot, string? model)
    {
        lock (_gate)
        {
            slot.LoadedModel = model ?? slot.LoadedModel;
            slot.UnverifiedSince = null;
            slot.Failed.Clear();
            (slot.GeneratedElsewhere, slot.FailuresInARow) = (0, 0);
            if (slot.Healthy == true)
                Announce(slot, null);
            Changed();
        }
    }

    internal void ReportFailed(Slot slot, string requestKey, string reason)
    {
        lock (_gate)
        {
            if (_disposed)
                return;
            (slot.LastError, slot.UnverifiedSince) = (reason, null);
            var failedBefore = false;
            foreach (var one in _slots)
                failedBefore |= one.Failed.Remove(requestKey);
            if (!failedBefore)
            {
                slot.Failed.Add(requestKey);
                slot.LastFailure = _time.GetTimestamp();

                // Back from a rest, and it fails again: there is nothing more to find out.
                if (slot.FailuresInARow > 0 && IsThereAnother(slot))
                    SetDown(slot, $"it keeps failing: {reason}", NextRest(slot, Rest.Failing));
            }

            Changed();
        }
    }

    internal void ReportGeneratedElsewhere(string requestKey)
    {
        lock (_gate)
        {
            if (_disposed)
                return;
            foreach (var slot in _slots.Where(slot => slot.Failed.Remove(requestKey)))
            {
                if (++slot.GeneratedElsewhere < FailuresAllowed || slot.Healthy != true)
                    continue;
                SetDown(slot, $"it failed {slot.GeneratedElsewhere} requests in a row that others generated: {slot.LastError}", NextRest(slot, Rest.Failing));
            }

            Changed();
        }
    }

    /// <summary>Nobody may ever say how the requests fared that failed here, for they can be cancelled: so not for longer than one may take.</summary>
    private bool IsSuspect(Slot slot)
    {
        var failures = slot.Failed.Count + slot.GeneratedElsewhere;

        // An image is looked at after its backend is free again: after one that was bad, the next one is waited for.
        if (failures > 0 && slot.UnverifiedSince is { } since && _time.GetElapsedTime(since) < VerdictPatience)
            failures++;
        return failures >= FailuresAllowed && _time.GetElapsedTime(slot.LastFailure) < _options.Timeout;
    }

    private bool IsThereAnother(Slot slot) => _slots.Exists(other => other != slot && IsUsable(other) && !IsSuspect(other));

    private void SetUp(Slot slot)
    {
        if (slot.Healthy != true)
            slot.Since = _time.GetUtcNow();
        slot.Healthy = true;
        (slot.RestsUntil, slot.GeneratedElsewhere) = (null, 0);
        slot.Failed.Clear();
        slot.IdleSince = _time.GetTimestamp();

        // One that answered probes all along has shown nothing yet.
        if (slot.FailuresInARow == 0)
            Announce(slot, null);
        WakeLeases();
        Changed();
    }

    /// <param name="slot">The backend.</param>
    /// <param name="reason">For operators.</param>
    /// <param name="rest">For how long it is left alone even if it answers probes, as it may have done when it failed.</param>
    private void SetDown(Slot slot, string reason, TimeSpan rest)
    {
        slot.Troubles++;
        slot.RestsUntil = _time.GetTimestamp() + (long)(rest.TotalSeconds * _time.TimestampFrequency);
        slot.LastProbe = null;
        SetDown(slot, reason);
        Wake(slot);
    }

    private void SetDown(Slot slot, string reason)
    {
        if (slot.Healthy != false)
            slot.Since = _time.GetUtcNow();
        slot.Healthy = false;
        slot.LastError = reason;
        Announce(slot, reason);
        WakeLeases();
        Changed();
    }

    /// <summary>Once for each change of state or reason.</summary>
    private void Announce(Slot slot, string? reason)
    {
        if (reason is null)
        {
            if (slot.Announced is "")
                return;
            _logger.LogInformation("Forge {Backend} is up{Again}.", slot.Backend, slot.Announced is null ? "" : " again");
        }
        else if (!string.Equals(slot.Announced, reason, StringComparison.Ordinal))
        {
            _logger.LogWarning("Forge {Backend} is down: {Reason}.", slot.Backend, reason.TrimEnd('.'));
        }

        slot.Announced = reason ?? "";
    }

    /// <summary>Keeps the time since which nothing can be generated. What an operator has paused is not broken.</summary>
    private void FollowHealth() =>
        _noneHealthySince = _slots.Exists(slot => slot.Healthy == true && (slot.Paused || IsLeased(slot))) ? null : _noneHealthySince ?? _time.GetUtcNow();
}
