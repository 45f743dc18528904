using Hangfire.Common;

namespace ImageQueue.Core.Queue;

/// <summary>A Hangfire filter of this host; register it as this, and <see cref="JobFilters"/> hands it to Hangfire.</summary>
public interface IHostJobFilter;

/// <summary>
/// Gives Hangfire this host's filters beside its own. Not through <c>GlobalJobFilters</c>: that is the process's, and several
/// hosts in one process would see each other's jobs.
/// </summary>
public sealed class JobFilters(IEnumerable<IHostJobFilter> filters) : IJobFilterProvider
{
    private readonly JobFilter[] _filters = [.. filters.Select(filter => new JobFilter(filter, JobFilterScope.Global, order: null))];

    /// <inheritdoc/>
    public IEnumerable<JobFilter> GetFilters(Job job) => JobFilterProviders.Providers.GetFilters(job).Concat(_filters);
}
