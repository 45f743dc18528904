using System.Text.Json;
using Hangfire;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Messages;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace ImageQueue.Core.Queue;

/// <summary>
/// Says when pictures will be there. Learns from the rows, so that it knows after a restart what it knew before, and what other
/// machines have painted; reads them at most once a second, and only when somebody asks. See <see cref="EtaBasis"/> for the formula.
/// </summary>
public sealed class Eta(
    IMessageStore store, ForgePool pool, JobStorage storage, IOptions<ForgeOptions> options, TimeProvider time, ILogger<Eta> logger)
{
    /// <summary>How many of the newest pictures are looked at.</summary>
    private const int Newest = 100;

    /// <summary>More than there are slots.</summary>
    private const int MostRunning = 200;

    private static readonly TimeSpan FreshFor = TimeSpan.FromSeconds(1);

    /// <summary>Until then the last one is served while the next is read.</summary>
    private static readonly TimeSpan UsableFor = TimeSpan.FromSeconds(5);

    /// <summary>A Hangfire server that has said nothing for longer is taken for dead; it speaks each half minute.</summary>
    private static readonly TimeSpan ServerSilence = TimeSpan.FromSeconds(90);

    private readonly string _thisMachine = $"{Environment.MachineName}:";
    private readonly string _thisProcess = string.Create(System.Globalization.CultureInfo.InvariantCulture, $":{Environment.ProcessId}:");
    private readonly Lock _lock = new();
    private Task<EtaBasis>? _reading;
    private Known? _known;

    /// <summary>What there is to go by, at most a moment old.</summary>
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
            var painted = await store.ListNewestAsync(MessageStatus.Complete, Newest, CancellationToken.None);
            var running = await store.ListByStatusAsync(MessageStatus.Processing, null, MostRunning, CancellationToken.None);
            var basis = new EtaBasis(
                [.. painted.Select(ToPainted).OfType<Painted>()],
                // Should there be more than slots, whoever has moved last is the one that is really being painted.
                [.. running.OrderByDescending(message => message.UpdatedAt).Select(message => EtaBasis.Running(message, options.Value.Defaults))],
                Slots(),
                options.Value.Defaults);
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

    private Painted? ToPainted(Message message) =>
        message.Metadata.TryGetProperty(MetadataFields.Result, out var result)
        && result.ValueKind == JsonValueKind.Object
        && result.TryGetProperty("duration_seconds", out var duration)
        && duration.ValueKind == JsonValueKind.Number
        && duration.TryGetDouble(out var seconds)
        && seconds > 0
            ? new Painted(Work.Of(message, options.Value.Defaults), seconds)
            : null;

    /// <summary>This process's healthy backends, and other processes' workers: how their backends are is theirs to know.</summary>
    private int Slots()
    {
        var backends = pool.Status;
        var healthy = backends.Count(backend => backend.Healthy == true);
        if (healthy == 0)
            healthy = backends.Count(backend => backend.Healthy is null);
        var heard = time.GetUtcNow().UtcDateTime - ServerSilence;
        return healthy + storage.GetMonitoringApi().Servers()
            .Where(server => server.Queues.Contains(ImageJobs.QueueName) && !IsThisProcess(server.Name) && server.Heartbeat > heard)
            .Sum(server => server.WorkersCount);
    }

    private bool IsThisProcess(string serverName) =>
        serverName.StartsWith(_thisMachine, StringComparison.OrdinalIgnoreCase) && serverName.Contains(_thisProcess, StringComparison.Ordinal);

    private sealed record Known(EtaBasis Basis, long At);
}
