using Hangfire.States;
using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Telemetry;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace ImageQueue.Core.Generation;

/// <summary>One attempt at one Forge: generates until there is a stored image or a reason to stop.</summary>
public sealed class ImageGenerator(
    IForgeClient forge,
    ProgressPump pump,
    ImageFiles images,
    RequestWrites writes,
    ImageJobs jobs,
    ForgeModels models,
    IQueueOrder order,
    IOptions<ForgeOptions> options,
    IOptions<ShutdownOptions> shutdown,
    TimeProvider time,
    QueueMetrics metrics,
    ILogger<ImageGenerator> logger)
{
    /// <summary>How long an image's bytes may wait for the next request to be on its way: a fraction of what generating takes.</summary>
    private static readonly TimeSpan HandOverPatience = TimeSpan.FromMilliseconds(100);

    /// <param name="run">The job.</param>
    /// <param name="message">The claimed row.</param>
    /// <param name="lease">Where to generate. Free again as soon as Forge answers, or when what was left there is over.</param>
    /// <param name="stopped">Cancelled when the row has been cancelled by a call to this process.</param>
    /// <exception cref="ForgeException">There is no image.</exception>
    /// <exception cref="IOException">The image could not be stored for a long time.</exception>
    internal async Task<GenerationEnd> GenerateAsync(GenerateImageJob.Run run, Message message, BackendReservation lease, CancellationToken stopped)
    {
        var taskId = TaskId(message);
        var request = models.RequestOf(message);
        var clock = new GenerationClock(time);
        using var end = CancellationTokenSource.CreateLinkedTokenSource(stopped);
        var call = new CancellationTokenSource(); // The pool's, once the call is left to it.
        TimeSpan? duration = null;
        var generating = forge.GenerateAsync(lease.Backend, taskId, request, AnsweredAsync, call.Token);
        lease.ReportSent();
        var watching = pump.RunAsync(lease.Backend, taskId, message, clock, end.Token);
        var leaving = LeaveAsync(run, message, end.Token);
        try
        {
            var first = await Task.WhenAny(generating, watching, leaving);
            if (first == generating)
            {
                var image = await generating;
                lease.Dispose();
                return await StoreAsync(run, message, lease, image, duration ?? clock.Elapsed);
            }

            if (stopped.IsCancellationRequested)
                return GenerationEnd.LostRow;
            if (first == leaving)
                return await leaving;
            return await watching switch
            {
                PumpEnd.LostRow => GenerationEnd.LostRow,
                PumpEnd.TimedOut => throw new ForgeException(ForgeFailure.Timeout, $"{lease.Backend.Name} has been generating for {options.Value.Timeout} without an answer"),
                _ => throw new ForgeException(ForgeFailure.Stalled, $"{lease.Backend.Name} made no progress for {options.Value.StallTimeout}"),
            };
        }
        finally
        {
            await end.CancelAsync();
            if (generating.IsCompleted)
                call.Dispose();
            else
                lease.Abandon(taskId, generating, call);
            await ObserveAsync(message, watching, leaving);
        }

        // Forge is free from here on, and the next in line gets it. To unpack, check and store this image takes processors which
        // the next one's way to Forge needs as well: a Forge that idles costs more than an image that comes a moment later.
        async Task AnsweredAsync()
        {
            duration = clock.Elapsed;
            lease.ReportAnswered();
            if (lease.NextSent is { } nextSent && (await order.GetAsync(CancellationToken.None)).Count > 0)
                await nextSent.WaitAsync(HandOverPatience, CancellationToken.None).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>One per attempt: Forge remembers finished tasks by name, and must not take this one for an earlier one. The lease's note says the same.</summary>
    internal static string TaskId(Message message) => message.JobId is { } jobId
        ? FormattableString.Invariant($"{jobId}-{message.Attempt}")
        : throw new InvalidOperationException($"Message {message.Id} has no job_id.");

    /// <summary>Ends when generating should be left: at once when the job was taken from this worker, after the drain when the process stops.</summary>
    private async Task<GenerationEnd> LeaveAsync(GenerateImageJob.Run run, Message message, CancellationToken end)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(run.Cancelled, end);
        await Task.Delay(Timeout.InfiniteTimeSpan, time, either.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        end.ThrowIfCancellationRequested();

        var state = StateOrProcessing(run.HangfireJobId);
        if (state == DeletedState.StateName)
            return GenerationEnd.Deleted;
        if (state != ProcessingState.StateName)
            return GenerationEnd.Taken;
        if (shutdown.Value.DrainTimeout is { Ticks: > 0 } drain)
        {
            logger.LogInformation("Message {MessageId} has {Drain} to be finished before the process stops.", message.Id, drain);
            await Task.Delay(drain, time, end);
        }

        return GenerationEnd.Stopping;
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

    /// <summary>
    /// The file first, under a name of this attempt's own; then the row; then the file's final name. A crash before the last
    /// step leaves a complete row whose image is found by its attempt (<see cref="ImageLocator"/>).
    /// </summary>
    private async Task<GenerationEnd> StoreAsync(GenerateImageJob.Run run, Message message, BackendReservation lease, ForgeImage image, TimeSpan duration)
    {
        metrics.CompletedGeneration(lease.Backend.Name, duration);
        var jobId = message.JobId!; // It named the task.
        using var prepared = await writes.FinishAsync(run, message, () => Task.FromResult(images.Prepare(jobId, message.Attempt, image.Bytes)));
        lease.ReportGenerated(image.Info?.Model);
        lease.ReportGeneratedElsewhere(jobId); // Whoever failed at it before is the worse for it.
        var result = new ImageResult(image.Info?.Seed, prepared.Width, prepared.Height, image.Info?.Model, duration, lease.Backend.Name);
        if (!await writes.CompleteAsync(run, message, MessagePatches.ImageUrl(jobId), MessagePatches.ThumbnailUrl(jobId), result))
            return GenerationEnd.LostRow;
        try
        {
            prepared.Publish();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // It is complete, and whoever asks for the image gets it all the same.
            prepared.Keep();
            logger.LogWarning(e, "The image of message {MessageId} has not got its final name yet; it gets it when it is first asked for.", message.Id);
        }

        return GenerationEnd.Complete;
    }

    /// <summary>What ends after the end may still fail; that is worth a line, not an unobserved exception.</summary>
    private async Task ObserveAsync(Message message, params Task[] tasks)
    {
        await Task.WhenAll(tasks).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        foreach (var task in tasks.Where(task => task.IsFaulted))
            logger.LogDebug(task.Exception, "Message {MessageId}: after the end.", message.Id);
    }
}

/// <summary>How an attempt came to its end, other than by a failure.</summary>
internal enum GenerationEnd
{
    /// <summary>The row is complete.</summary>
    Complete,

    /// <summary>The row is no longer this attempt's: cancelled, or another worker's.</summary>
    LostRow,

    /// <summary>The process stops.</summary>
    Stopping,

    /// <summary>An operator has put the job back into the queue.</summary>
    Taken,

    /// <summary>An operator has deleted the job.</summary>
    Deleted,
}

/// <summary>How long an image has been generated: waiting in Forge's own line, behind people at its page, is no generating.</summary>
public sealed class GenerationClock(TimeProvider time)
{
    private long _began = time.GetTimestamp();

    /// <summary>Since it was begun.</summary>
    public TimeSpan Elapsed => time.GetElapsedTime(Interlocked.Read(ref _began));

    /// <summary>It has not begun yet.</summary>
    public void NotYet() => Interlocked.Exchange(ref _began, time.GetTimestamp());
}
