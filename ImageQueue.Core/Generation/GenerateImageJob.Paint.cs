using Hangfire.States;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Requests;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Generation;

/// <summary>One attempt at Forge: paints until there is a picture or a reason to stop.</summary>
public sealed partial class GenerateImageJob
{
    private enum PaintEnd
    {
        /// <summary>The row is complete.</summary>
        Complete,

        /// <summary>The row is no longer this attempt's: cancelled, or another worker's.</summary>
        LostRow,

        /// <summary>The process stops, or Hangfire wants its job back.</summary>
        Stopping,

        /// <summary>An operator has deleted the job.</summary>
        Deleted,
    }

    /// <param name="run">The job.</param>
    /// <param name="message">The claimed row.</param>
    /// <param name="lease">Where to paint.</param>
    /// <param name="stopped">Cancelled when the row has been cancelled by a call to this process.</param>
    private async Task<PaintEnd> PaintAsync(Run run, Message message, ForgeLease lease, CancellationToken stopped)
    {
        var jobId = message.JobId ?? throw new InvalidOperationException($"Message {message.Id} has no job_id.");
        var taskId = TaskId(jobId, message.Attempt);
        var request = ImageRequest.FromMessage(message, options.Value.Defaults);

        var started = time.GetTimestamp();
        using var end = CancellationTokenSource.CreateLinkedTokenSource(stopped);
        var leave = new CancellationTokenSource(); // The drain's when it is abandoned.
        var painting = forge.PaintAsync(lease.Backend, taskId, request, leave.Token);
        var watching = pump.RunAsync(lease.Backend, taskId, message, end.Token);
        var deadline = Task.Delay(options.Value.Timeout, time, end.Token);
        var leaving = LeaveAsync(run, message, end.Token);
        try
        {
            var first = await Task.WhenAny(painting, watching, deadline, leaving);
            if (first == painting)
            {
                var picture = await painting;
                var duration = time.GetElapsedTime(started);
                // Forge is free from here on: the next in line gets it while this picture is checked and stored.
                lease.ReportPainted(picture.Info?.Model);
                lease.Dispose();
                return await CompleteAsync(run, message, jobId, picture, duration);
            }

            if (stopped.IsCancellationRequested)
                return PaintEnd.LostRow;
            if (first == leaving)
                return await leaving;
            if (first == deadline)
                throw new ForgeException(ForgeFailure.Timeout, $"no answer within {options.Value.Timeout}");
            if (await watching == PumpEnd.LostRow)
                return PaintEnd.LostRow;
            throw new ForgeException(ForgeFailure.Stalled, $"no progress for {options.Value.StallTimeout}");
        }
        finally
        {
            await end.CancelAsync();
            if (painting.IsCompleted)
                leave.Dispose();
            else
                lease.Abandon(taskId, painting, leave);
            await ObserveAsync(message, watching, deadline, leaving);
        }
    }

    /// <summary>One per attempt: Forge remembers finished tasks by name, and must not take this one for an earlier one.</summary>
    private static string TaskId(string jobId, int attempt) => FormattableString.Invariant($"{jobId}-{attempt}");

    /// <summary>Ends when painting should be left: at once when the job was taken from this worker, after the drain when the process stops.</summary>
    private async Task<PaintEnd> LeaveAsync(Run run, Message message, CancellationToken end)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(run.Cancelled, end);
        await Task.Delay(Timeout.InfiniteTimeSpan, time, either.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        end.ThrowIfCancellationRequested();

        var state = StateOrProcessing(run.HangfireJobId);
        if (state == DeletedState.StateName)
            return PaintEnd.Deleted;
        if (state == ProcessingState.StateName && shutdown.Value.DrainTimeout is { Ticks: > 0 } drain)
        {
            logger.LogInformation("Message {MessageId} has {Drain} to be finished before the process stops.", message.Id, drain);
            await Task.Delay(drain, time, end);
        }

        return PaintEnd.Stopping;
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

    private async Task<PaintEnd> CompleteAsync(Run run, Message message, string jobId, ForgePicture picture, TimeSpan duration)
    {
        using var prepared = images.Prepare(jobId, message.Attempt, picture.Bytes);
        var result = new ImageResult(picture.Info?.Seed, prepared.Width, prepared.Height, picture.Info?.Model, duration, message.Backend);
        var imageUrl = MessagePatches.ImageUrl(jobId);
        var completed = await FinishAsync(run, message, () => store.CompleteAsync(
            message.Id, message.Attempt, texts.Complete(imageUrl), imageUrl, result, CancellationToken.None));
        if (completed.Applied || IsMine(completed.Message, message, MessageStatus.Complete))
        {
            prepared.Publish();
            return PaintEnd.Complete;
        }

        logger.LogInformation("Message {MessageId} is {Status}; attempt {Attempt}'s picture is dropped.", message.Id, completed.Message?.Status ?? "gone", message.Attempt);
        return PaintEnd.LostRow;
    }

    /// <summary>What is not waited for any more may still fail; that is worth a line, not an unobserved exception.</summary>
    private async Task ObserveAsync(Message message, params Task[] tasks)
    {
        await Task.WhenAll(tasks).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        foreach (var task in tasks.Where(task => task.IsFaulted))
            logger.LogDebug(task.Exception, "Message {MessageId}: after the end.", message.Id);
    }
}
