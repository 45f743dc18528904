using System.Text.Json;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Messages;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace ImageQueue.Core.Queue.Eta;

/// <summary>
/// Says when images will be there. Learns from the rows, so that it knows after a restart what it knew before, and what other
/// machines have generated; reads them at most once a second, and only when somebody asks. See <see cref="EtaBasis"/> for the formula.
/// </summary>
public sealed class EtaEstimator(IQueueStore store, ILeaseStore leases, IOptions<ForgeOptions> options, TimeProvider time, ILogger<EtaEstimator> logger)
{
    /// <summary>How many of the newest images are looked at.</summary>
    private const int Newest = 100;

    private const int PageSize = 500;

    private static readonly TimeSpan FreshFor = TimeSpan.FromSeconds(1);

    /// <summary>Until then the last one is served while the next is read.</summary>
    private static readonly TimeSpan UsableFor = TimeSpan.FromSeconds(5);

    private readonly Lock _lock = new();
    private Dictionary<long, RunningGeneration> _seen = [];
    private Task<EtaBasis>? _reading;
    private Known? _known;

    /// <summary>What there is to go by, at most a moment old. Never throws for a database that is away.</summary>
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
            // A lease of a backend is held while it is healthy: so many images can be generated at once, on all machines.
            var slots = await leases.ListLeasesAsync(ForgeAddress.LeasePrefix, CancellationToken.None);
            var basis = new EtaBasis([.. generated.Select(ToGenerated).OfType<CompletedGeneration>()], running, slots.Count, options.Value.Defaults, time.GetUtcNow());
            Volatile.Write(ref _known, new Known(basis, at));
            return basis;
        }
        catch (Exception e)
        {
            // An answer without an estimate is better than none.
            logger.LogDebug(e, "There is nothing to estimate by just now.");
            return EtaBasis.Nothing;
        }
        finally
        {
            lock (_lock)
                _reading = null;
        }
    }

    /// <summary>All that are being generated. Should there be more than slots, whoever has moved last is the one that is really being generated.</summary>
    private async Task<IReadOnlyList<RunningGeneration>> ReadRunningAsync()
    {
        var now = time.GetUtcNow();
        var seen = new Dictionary<long, RunningGeneration>();
        var rows = new List<Message>();
        UnfinishedCursor? cursor = null;
        while (await store.ListByStatusAsync(MessageStatus.Processing, cursor, PageSize, CancellationToken.None) is { Count: > 0 } page)
        {
            rows.AddRange(page);
            cursor = new UnfinishedCursor(page[^1].QueuedAt!.Value, page[^1].Id); // Only image rows are listed, and those have it.
            if (page.Count < PageSize)
                break;
        }

        foreach (var message in rows)
        {
            var progress = message.Progress / 100.0;
            seen[message.Id] = _seen.TryGetValue(message.Id, out var known) && known.Progress == progress
                ? known
                : new RunningGeneration(message.Id, GenerationWork.Of(message, options.Value.Defaults), progress, now);
        }

        _seen = seen; // One read at a time.
        return [.. rows.OrderByDescending(message => message.Revision).Select(message => seen[message.Id])];
    }

    private CompletedGeneration? ToGenerated(Message message) =>
        message.Metadata.TryGetProperty(MetadataFields.Result, out var result)
        && result.ValueKind == JsonValueKind.Object
        && result.TryGetProperty("duration_seconds", out var duration)
        && duration.ValueKind == JsonValueKind.Number
        && duration.TryGetDouble(out var seconds)
        && seconds > 0
            ? new CompletedGeneration(GenerationWork.Of(message, options.Value.Defaults), seconds)
            : null;

    private sealed record Known(EtaBasis Basis, long At);
}
