using Hangfire;
using Hangfire.Server;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Requests;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace ImageQueue.Core.Generation;

/// <summary>The Hangfire job of one image request: waits for a free Forge, claims the row, paints, and writes how it ended.</summary>
public sealed class GenerateImageJob(
    IMessageStore store,
    ForgePool pool,
    IForgeClient forge,
    ProgressPump pump,
    ImageFiles images,
    FailurePolicy policy,
    MessageTexts texts,
    HeldJobs held,
    RunningJobs running,
    IQueueOrder order,
    IOptions<ForgeOptions> options,
    TimeProvider time,
    ILogger<GenerateImageJob> logger)
{
    /// <summary>How long a given-up painting is awaited, so that the next request does not find Forge still busy with it.</summary>
    private static readonly TimeSpan InterruptGrace = TimeSpan.FromSeconds(5);

    /// <summary>What Hangfire calls. Attempts are counted in the row: a Hangfire retry would send the request to the queue's tail.</summary>
    [AutomaticRetry(Attempts = 0)]
    [JobDisplayName("Image for message {0}")]
    public Task RunAsync(long messageId, PerformContext context, CancellationToken cancellationToken) =>
        RunAsync(messageId, context.BackgroundJob.Id, context.CancellationToken.ShutdownToken, cancellationToken);

    /// <summary>Paints the message's picture.</summary>
    /// <param name="messageId">The message.</param>
    /// <param name="hangfireJobId">The Hangfire job that this is.</param>
    /// <param name="shutdown">Cancelled when this process stops.</param>
    /// <param name="cancellationToken">Cancelled when this process stops or Hangfire's job is deleted.</param>
    /// <exception cref="ImageRequestFailedException">The request has ended in error; its row says so.</exception>
    /// <exception cref="OperationCanceledException">The process stops; the request is queued again, or the job was deleted.</exception>
    internal async Task RunAsync(long messageId, string hangfireJobId, CancellationToken shutdown, CancellationToken cancellationToken)
    {
        while (true)
        {
            using var holding = held.Hold(hangfireJobId);
            order.Changed();
            using var lease = await AcquireAsync(messageId, hangfireJobId, cancellationToken);

            var claim = await store.ClaimAsync(messageId, hangfireJobId, cancellationToken);
            holding.Dispose();
            order.Changed();
            if (claim is not { Applied: true, Message: { } message })
            {
                logger.LogInformation("Message {MessageId} is {Status}; there is nothing to paint.", messageId, claim.Message?.Status ?? "gone");
                return;
            }

            if (await AttemptAsync(message, lease, shutdown, cancellationToken))
                return;
        }
    }

    /// <summary>Waits for a server; when none is healthy for too long, the request ends in error.</summary>
    private async Task<ForgeLease> AcquireAsync(long messageId, string hangfireJobId, CancellationToken cancellationToken)
    {
        try
        {
            return await pool.AcquireAsync(options.Value.WaitForBackend, cancellationToken);
        }
        catch (ForgeException e)
        {
            var claim = await store.ClaimAsync(messageId, hangfireJobId, cancellationToken);
            if (claim is { Applied: true, Message: { } message })
                await FailAsync(message, policy.NoBackend().Sentence!, e); // NoBackend always has a sentence.
            throw new ImageRequestFailedException(e.Reason, e);
        }
    }

    /// <returns>False when the request is to be begun again.</returns>
    private async Task<bool> AttemptAsync(Message message, ForgeLease lease, CancellationToken shutdown, CancellationToken cancellationToken)
    {
        try
        {
            var tries = AttemptNumber.Tries(message.Attempt);
            if (tries > options.Value.MaxAttempts)
            {
                // Every earlier attempt took its process with it, or this one would not be needed.
                var abandoned = texts.Abandoned(tries - 1);
                await FailAsync(message, abandoned, null);
                throw new ImageRequestFailedException(abandoned);
            }

            await PaintAsync(message, lease, cancellationToken);
            return true;
        }
        catch (OperationCanceledException) when (shutdown.IsCancellationRequested)
        {
            // Hangfire puts its job back; the row must not look as if somebody were still painting.
            await FinishAsync(message, () => store.RequeueAsync(message.Id, message.Attempt, 1, CancellationToken.None));
            throw;
        }
        catch (Exception e) when (e is not OperationCanceledException and not ImageRequestFailedException)
        {
            if (e is ForgeException { Failure: ForgeFailure.Unavailable } unavailable)
                lease.ReportUnavailable(unavailable.Reason);
            var decision = policy.Decide(e, AttemptNumber.Tries(message.Attempt));
            if (decision.Sentence is not { } sentence)
            {
                logger.LogWarning(e, "Message {MessageId}, attempt {Attempt}: {Backend} failed; trying again.", message.Id, message.Attempt, lease.Backend.Name);
                var requeued = await FinishAsync(message, () => store.RequeueAsync(message.Id, message.Attempt, 1, CancellationToken.None));
                return !requeued.Applied;
            }

            await FailAsync(message, sentence, e);
            throw new ImageRequestFailedException(sentence, e);
        }
    }

    private async Task PaintAsync(Message message, ForgeLease lease, CancellationToken cancellationToken)
    {
        // One per attempt: Forge remembers finished tasks by name, and must not take this one for an earlier one.
        var jobId = message.JobId ?? throw new InvalidOperationException($"Message {message.Id} has no job_id.");
        var taskId = $"{jobId}-{message.Attempt}";
        var started = time.GetTimestamp();

        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        using var registration = running.Register(message.Id, stop);
        using var leave = new CancellationTokenSource();
        var painting = forge.PaintAsync(lease.Backend, taskId, ImageRequest.FromMessage(message, options.Value.Defaults), leave.Token);
        var watching = pump.RunAsync(lease.Backend, taskId, message, stop.Token);
        var deadline = Task.Delay(options.Value.Timeout, time, stop.Token);
        try
        {
            if (await Task.WhenAny(painting, watching, deadline) == painting)
            {
                var picture = await painting;
                // Forge is free from here on: the next in line gets it while this picture is checked and stored.
                lease.Dispose();
                await CompleteAsync(message, jobId, picture, time.GetElapsedTime(started));
                return;
            }

            // Somebody stopped it, or the row is lost, or it took too long.
            if (watching.IsCompletedSuccessfully)
            {
                if (watching.Result == PumpEnd.Stalled)
                {
                    lease.ReportSuspect();
                    throw new ForgeException(ForgeFailure.Stalled, $"no progress for {options.Value.StallTimeout}");
                }

                logger.LogInformation("Message {MessageId} is no longer attempt {Attempt}'s; its picture is dropped.", message.Id, message.Attempt);
                return;
            }

            if (deadline.IsCompletedSuccessfully)
                throw new ForgeException(ForgeFailure.Timeout, $"no answer within {options.Value.Timeout}");
            await (watching.IsFaulted ? watching : deadline); // Rethrows.
        }
        finally
        {
            await stop.CancelAsync();
            if (!painting.IsCompleted)
                await InterruptAsync(message, lease, taskId, painting);
            await leave.CancelAsync();
            await ObserveAsync(message, painting, watching);
        }
    }

    private async Task CompleteAsync(Message message, string jobId, ForgePicture picture, TimeSpan duration)
    {
        using var prepared = images.Prepare(jobId, message.Attempt, picture.Bytes);
        var result = new ImageResult(picture.Info?.Seed, prepared.Width, prepared.Height, picture.Info?.Model, duration);
        var imageUrl = MessagePatches.ImageUrl(jobId);
        var completed = await FinishAsync(message, () => store.CompleteAsync(
            message.Id, message.Attempt, texts.Complete(imageUrl), imageUrl, result, prepared.Publish, CancellationToken.None));
        if (!completed.Applied)
            logger.LogInformation("Message {MessageId} is {Status}; attempt {Attempt}'s picture is dropped.", message.Id, completed.Message?.Status ?? "gone", message.Attempt);
    }

    private async Task FailAsync(Message message, string sentence, Exception? cause)
    {
        logger.LogError(cause, "Message {MessageId}, attempt {Attempt}: {Sentence}", message.Id, message.Attempt, sentence);
        await FinishAsync(message, () => store.FailAsync(message.Id, message.Attempt, texts.Failed(sentence), sentence, CancellationToken.None));
    }

    /// <summary>Waits out a database that is away for a moment: minutes of painting should not be lost to it.</summary>
    private async Task<Transition> FinishAsync(Message message, Func<Task<Transition>> finish)
    {
        for (var wait = TimeSpan.FromMilliseconds(200); ; wait *= 2)
        {
            try
            {
                return await finish();
            }
            catch (StoreUnavailableException e) when (wait < TimeSpan.FromSeconds(15))
            {
                logger.LogWarning(e, "How message {MessageId} ended could not be stored; trying again in {Wait}.", message.Id, wait);
                await Task.Delay(wait, time, CancellationToken.None);
            }
        }
    }

    /// <summary>Stops Forge if our task is the one it is painting, and gives it a moment to let go.</summary>
    private async Task InterruptAsync(Message message, ForgeLease lease, string taskId, Task painting)
    {
        try
        {
            var interrupted = await forge.InterruptAsync(lease.Backend, taskId, CancellationToken.None);
            logger.LogInformation("Message {MessageId}: Forge was {What}.", message.Id, interrupted ? "interrupted" : "not interrupted, since another task is active or it does not say");
            if (interrupted)
                await painting.WaitAsync(InterruptGrace, time, CancellationToken.None).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
        catch (ForgeException e)
        {
            logger.LogWarning(e, "Message {MessageId}: {Backend} could not be interrupted.", message.Id, lease.Backend.Name);
            lease.ReportSuspect();
        }
    }

    /// <summary>A picture that nobody wants any more may still fail; that is worth a line, not an unobserved exception.</summary>
    private async Task ObserveAsync(Message message, Task painting, Task watching)
    {
        await Task.WhenAll(painting, watching).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        foreach (var task in new[] { painting, watching }.Where(task => task.IsFaulted))
            logger.LogDebug(task.Exception, "Message {MessageId}: after the end.", message.Id);
    }
}
