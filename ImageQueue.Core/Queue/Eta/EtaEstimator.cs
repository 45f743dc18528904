using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Hosting;

namespace ImageQueue.Core.Queue.Eta;

/// <summary>
/// Estimates when images are complete, from the message rows: so it survives a restart and covers all machines. Reads them at most
/// once a second, while there are readers. See <see cref="EtaBasis"/> for the formula.
/// </summary>
public sealed class EtaEstimator(
    IQueueStore store, ILeaseStore leases, BackendPool pool, Pauses pauses, ForgeModels models, IOptions<ForgeOptions> options,
    TimeProvider time, ILogger<EtaEstimator> logger)
{
    /// <summary>The number of images that an estimate is based on.</summary>
    private const int Newest = 100;

    private const int PageSize = 500;

    private static readonly TimeSpan FreshFor = TimeSpan.FromSeconds(1);

    /// <summary>Until this age the last data serves while the next is read.</summary>
    private static readonly TimeSpan UsableFor = TimeSpan.FromSeconds(5);

    private readonly Lock _lock = new();
    private Dictionary<long, RunningGeneration> _seen = [];
    private Task<EtaBasis>? _reading;
    private Known? _known;

    /// <summary>The data, at most 5 s old; <see cref="EtaBasis.Nothing"/> while the database is away.</summary>
    public ValueTask<EtaBasis> GetAsync(CancellationToken cancellationToken)
    {
        var known = Volatile.Read(ref _known);
        var age = known is null ? TimeSpan.MaxValue : time.GetElapsedTime(known.At);
        if (known is not null && age < FreshFor)
            return ValueTask.FromResult(known.Basis);
        Task<EtaBasis> reading;
        lock (_lock)
            reading = _reading ??= Task.Run(ReadAsync, CancellationToken.None);
        return known is not null && age < UsableFor ? ValueTask.FromResult(known.Basis) : new(reading.WaitAsync(cancellationToken));
    }

    private async Task<EtaBasis> ReadAsync()
    {
        try
        {
            var at = time.GetTimestamp();
            var generated = await store.ListNewestAsync(MessageStatus.Complete, Newest, CancellationToken.None);
            var running = await ReadRunningAsync();
            var usable = await FindUsableAsync();
            var basis = new EtaBasis([.. generated.Select(ToGenerated).OfType<CompletedGeneration>()], running, usable, time.GetUtcNow())
            {
                Defaults = options.Value.Defaults,
                Limit = options.Value.Timeout,
                IsPossible = (message, backend) => !pauses.IsQueueStopped && IsPossible(message, backend), // A pause counts at once.
            };
            Volatile.Write(ref _known, new Known(basis, at));
            return basis;
        }
        catch (Exception e)
        {
            // An answer without an estimate is better than none.
            logger.LogDebug(e, "Nothing can be estimated now.");
            return EtaBasis.Nothing;
        }
        finally
        {
            lock (_lock)
                _reading = null;
        }
    }

    /// <summary>
    /// The names of the backends that generate now or next; null for one of another machine's alone. None while the queue is paused.
    /// </summary>
    /// <remarks>A backend's lease is held while it is healthy, or noted as unhealthy, so they are those of all machines.</remarks>
    private async Task<IReadOnlyList<string?>> FindUsableAsync()
    {
        if (pauses.IsQueueStopped)
            return [];
        var names = pool.Backends.ToDictionary(backend => ForgeAddress.LeaseName(backend.Url), backend => backend.Name);
        var held = await leases.ListLeasesAsync(ForgeAddress.LeasePrefix, CancellationToken.None);
        return
        [
            .. held.Where(lease => lease.Note != ForgeAddress.UnhealthyNote)
                .Select(lease => names.GetValueOrDefault(lease.Name))
                .Where(name => name is null || pauses.Of(name) is null),
        ];
    }

    private bool IsPossible(Message message, string? backend) =>
        models.Find(GenerationSettings.Of(message).Model)?.Backends is not { Count: > 0 } names
        || (backend is not null && names.Contains(backend, StringComparer.Ordinal));

    /// <summary>
    /// The processing images, newest progress first: with more of them than backends, those are the ones that are generated.
    /// </summary>
    private async Task<IReadOnlyList<RunningGeneration>> ReadRunningAsync()
    {
        var now = time.GetUtcNow();
        var seen = new Dictionary<long, RunningGeneration>();
        var rows = await store.ListProcessingAsync(PageSize, CancellationToken.None).ToListAsync();
        foreach (var message in rows)
        {
            var progress = message.Progress / 100.0;
            var known = _seen.TryGetValue(message.Id, out var image) && image.Progress <= progress && image.Backend == message.Backend
                ? image
                : new RunningGeneration(message.Id, GenerationWork.Of(message, options.Value.Defaults), -1, now, message.Backend);
            seen[message.Id] = known.Progress == progress ? known : known.At(progress, now);
        }

        _seen = seen; // One read at a time.
        return [.. rows.OrderByDescending(message => message.Revision).Select(message => seen[message.Id])];
    }

    private CompletedGeneration? ToGenerated(Message message) => CompletedGeneration.SecondsOf(message) is > 0 and var seconds
        ? new CompletedGeneration(GenerationWork.Of(message, options.Value.Defaults), seconds, message.Backend)
        : null;

    private sealed record Known(EtaBasis Basis, long At);
}
