using Hangfire.Common;

namespace ImageQueue.Core.Queue;

/// <summary>A Hangfire filter of this host: registered as this, it reaches Hangfire through <see cref="JobFilters"/>.</summary>
internal interface IHostJobFilter;

/// <summary>Gives Hangfire this host's filters beside its own.</summary>
/// <remarks>Not <c>GlobalJobFilters</c>: those are the process's, and several hosts in one process would see each other's jobs.</remarks>
internal sealed class JobFilters(IEnumerable<IHostJobFilter> filters) : IJobFilterProvider
{
    private readonly JobFilter[] _filters = [.. filters.Select(filter => new JobFilter(filter, JobFilterScope.Global, order: null))];

    public IEnumerable<JobFilter> GetFilters(Job job) =>
        // Hangfire runs the filters in the order in which it gets them, and sorts those of its own providers alone.
        JobFilterProviders.Providers.GetFilters(job).Concat(_filters).OrderBy(filter => filter.Order).ThenBy(filter => filter.Scope);
}
