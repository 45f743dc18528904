using ImageQueue.Core.Forge;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Telemetry;

namespace ImageQueue.Core.Generation;

/// <summary>Runs an attempt: generates until there is a stored image or a reason to stop.</summary>
internal sealed class ImageGenerator(
    IForgeClient forge, ProgressPump pump, JobWatch watch, RequestWrites writes, IQueueOrder order, TimeProvider time, QueueMetrics metrics,
    ILogger<ImageGenerator> logger)
{
    /// <summary>How long an image's bytes may wait for the next request to be on its way: a fraction of what generating takes.</summary>
    private static readonly TimeSpan HandOverPatience = TimeSpan.FromMilliseconds(100);

    /// <param name="stopped">Cancelled when this process has cancelled the row.</param>
    /// <exception cref="StoreUnavailableException">The database stays away; the row is found by the sweep.</exception>
    /// <exception cref="OperationCanceledException">The job is no longer this worker's.</exception>
    public async Task<AttemptOutcome> RunAsync(Attempt attempt, CancellationToken stopped)
    {
        metrics.RecordHandover(
            attempt.Reservation.Backend.Name, attempt.Reservation.Idle, attempt.Message.UpdatedAt - attempt.Message.QueuedAt);
        using var activity = QueueTracing.StartGenerate(attempt.Reservation.Backend.Name, attempt.Message.Attempt);
        var stops = attempt.Run.Cancelled;
        try
        {
            return Record(attempt, await GenerateAsync(attempt, stopped));
        }
        catch (Exception e) when (e is not StoreUnavailableException && !(e is OperationCanceledException && stops.IsCancellationRequested))
        {
            activity.Fail(e, (e as ForgeException)?.Failure);
            return Record(attempt, AttemptOutcome.Of(e, stops.IsCancellationRequested));
        }
    }

    /// <inheritdoc cref="JobWatch.WhyCancelled"/>
    public AttemptResult WhyCancelled(GenerateImageJob.Run run) => watch.WhyCancelled(run);

    private AttemptOutcome Record(Attempt attempt, AttemptOutcome outcome)
    {
        metrics.RecordAttempt(attempt.Reservation.Backend.Name, outcome.Result);
        return outcome;
    }

    private async Task<AttemptOutcome> GenerateAsync(Attempt attempt, CancellationToken stopped)
    {
        var reservation = attempt.Reservation;
        var request = await writes.FindSourceAsync(attempt);
        var clock = new GenerationClock(time);
        using var end = CancellationTokenSource.CreateLinkedTokenSource(stopped);
        var call = new CancellationTokenSource(); // The pool's, once the call is left to it.
        TimeSpan? duration = null;
        var why = "its request was cancelled, or is another worker's by now";
        var generating = forge.GenerateAsync(reservation.Backend, attempt.TaskId, request, OnAnsweredAsync, call.Token);
        reservation.ReportSent();
        var watching = pump.RunAsync(attempt, clock, end.Token);
        var leaving = watch.WaitAsync(attempt.Run, end.Token);
        try
        {
            var first = await Task.WhenAny(generating, watching, leaving);
            if (first == generating)
            {
                var image = await generating;
                clock.Stop(); // Heartbeats go on until the image is stored, however long that takes.
                reservation.Dispose();
                metrics.RecordGeneration(reservation.Backend.Name, duration ?? clock.Elapsed);
                return await writes.StoreAsync(attempt, image, duration ?? clock.Elapsed);
            }

            if (stopped.IsCancellationRequested)
                return new AttemptOutcome(AttemptResult.Superseded);
            var outcome = await (first == leaving ? leaving : watching);
            why = outcome.Result switch
            {
                AttemptResult.Failed => $"its request ended: {(outcome.Failure == ForgeFailure.Stalled ? "stalled" : "timed out")}",
                AttemptResult.JobRequeued => "its request's job was put back into the queue",
                AttemptResult.ShuttingDown => "the process that had sent its request stops",
                _ => why,
            };
            return outcome;
        }
        finally
        {
            await end.CancelAsync();
            if (generating.IsCompleted)
                call.Dispose();
            else
                reservation.Abandon(attempt.TaskId, why, generating, call);
            await ObserveAsync(attempt.Message, watching, leaving);
        }

        // The backend is free from here on, and the next waiter gets it. To unpack, check and store this image takes processors which
        // the next request's way to Forge needs as well: a GPU that idles costs more than an image that comes a moment later.
        async Task OnAnsweredAsync()
        {
            duration = clock.Elapsed;
            reservation.ReportAnswered();
            if (reservation.NextSent is { } nextSent && (await order.GetAsync(CancellationToken.None)).Count > 0)
                await nextSent.WaitAsync(HandOverPatience, CancellationToken.None).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>What ends after the attempt may still fail; that is worth a log entry, not an unobserved exception.</summary>
    private async Task ObserveAsync(Message message, params Task[] tasks)
    {
        await Task.WhenAll(tasks).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        foreach (var task in tasks.Where(task => task.IsFaulted))
            logger.LogDebug(task.Exception, "Message {MessageId}, attempt {Attempt}: failed after its end.", message.Id, message.Attempt);
    }
}
