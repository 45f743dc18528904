using Hangfire;
using Hangfire.Common;
using Hangfire.Logging;
using Hangfire.Server;
using Hangfire.States;
using Hangfire.Storage;

namespace ImageQueue.Core.Queue;

/// <summary>
/// The job storage of the Hangfire server for images: fetches go through <see cref="CapacityGatedFetch"/>, everything else to the
/// storage itself. The dashboard, the clients and the other server use that one.
/// </summary>
public sealed class CapacityGatedStorage : JobStorage
{
    private readonly JobStorage _inner;
    private readonly CapacityGatedFetch _fetch;

    public CapacityGatedStorage(JobStorage inner, CapacityGatedFetch fetch)
    {
        ArgumentNullException.ThrowIfNull(inner);
        _inner = inner;
        _fetch = fetch;
        JobExpirationTimeout = inner.JobExpirationTimeout; // Not virtual.
    }

    /// <inheritdoc/>
    public override bool LinearizableReads => _inner.LinearizableReads;

    /// <inheritdoc/>
    public override IMonitoringApi GetMonitoringApi() => _inner.GetMonitoringApi();

    /// <inheritdoc/>
    public override IStorageConnection GetConnection() => new CapacityGatedConnection((JobStorageConnection)_inner.GetConnection(), _fetch);

    /// <inheritdoc/>
    public override IStorageConnection GetReadOnlyConnection() => _inner.GetReadOnlyConnection();

    /// <inheritdoc/>
    [Obsolete("Hangfire keeps it for storages that still have components.")]
    public override IEnumerable<IServerComponent> GetComponents() => _inner.GetComponents();

    /// <inheritdoc/>
    public override IEnumerable<IBackgroundProcess> GetServerRequiredProcesses() => _inner.GetServerRequiredProcesses();

    /// <inheritdoc/>
    public override IEnumerable<IBackgroundProcess> GetStorageWideProcesses() => _inner.GetStorageWideProcesses();

    /// <inheritdoc/>
    public override IEnumerable<IStateHandler> GetStateHandlers() => _inner.GetStateHandlers();

    /// <inheritdoc/>
    public override void WriteOptionsToLog(ILog logger) => _inner.WriteOptionsToLog(logger);

    /// <inheritdoc/>
    public override bool HasFeature(string featureId) => _inner.HasFeature(featureId);

    /// <inheritdoc/>
    public override string? ToString() => _inner.ToString();
}

/// <summary>A worker's connection: forwards everything, and holds the fetched job until the worker has finished with it.</summary>
internal sealed class CapacityGatedConnection(JobStorageConnection inner, CapacityGatedFetch fetch) : JobStorageConnection
{
    /// <summary>The fetched job; it finds this through <see cref="PerformContext.Connection"/>.</summary>
    public CapacityGatedFetch.FetchedRequest? Fetched { get; private set; }

    public override IFetchedJob FetchNextJob(string[] queues, CancellationToken cancellationToken)
    {
        Fetched?.Dispose();
        Fetched = fetch.Fetch(inner, queues, cancellationToken);
        return Fetched.Job; // Unchanged: Hangfire asks its type what the storage can do with it.
    }

    public override void Dispose()
    {
        Fetched?.Dispose();
        inner.Dispose();
        base.Dispose();
    }

    public override IWriteOnlyTransaction CreateWriteTransaction() => inner.CreateWriteTransaction();

    public override IDisposable AcquireDistributedLock(string resource, TimeSpan timeout) =>
        inner.AcquireDistributedLock(resource, timeout);

    public override string CreateExpiredJob(Job job, IDictionary<string, string> parameters, DateTime createdAt, TimeSpan expireIn) =>
        inner.CreateExpiredJob(job, parameters, createdAt, expireIn);

    public override void SetJobParameter(string id, string name, string value) => inner.SetJobParameter(id, name, value);

    public override string GetJobParameter(string id, string name) => inner.GetJobParameter(id, name);

    public override JobData GetJobData(string jobId) => inner.GetJobData(jobId);

    public override StateData GetStateData(string jobId) => inner.GetStateData(jobId);

    public override void AnnounceServer(string serverId, ServerContext context) => inner.AnnounceServer(serverId, context);

    public override void RemoveServer(string serverId) => inner.RemoveServer(serverId);

    public override void Heartbeat(string serverId) => inner.Heartbeat(serverId);

    public override int RemoveTimedOutServers(TimeSpan timeOut) => inner.RemoveTimedOutServers(timeOut);

    public override HashSet<string> GetAllItemsFromSet(string key) => inner.GetAllItemsFromSet(key);

    public override string GetFirstByLowestScoreFromSet(string key, double fromScore, double toScore) =>
        inner.GetFirstByLowestScoreFromSet(key, fromScore, toScore);

    public override List<string> GetFirstByLowestScoreFromSet(string key, double fromScore, double toScore, int count) =>
        inner.GetFirstByLowestScoreFromSet(key, fromScore, toScore, count);

    public override long GetSetCount(string key) => inner.GetSetCount(key);

    public override long GetSetCount(IEnumerable<string> keys, int limit) => inner.GetSetCount(keys, limit);

    public override bool GetSetContains(string key, string value) => inner.GetSetContains(key, value);

    public override List<string> GetRangeFromSet(string key, int startingFrom, int endingAt) =>
        inner.GetRangeFromSet(key, startingFrom, endingAt);

    public override TimeSpan GetSetTtl(string key) => inner.GetSetTtl(key);

    public override void SetRangeInHash(string key, IEnumerable<KeyValuePair<string, string>> keyValuePairs) =>
        inner.SetRangeInHash(key, keyValuePairs);

    public override Dictionary<string, string> GetAllEntriesFromHash(string key) => inner.GetAllEntriesFromHash(key);

    public override string GetValueFromHash(string key, string name) => inner.GetValueFromHash(key, name);

    public override long GetHashCount(string key) => inner.GetHashCount(key);

    public override TimeSpan GetHashTtl(string key) => inner.GetHashTtl(key);

    public override long GetListCount(string key) => inner.GetListCount(key);

    public override List<string> GetAllItemsFromList(string key) => inner.GetAllItemsFromList(key);

    public override List<string> GetRangeFromList(string key, int startingFrom, int endingAt) =>
        inner.GetRangeFromList(key, startingFrom, endingAt);

    public override TimeSpan GetListTtl(string key) => inner.GetListTtl(key);

    public override long GetCounter(string key) => inner.GetCounter(key);

    public override DateTime GetUtcDateTime() => inner.GetUtcDateTime();
}
