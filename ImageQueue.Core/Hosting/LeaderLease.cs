using ImageQueue.Core.Messages;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Hosting;

/// <summary>Whether this process is the one that does something for all: by a lease, which moves when its holder dies.</summary>
/// <param name="store">Keeps the lease.</param>
/// <param name="lease">Its name.</param>
/// <param name="term">How long it is held without being renewed.</param>
/// <param name="renewal">How long the last answer serves.</param>
/// <param name="time">The clock for that.</param>
/// <param name="logger">Of whom it is for.</param>
internal sealed class LeaderLease(ILeaseStore store, string lease, TimeSpan term, TimeSpan renewal, TimeProvider time, ILogger logger)
{
    private readonly string _name = $"{Environment.MachineName}:{Environment.ProcessId}:{Guid.NewGuid():N}";
    private long? _askedAt;
    private bool _isUs;

    /// <summary>Takes or renews the lease when it is time to.</summary>
    public async Task<bool> IsUsAsync(CancellationToken cancellationToken)
    {
        if (_askedAt is { } at && time.GetElapsedTime(at) < renewal)
            return _isUs;
        var asked = time.GetTimestamp();
        _isUs = (await store.AcquireLeasesAsync(_name, [lease], term, cancellationToken)).Count > 0;
        _askedAt = asked;
        return _isUs;
    }

    /// <summary>Gives the lease back, if it is ours.</summary>
    public async Task ReleaseAsync(CancellationToken cancellationToken)
    {
        if (!_isUs)
            return;
        try
        {
            await store.ReleaseLeasesAsync(_name, [lease], cancellationToken);
        }
        catch (StoreUnavailableException e)
        {
            logger.LogDebug(e, "The lease {Lease} ends by itself.", lease);
        }
    }
}
