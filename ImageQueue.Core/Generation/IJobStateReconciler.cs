using Hangfire.Server;
using ImageQueue.Core.Queue;

namespace ImageQueue.Core.Generation;

/// <summary>Brings a job and its row to agree when the row is not the worker's to write.</summary>
internal interface IJobStateReconciler
{
    /// <summary>Cancels the request: an operator has deleted its job.</summary>
    Task CancelAsync(GenerateImageJob.Run run);

    /// <summary>Ends the job as the row says.</summary>
    /// <returns>False when the row can be claimed.</returns>
    /// <exception cref="ImageRequestFailedException">The request has ended in error.</exception>
    /// <exception cref="JobAbortedException">The job is no longer this worker's.</exception>
    Task<bool> ReconcileAsync(GenerateImageJob.Run run);
}
