using Hangfire;
using Hangfire.Common;
using Hangfire.States;
using Hangfire.Storage;
using Hangfire.Storage.Monitoring;
using ImageQueue.Core.Queue;

namespace ImageQueue.Web.Dashboard;

/// <summary>
/// The in-memory job storage as the dashboard shows it: end times come from the state data. Hangfire.InMemory itself only knows when
/// a state was applied, which for a job restored at start is the restart.
/// </summary>
internal sealed class DashboardStorage(JobStorage inner) : JobStorage
{
    public override bool LinearizableReads => inner.LinearizableReads;

    public override IMonitoringApi GetMonitoringApi() =>
        inner.GetMonitoringApi() is JobStorageMonitor monitor ? new Monitor(monitor) : inner.GetMonitoringApi();

    public override IStorageConnection GetConnection() => inner.GetConnection();

    public override IStorageConnection GetReadOnlyConnection() => inner.GetReadOnlyConnection();

    public override IEnumerable<IStateHandler> GetStateHandlers() => inner.GetStateHandlers();

    public override bool HasFeature(string featureId) => inner.HasFeature(featureId);

    public override string? ToString() => inner.ToString();

    private static DateTime? At(string? state, IDictionary<string, string>? data) =>
        data is not null && data.TryGetValue($"{state}At", out var at) ? JobHelper.DeserializeNullableDateTime(at) : null;

    private sealed class Monitor(JobStorageMonitor inner) : JobStorageMonitor
    {
        public override JobList<SucceededJobDto> SucceededJobs(int from, int count) => With(
            inner.SucceededJobs(from, count), job => job.SucceededAt = At(SucceededState.StateName, job.StateData) ?? job.SucceededAt);

        public override JobList<FailedJobDto> FailedJobs(int from, int count) => With(
            inner.FailedJobs(from, count), job => job.FailedAt = At(FailedState.StateName, job.StateData) ?? job.FailedAt);

        public override JobList<DeletedJobDto> DeletedJobs(int from, int count) => With(
            inner.DeletedJobs(from, count), job => job.DeletedAt = At(DeletedState.StateName, job.StateData) ?? job.DeletedAt);

        public override JobDetailsDto? JobDetails(string jobId)
        {
            if (inner.JobDetails(jobId) is not { } details)
                return null;
            foreach (var state in details.History)
                state.CreatedAt = At(state.StateName, state.Data) ?? state.CreatedAt;
            if (details.Properties.TryGetValue(ImageJobs.RequestedAtParameter, out var requested))
                details.CreatedAt = JobHelper.DeserializeNullableDateTime(requested) ?? details.CreatedAt;
            return details;
        }

        public override IList<QueueWithTopEnqueuedJobsDto> Queues() => inner.Queues();

        public override IList<ServerDto> Servers() => inner.Servers();

        public override StatisticsDto GetStatistics() => inner.GetStatistics();

        public override JobList<EnqueuedJobDto> EnqueuedJobs(string queue, int from, int perPage) =>
            inner.EnqueuedJobs(queue, from, perPage);

        public override JobList<FetchedJobDto> FetchedJobs(string queue, int from, int perPage) => inner.FetchedJobs(queue, from, perPage);

        public override JobList<ProcessingJobDto> ProcessingJobs(int from, int count) => inner.ProcessingJobs(from, count);

        public override JobList<ScheduledJobDto> ScheduledJobs(int from, int count) => inner.ScheduledJobs(from, count);

        public override JobList<AwaitingJobDto> AwaitingJobs(int from, int count) => inner.AwaitingJobs(from, count);

        public override long ScheduledCount() => inner.ScheduledCount();

        public override long EnqueuedCount(string queue) => inner.EnqueuedCount(queue);

        public override long FetchedCount(string queue) => inner.FetchedCount(queue);

        public override long FailedCount() => inner.FailedCount();

        public override long ProcessingCount() => inner.ProcessingCount();

        public override long SucceededListCount() => inner.SucceededListCount();

        public override long DeletedListCount() => inner.DeletedListCount();

        public override long AwaitingCount() => inner.AwaitingCount();

        public override IDictionary<DateTime, long> SucceededByDatesCount() => inner.SucceededByDatesCount();

        public override IDictionary<DateTime, long> FailedByDatesCount() => inner.FailedByDatesCount();

        public override IDictionary<DateTime, long> DeletedByDatesCount() => inner.DeletedByDatesCount();

        public override IDictionary<DateTime, long> HourlySucceededJobs() => inner.HourlySucceededJobs();

        public override IDictionary<DateTime, long> HourlyFailedJobs() => inner.HourlyFailedJobs();

        public override IDictionary<DateTime, long> HourlyDeletedJobs() => inner.HourlyDeletedJobs();

        private static JobList<T> With<T>(JobList<T> jobs, Action<T> set)
        {
            foreach (var (_, job) in jobs)
            {
                if (job is not null)
                    set(job); // Null when the job has just expired.
            }

            return jobs;
        }
    }
}
