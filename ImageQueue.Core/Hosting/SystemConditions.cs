using System.Collections.Concurrent;

namespace ImageQueue.Core.Hosting;

/// <summary>Everything that stops or slows the queue now, worst first: one list for dashboard, readiness and metrics.</summary>
public sealed class SystemConditions(IEnumerable<IConditionSource> sources, TimeProvider time, ILogger<SystemConditions> logger)
{
    private static readonly TimeSpan FreshFor = TimeSpan.FromSeconds(1);

    /// <summary>A part that does not answer for so long is reported as unavailable.</summary>
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(4);

    private readonly IConditionSource[] _sources = [.. sources];
    private readonly ConcurrentDictionary<IConditionSource, Task<IReadOnlyList<SystemCondition>>> _readings = new();
    private readonly Lock _gate = new();
    private Dictionary<(string, string?), DateTimeOffset> _since = [];
    private Task<IReadOnlyList<PartConditions>>? _reading;
    private (IReadOnlyList<PartConditions> Parts, long At)? _known;

    /// <summary>All conditions, worst first; at most a second old.</summary>
    public async Task<IReadOnlyList<SystemCondition>> GetAsync(CancellationToken cancellationToken) =>
        Order(await GetPartsAsync(cancellationToken));

    /// <summary>The conditions of each part; at most a second old.</summary>
    public Task<IReadOnlyList<PartConditions>> GetPartsAsync(CancellationToken cancellationToken)
    {
        lock (_gate)
        {
            if (_known is { } known && time.GetElapsedTime(known.At) < FreshFor)
                return Task.FromResult(known.Parts);
            return (_reading ??= Task.Run(ReadAsync, CancellationToken.None)).WaitAsync(cancellationToken);
        }
    }

    /// <summary>Forgets the last reading, after an operator has changed something.</summary>
    public void Invalidate()
    {
        lock (_gate)
            _known = null;
    }

    private static IReadOnlyList<SystemCondition> Order(IReadOnlyList<PartConditions> parts) =>
    [
        .. parts.SelectMany(part => part.Conditions).DistinctBy(one => (one.Code, one.Subject))
            .OrderByDescending(one => one.Stops).ThenByDescending(one => one.IsFault).ThenBy(one => one.Since),
    ];

    private async Task<IReadOnlyList<PartConditions>> ReadAsync()
    {
        try
        {
            var read = await Task.WhenAll(_sources.Select(ReadOneAsync));
            lock (_gate)
            {
                var now = time.GetUtcNow();
                var seen = new Dictionary<(string, string?), DateTimeOffset>();
                var parts = read.Select(
                    part => part with { Conditions = [.. part.Conditions.Select(one => WithSince(one, now, seen))] }).ToList();
                _since = seen;
                _known = (parts, time.GetTimestamp());
                return parts;
            }
        }
        finally
        {
            lock (_gate)
                _reading = null;
        }
    }

    private SystemCondition WithSince(SystemCondition condition, DateTimeOffset now, Dictionary<(string, string?), DateTimeOffset> seen)
    {
        var key = (condition.Code, condition.Subject);
        seen[key] = condition.Since ?? _since.GetValueOrDefault(key, now);
        return condition with { Since = seen[key] };
    }

    private async Task<PartConditions> ReadOneAsync(IConditionSource source)
    {
        using var timeout = new CancellationTokenSource(Timeout, time);
        try
        {
            // A hung mount blocks the thread that reads it for good: one thread, and not another at each pass.
            if (!_readings.TryGetValue(source, out var reading) || reading.IsCompleted)
                _readings[source] = reading = source.ReadAsync(timeout.Token);
            return new(source.Part, await reading.WaitAsync(timeout.Token));
        }
        catch (OperationCanceledException)
        {
            return new(source.Part, [Unavailable($"{source.Part} did not answer within {Timeout.TotalSeconds:0} s.")]);
        }
        catch (Exception e)
        {
            // Hangfire's storage throws its provider's exceptions; one part must not hide the others.
            logger.LogDebug(e, "Part {Part} could not be read.", source.Part);
            return new(source.Part, [Unavailable($"{source.Part} could not be read: {e.Message}")]);
        }

        SystemCondition Unavailable(string text) => new(source.UnavailableCode, text, Stops: true);
    }
}

/// <param name="Part">A part's name in <c>/health/ready</c>.</param>
/// <param name="Conditions">Empty when the part works.</param>
public sealed record PartConditions(string Part, IReadOnlyList<SystemCondition> Conditions);

/// <summary>Reads the conditions although no one asks, so that the time at which each was first seen is right.</summary>
internal sealed class ConditionWatch(
    SystemConditions conditions, DatabaseReadiness readiness, TimeProvider time, ILogger<ConditionWatch> logger)
    : PeriodicService(readiness, time, logger)
{
    protected override string Activity => "Reading the system's conditions";

    protected override TimeSpan Interval => TimeSpan.FromSeconds(5);

    protected override Task RunPassAsync(CancellationToken cancellationToken) => conditions.GetPartsAsync(cancellationToken);
}
