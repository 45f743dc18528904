using Hangfire.States;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Queue;

namespace ImageQueue.Core.Generation;

/// <summary>Watches the Hangfire job of an attempt, and the stop of the process.</summary>
internal sealed class JobWatch(ImageJobs jobs, IOptions<ShutdownOptions> shutdown, TimeProvider time, ILogger<JobWatch> logger)
{
    /// <summary>
    /// Ends when the attempt should: at once when the job was taken from this worker, after the drain time when the process stops.
    /// </summary>
    public async Task<AttemptOutcome> WaitAsync(GenerateImageJob.Run run, CancellationToken end)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(run.Cancelled, end);
        await Task.Delay(Timeout.InfiniteTimeSpan, time, either.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        end.ThrowIfCancellationRequested();

        var result = WhyCancelled(run);
        if (result == AttemptResult.ShuttingDown && shutdown.Value.DrainTimeout is { Ticks: > 0 } drain)
        {
            logger.LogInformation("Message {MessageId} has {Drain} to finish before the process stops.", run.MessageId, drain);
            await Task.Delay(drain, time, end);
        }

        return new AttemptOutcome(result);
    }

    /// <summary>What a run's cancelled token means: its job was taken from this worker, or the process stops.</summary>
    public AttemptResult WhyCancelled(GenerateImageJob.Run run)
    {
        var state = StateOrProcessing(run.HangfireJobId);
        if (state == DeletedState.StateName)
            return AttemptResult.JobDeleted;
        return state == ProcessingState.StateName ? AttemptResult.ShuttingDown : AttemptResult.JobRequeued;
    }

    /// <summary>Hangfire's word, or what it would be if it could be asked.</summary>
    private string? StateOrProcessing(string hangfireJobId)
    {
        try
        {
            return jobs.Find(hangfireJobId)?.Name;
        }
        catch (Exception e)
        {
            logger.LogDebug(e, "Hangfire could not be asked about job {HangfireJobId}.", hangfireJobId);
            return ProcessingState.StateName;
        }
    }
}
