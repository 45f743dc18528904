using Hangfire.States;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Requests;
using Microsoft.Extensions.Logging;

namespace ImageQueue.Core.Generation;

/// <summary>One attempt at Forge: paints until there is a picture or a reason to stop.</summary>
public sealed partial class GenerateImageJob
{
    /// <summary>How long a given-up painting is awaited, so that the next request does not find Forge still busy with it.</summary>
    private static readonly TimeSpan InterruptGrace = TimeSpan.FromSeconds(5);

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
        var request = ImageRequest.FromMessage(message, models);
        if (message.Attempt > 1)
            await StopEarlierAsync(message, TaskId(jobId, message.Attempt - 1), lease);

        var started = time.GetTimestamp();
        using var end = CancellationTokenSource.CreateLinkedTokenSource(stopped);
        using var leave = new CancellationTokenSource();
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
            lease.ReportSuspect();
            throw new ForgeException(ForgeFailure.Stalled, $"no progress for {options.Value.StallTimeout}");
        }
        finally
        {
            await end.CancelAsync();
            if (!painting.IsCompleted)
                await InterruptAsync(run, message, lease, taskId, painting);
            await leave.CancelAsync();
            await ObserveAsync(message, painting, watching, deadline, leaving);
        }
    }

    /// <summary>One per attempt: Forge remembers finished tasks by name, and must not take this one for an earlier one.</summary>
    private static string TaskId(string jobId, int attempt) => FormattableString.Invariant($"{jobId}-{attempt}");

    /// <summary>
    /// Whoever painted the attempt before this one is gone, but Forge does not notice that and may still be at it, on any of
    /// the servers. Only a task of that name is interrupted.
    /// </summary>
    private async Task StopEarlierAsync(Message message, string taskId, ForgeLease lease)
    {
        foreach (var other in pool.Backends.Where(backend => backend != lease.Backend))
            _ = StopAsync(other); // Never throws, and need not be over: it frees that server for somebody else.
        await StopAsync(lease.Backend);

        async Task StopAsync(ForgeBackend backend)
        {
            try
            {
                if (await forge.InterruptAsync(backend, taskId, CancellationToken.None))
                    logger.LogInformation("Message {MessageId}: {Backend} was still painting an earlier attempt, and was interrupted.", message.Id, backend.Name);
            }
            catch (Exception e)
            {
                logger.LogDebug(e, "Message {MessageId}: {Backend} could not be asked about an earlier attempt.", message.Id, backend.Name);
            }
        }
    }

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

    /// <summary>Stops Forge if our task is the one it is painting, and gives it a moment to let go.</summary>
    private async Task InterruptAsync(Run run, Message message, ForgeLease lease, string taskId, Task painting)
    {
        try
        {
            var interrupted = await forge.InterruptAsync(lease.Backend, taskId, CancellationToken.None);
            logger.LogInformation("Message {MessageId}: Forge was {What}.", message.Id, interrupted ? "interrupted" : "not interrupted, since another task is active or it does not say");
            // When the process stops nobody comes next.
            if (interrupted && !run.Cancelled.IsCancellationRequested)
                await painting.WaitAsync(InterruptGrace, time, CancellationToken.None).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
        catch (Exception e)
        {
            // This runs while leaving, perhaps for a better reason than this one.
            logger.LogWarning(e, "Message {MessageId}: {Backend} could not be interrupted.", message.Id, lease.Backend.Name);
            lease.ReportSuspect();
        }
    }

    /// <summary>A picture that nobody wants any more may still fail; that is worth a line, not an unobserved exception.</summary>
    private async Task ObserveAsync(Message message, params Task[] tasks)
    {
        await Task.WhenAll(tasks).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        foreach (var task in tasks.Where(task => task.IsFaulted))
            logger.LogDebug(task.Exception, "Message {MessageId}: after the end.", message.Id);
    }
}
