using ImageQueue.Core.Hosting;
using ImageQueue.Core.Messages;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Backends;

/// <summary>
/// What operators have paused: the queue, or one Forge. Kept in the database, so that a restart forgets nothing, and looked at
/// by every process each second. What is being generated goes on to its end.
/// </summary>
/// <remarks>Until the first look a process takes nothing: it may start into a pause. A database that is away changes nothing.</remarks>
public sealed class Pauses(IOperatorStore store, BackendPool pool, DatabaseReadiness readiness, TimeProvider time, ILogger<Pauses> logger)
    : PeriodicService(readiness, time, logger)
{
    /// <summary>The name of the queue's own pause.</summary>
    private const string Queue = "queue";

    /// <summary>How the name of a Forge's pause begins.</summary>
    private const string ForgePrefix = "forge:";

    private readonly AsyncSignal _changed = new();
    private readonly SemaphoreSlim _looking = new(1, 1);
    private Known? _known;

    /// <summary>Whether nothing may be taken from the queue; true until that is known.</summary>
    public bool IsQueueStopped => Volatile.Read(ref _known) is not { Queue: null };

    /// <summary>The queue's pause, as far as is known; null when it is not paused.</summary>
    public Pause? OfQueue => Volatile.Read(ref _known)?.Queue;

    /// <summary>Completes when <see cref="IsQueueStopped"/> may have changed. Take it before reading that.</summary>
    internal Task NextChange => _changed.Next;

    /// <summary>The Forge's pause, as far as is known; null when it is not paused.</summary>
    public Pause? Of(string backend) =>
        Volatile.Read(ref _known)?.Forges.TryGetValue(backend, out var pause) == true ? pause : null;

    /// <summary>Stops the queue: this process at once, others within a second.</summary>
    /// <exception cref="StoreUnavailableException">Nothing was changed.</exception>
    public async Task PauseQueueAsync(string by, CancellationToken cancellationToken)
    {
        await store.PauseAsync(Queue, by, cancellationToken);
        await LookAsync(cancellationToken);
    }

    /// <summary>Lets the queue go on.</summary>
    /// <exception cref="StoreUnavailableException">Nothing was changed.</exception>
    public async Task ResumeQueueAsync(CancellationToken cancellationToken)
    {
        await store.ResumeAsync(Queue, cancellationToken);
        await LookAsync(cancellationToken);
    }

    /// <summary>Keeps a Forge from being used, by any process.</summary>
    /// <returns>False when there is no Forge of that name.</returns>
    /// <exception cref="StoreUnavailableException">Nothing was changed.</exception>
    public async Task<bool> PauseForgeAsync(string backend, string by, CancellationToken cancellationToken)
    {
        if (!IsKnown(backend))
            return false;
        await store.PauseAsync(NameOf(backend), by, cancellationToken);
        await LookAsync(cancellationToken);
        return true;
    }

    /// <summary>Lets a Forge be used again.</summary>
    /// <returns>False when there is no Forge of that name.</returns>
    /// <exception cref="StoreUnavailableException">Nothing was changed.</exception>
    public async Task<bool> ResumeForgeAsync(string backend, CancellationToken cancellationToken)
    {
        if (!IsKnown(backend))
            return false;
        await store.ResumeAsync(NameOf(backend), cancellationToken);
        await LookAsync(cancellationToken);
        return true;
    }

    /// <summary>One look at what is paused, and this process obeys it.</summary>
    internal async Task LookAsync(CancellationToken cancellationToken)
    {
        await _looking.WaitAsync(cancellationToken); // An older look must not undo a newer one.
        try
        {
            var rows = await store.ListPausesAsync(cancellationToken);
            var known = new Known(
                rows.Where(row => row.Name == Queue).Select(row => (Pause?)row).FirstOrDefault(),
                rows.Where(row => row.Name.StartsWith(ForgePrefix, StringComparison.Ordinal))
                    .ToDictionary(row => row.Name[ForgePrefix.Length..], StringComparer.OrdinalIgnoreCase));

            // The Forges first: once the queue is known to be open, one that is paused must be known as well.
            pool.SetPaused([.. known.Forges.Keys]);
            var before = Interlocked.Exchange(ref _known, known);
            if (before is null || before.Queue is null != known.Queue is null)
                _changed.Raise();
            if (known.Queue is { } pause && before?.Queue is null)
                Logger.LogWarning("The queue is paused by {By} since {At:u}; nothing new is begun.", pause.By, pause.At);
            else if (known.Queue is null && before?.Queue is not null)
                Logger.LogInformation("The queue is resumed.");
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

    private bool IsKnown(string backend) => pool.Backends.Any(one => string.Equals(one.Name, backend, StringComparison.OrdinalIgnoreCase));

    // Names are told apart without case, keys in the database with it.
    private static string NameOf(string backend) => ForgePrefix + backend.ToLowerInvariant();

    private sealed record Known(Pause? Queue, Dictionary<string, Pause> Forges);
}
