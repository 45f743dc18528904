using ImageQueue.Core.Hosting;

namespace ImageQueue.Core.Backends;

/// <summary>
/// The pauses of the queue and of single backends. They are kept in the database, so that they survive a restart, and every process
/// reads them each second. What is being generated goes on to its end.
/// </summary>
/// <remarks>Until the first read a process dequeues nothing: it may start into a pause. A database that is away changes nothing.</remarks>
public sealed class Pauses(IOperatorStore store, BackendPool pool, DatabaseReadiness readiness, TimeProvider time, ILogger<Pauses> logger)
    : PeriodicService(readiness, time, logger)
{
    /// <summary>The name of the queue's own pause.</summary>
    private const string Queue = "queue";

    /// <summary>Before a backend's name, the name of its pause.</summary>
    private const string BackendPrefix = "forge:";

    private readonly AsyncSignal _changed = new();
    private readonly SemaphoreSlim _looking = new(1, 1);
    private Known? _known;

    /// <summary>Whether nothing is dequeued; true until the first read.</summary>
    public bool IsQueueStopped => Volatile.Read(ref _known) is not { Queue: null };

    /// <summary>The queue's pause; null when it is not paused, or not read yet.</summary>
    public Pause? OfQueue => Volatile.Read(ref _known)?.Queue;

    /// <summary>Completes when <see cref="IsQueueStopped"/> may have changed. Take it before reading that.</summary>
    internal Task NextChange => _changed.Next;

    /// <summary>The backend's pause; null when it is not paused, or not read yet.</summary>
    public Pause? Of(string backend) => Volatile.Read(ref _known)?.Backends.TryGetValue(backend, out var pause) == true ? pause : null;

    /// <summary>Pauses the queue: this process at once, others within a second.</summary>
    /// <exception cref="StoreUnavailableException">Nothing was changed.</exception>
    public Task PauseQueueAsync(string by, CancellationToken cancellationToken) =>
        ApplyAsync(store.PauseAsync(Queue, by, cancellationToken), cancellationToken);

    /// <summary>Resumes the queue.</summary>
    /// <exception cref="StoreUnavailableException">Nothing was changed.</exception>
    public Task ResumeQueueAsync(CancellationToken cancellationToken) =>
        ApplyAsync(store.ResumeAsync(Queue, cancellationToken), cancellationToken);

    /// <summary>Keeps all processes from sending requests to a backend.</summary>
    /// <returns>False when there is no backend of that name.</returns>
    /// <exception cref="StoreUnavailableException">Nothing was changed.</exception>
    public async Task<bool> PauseBackendAsync(string backend, string by, CancellationToken cancellationToken) =>
        IsKnown(backend) && await ApplyAsync(store.PauseAsync(NameOf(backend), by, cancellationToken), cancellationToken);

    /// <summary>Resumes a backend.</summary>
    /// <returns>False when there is no backend of that name.</returns>
    /// <exception cref="StoreUnavailableException">Nothing was changed.</exception>
    public async Task<bool> ResumeBackendAsync(string backend, CancellationToken cancellationToken) =>
        IsKnown(backend) && await ApplyAsync(store.ResumeAsync(NameOf(backend), cancellationToken), cancellationToken);

    private async Task<bool> ApplyAsync(Task change, CancellationToken cancellationToken)
    {
        await change;
        await LookAsync(cancellationToken);
        return true;
    }

    internal async Task LookAsync(CancellationToken cancellationToken)
    {
        await _looking.WaitAsync(cancellationToken); // An older read must not undo a newer one.
        try
        {
            var rows = await store.ListPausesAsync(cancellationToken);
            var known = new Known(
                rows.Where(row => row.Name == Queue).Select(row => (Pause?)row).FirstOrDefault(),
                rows.Where(row => row.Name.StartsWith(BackendPrefix, StringComparison.Ordinal))
                    .ToDictionary(row => row.Name[BackendPrefix.Length..], StringComparer.OrdinalIgnoreCase));

            // Backends first: once the queue is open, their pauses must be applied.
            pool.SetPaused([.. known.Backends.Keys]);
            var before = Interlocked.Exchange(ref _known, known);
            if (before is null || before.Queue is null != known.Queue is null)
                _changed.Raise();
            if (known.Queue is { } pause && before?.Queue is null)
                Logger.LogWarning("Queue paused by {By} since {At:u}: nothing is dequeued.", pause.By, pause.At);
            else if (known.Queue is null && before?.Queue is not null)
                Logger.LogInformation("Queue resumed.");
        }
        finally
        {
            _looking.Release();
        }
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        base.Dispose();
        _looking.Dispose();
    }

    /// <inheritdoc/>
    protected override string Activity => "Reading pauses";

    /// <inheritdoc/>
    protected override TimeSpan Interval => TimeSpan.FromSeconds(1);

    /// <inheritdoc/>
    protected override Task RunPassAsync(CancellationToken cancellationToken) => LookAsync(cancellationToken);

    /// <summary>Whether a row of the pauses is one of the queue or a backend; others have rows there too.</summary>
    internal static bool IsOfQueueOrBackend(string name) => name == Queue || name.StartsWith(BackendPrefix, StringComparison.Ordinal);

    private bool IsKnown(string backend) => pool.Backends.Any(one => string.Equals(one.Name, backend, StringComparison.OrdinalIgnoreCase));

    // Names are compared without case, the database's keys with it.
    private static string NameOf(string backend) => BackendPrefix + backend.ToLowerInvariant();

    private sealed record Known(Pause? Queue, Dictionary<string, Pause> Backends);
}
