using ImageQueue.Core.Forge;
using ImageQueue.Core.Hosting;

namespace ImageQueue.Core.Backends;

/// <summary>
/// The leases in the database: one process at a time uses a backend. Held while it is healthy and in use, renewed before the term is
/// over, released when it becomes unreachable and at a stop. So all processes together generate on each backend once.
/// </summary>
/// <remarks>
/// A lease's note is the task sent last, written by the claim of its message row. A crash leaves the note, and the lease's next holder
/// drains that task first. The note of a backend that only a canary can make healthy says so: its lease does not count as capacity, and
/// the next holder sends a canary before any request. A database that is away takes nothing from this process until the term is over,
/// since no other process can acquire the lease either; then nothing new is sent, and what is being generated goes on.
/// </remarks>
internal sealed class BackendLeases(
    BackendPool pool, ILeaseStore store, Drainer drainer, DatabaseReadiness readiness, TimeProvider time, ILogger logger)
    : PeriodicService(readiness, time, logger)
{
    public static readonly TimeSpan Term = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan Renewal = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan RetryDelay = TimeSpan.FromSeconds(1);

    /// <summary>
    /// A backend that has been idle for so long does nothing, and its note can say so without being in the next claim's way.
    /// </summary>
    private static readonly TimeSpan NoteGrace = TimeSpan.FromSeconds(5);

    /// <summary>How long writing a note may hold a backend back.</summary>
    private static readonly TimeSpan NotePatience = TimeSpan.FromSeconds(2);

    private readonly string _holder = $"{Environment.MachineName}:{Environment.ProcessId}:{Guid.NewGuid():N}";
    private readonly AsyncSignal _wake = new();

    protected override string Activity => "Renewing the leases of the backends";

    protected override TimeSpan Interval => Renewal;

    protected override TimeSpan MinInterval => TimeSpan.Zero;

    protected override TimeSpan MaxRetryDelay => RetryDelay;

    protected override Task NextSignal => _wake.Next;

    /// <summary>Lets the next pass come at once.</summary>
    public void Wake() => _wake.Raise();

    /// <summary>Ends the renewals, interrupts what is being drained, and releases the leases with what their notes say.</summary>
    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        using var patience = new CancellationTokenSource(NotePatience, Time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, patience.Token);
        try
        {
            await base.StopAsync(either.Token);
            var backends = pool.Snapshot();

            // An image that no request needs should not go on after this process.
            await Task.WhenAll(backends.Select(backend => InterruptAsync(backend, either.Token)));
            foreach (var backend in backends)
                await NoteAsync(backend, TimeSpan.Zero, either.Token);
            await ReleaseAsync([.. backends], either.Token);
        }
        catch (Exception exception) when (exception is StoreUnavailableException or OperationCanceledException)
        {
            Logger.LogDebug(exception, "The leases of the backends could not be released; they expire within {Term}.", Term);
        }
    }

    protected override async Task RunPassAsync(CancellationToken cancellationToken)
    {
        Backend[] wanted, unwanted;
        lock (pool.Gate)
        {
            wanted = [.. pool.All.Where(backend => backend.NeedsLease)];
            unwanted = [.. pool.All.Where(backend => backend.LeasedUntil is not null && !backend.NeedsLease)];
        }

        // The next holder should not wait for what was answered: some servers cannot even say that it was.
        foreach (var backend in unwanted)
            await NoteAsync(backend, TimeSpan.Zero, cancellationToken);
        await ReleaseAsync(unwanted, cancellationToken, onlyUnneeded: true);
        if (wanted.Length == 0)
            return;

        // The term is counted from before the call, so that it ends here no later than in the database.
        var until = Time.GetTimestamp() + (long)(Term.TotalSeconds * Time.TimestampFrequency);
        var leases = await store.AcquireLeasesAsync(_holder, [.. wanted.Select(backend => backend.LeaseName)], Term, cancellationToken);
        lock (pool.Gate)
        {
            foreach (var backend in wanted)
                Take(backend, leases.Cast<Lease?>().FirstOrDefault(lease => lease?.Name == backend.LeaseName), until);
            pool.OnChanged();
        }

        foreach (var backend in wanted)
            await NoteAsync(backend, NoteGrace, cancellationToken);
    }

    private async Task ReleaseAsync(Backend[] backends, CancellationToken cancellationToken, bool onlyUnneeded = false)
    {
        string[] names;
        lock (pool.Gate)
        {
            // Healthy again meanwhile, and perhaps reserved.
            var held = backends.Where(backend => backend.LeasedUntil is not null && !(onlyUnneeded && backend.NeedsLease)).ToArray();
            foreach (var backend in held)
                backend.LeasedUntil = null;
            names = [.. held.Select(backend => backend.LeaseName)];
        }

        if (names.Length > 0)
            await store.ReleaseLeasesAsync(_holder, names, cancellationToken);
    }

    private void Take(Backend backend, Lease? lease, long until)
    {
        var hadIt = backend.LeasedUntil is not null;
        if (lease is null)
        {
            if (hadIt)
            {
                Logger.LogWarning(
                    "Backend {Backend} has been leased by another process; this one sends it no more requests.", backend.Name);
            }

            backend.LeasedUntil = null;
            return;
        }

        backend.LeasedUntil = until;
        if (hadIt)
            return;
        if (lease.Value.Note == ForgeAddress.UnhealthyNote)
        {
            backend.IsNotedDoubted = true;
            if (!backend.IsDoubted)
                pool.Apply(backend, (health, now) => health.RequestDisrupted("it was unhealthy when its lease was released", now));
        }
        else if (lease.Value.Note is { Length: > 0 } taskId && backend.Drain?.TaskId != taskId)
        {
            if (backend.IsBusy)
            {
                backend.LeftBehind = taskId;
            }
            else
            {
                Logger.LogInformation(
                    "Backend {Backend} may still generate task {TaskId} of the lease's last holder; it is drained first.",
                    backend.Name, taskId);
                pool.BeginDrain(backend, new Drain(taskId, Drain.OfOtherHolder));
            }
        }

        backend.WakeMonitor();
    }

    private async Task InterruptAsync(Backend backend, CancellationToken cancellationToken)
    {
        Drain? drain;
        lock (pool.Gate)
            drain = backend.Health.IsReachable ? backend.Drain : null;
        if (drain is null)
            return;
        try
        {
            await drainer.InterruptAsync(backend.Server, drain, cancellationToken);
        }
        catch (Exception exception) when (exception is ForgeException or OperationCanceledException)
        {
            Logger.LogDebug(
                exception, "Backend {Backend} could not be interrupted before the stop; the lease's next holder drains it.", backend.Name);
        }
    }

    /// <summary>Writes that the backend does nothing, or is doubted. It gets no request for that moment.</summary>
    private async Task NoteAsync(Backend backend, TimeSpan idleFor, CancellationToken stop)
    {
        bool isDoubted;
        lock (pool.Gate)
        {
            isDoubted = backend.IsDoubted;
            var isNews = isDoubted != backend.IsNotedDoubted;
            if (!(backend.IsNoteOld || isNews) || !backend.IsFree || backend.LeasedUntil is null
                || (!isNews && (isDoubted || Time.GetElapsedTime(backend.IdleSince) < idleFor)))
            {
                return;
            }

            backend.IsBeingNoted = true;
        }

        using var patience = new CancellationTokenSource(NotePatience, Time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(stop, patience.Token);
        var isNoted = false;
        try
        {
            isNoted = await store.NoteLeaseAsync(_holder, backend.LeaseName, isDoubted ? ForgeAddress.UnhealthyNote : null, either.Token);
        }
        catch (OperationCanceledException) when (!stop.IsCancellationRequested)
        {
            Logger.LogDebug("The lease of {Backend} could not be noted in time; it is tried again.", backend.Name);
        }
        finally
        {
            lock (pool.Gate)
            {
                backend.IsBeingNoted = false;
                if (isNoted)
                    (backend.IsNoteOld, backend.IsNotedDoubted) = (false, isDoubted);
                pool.OnChanged();
            }
        }
    }
}
