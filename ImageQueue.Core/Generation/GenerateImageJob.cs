using Hangfire;
using Hangfire.Server;
using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Messages;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Recovery;
using ImageQueue.Core.Telemetry;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace ImageQueue.Core.Generation;

/// <summary>The Hangfire job of one image request: takes a Forge, claims the row, generates, and writes how it ended.</summary>
/// <remarks>
/// The row decides; Hangfire's state follows it: complete is Succeeded, error is Failed, cancelled is Deleted. A crash anywhere
/// here leaves a processing row, which the next run of the same job claims again, or the sweep gives back to the queue.
/// </remarks>
public sealed class GenerateImageJob(
    RequestWrites writes,
    ImageGenerator painter,
    JobStateReconciler follower,
    FailurePolicy policy,
    RunningJobs running,
    IQueueOrder order,
    ForgeModels models,
    IOptions<ForgeOptions> options,
    QueueMetrics metrics,
    ILogger<GenerateImageJob> logger) : IImageJob
{
    private const string Stops = "the process stops";

    /// <inheritdoc/>
    public Task RunAsync(long messageId, PerformContext context, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(context);
        var fetched = (context.Connection as CapacityGatedConnection)?.Fetched
            ?? throw new InvalidOperationException("Image jobs run on the server for images alone, whose storage is a CapacityGatedStorage.");
        var run = new Run(messageId, context.BackgroundJob.Id, fetched, context.CancellationToken, cancellationToken);

        // Hangfire runs a job's continuations on the worker's own thread, and stops doing so once the token is cancelled: what
        // a job awaits after that would never go on (CoreBackgroundJobPerformer.InvokeOnTaskPump). So not on that thread.
        return Task.Run(() => TraceAsync(run, context), CancellationToken.None);
    }

    private async Task TraceAsync(Run run, PerformContext context)
    {
        using var activity = QueueTracing.StartProcess(context, run.MessageId);
        try
        {
            await RunAsync(run);
        }
        catch (Exception e) when (e is not (JobAbortedException or OperationCanceledException))
        {
            activity.Fail(e);
            throw;
        }
    }

    /// <summary>Generates the message's image.</summary>
    /// <exception cref="ImageRequestFailedException">The request has ended in error; its row says so.</exception>
    /// <exception cref="OperationCanceledException">The process stops, or an operator has deleted the job.</exception>
    /// <exception cref="JobAbortedException">The job was put back to where it was, or was taken from this worker.</exception>
    internal async Task RunAsync(Run run)
    {
        using var scope = logger.BeginScope("Message {MessageId}, Hangfire job {HangfireJobId}", run.MessageId, run.HangfireJobId);

        // A request whose server failed goes on with its turn, to another server if there is one.
        while (!await TryAsync(run))
        {
        }
    }

    /// <returns>False when the request is to be begun again.</returns>
    private async Task<bool> TryAsync(Run run)
    {
        // What it asks for decides where it can be generated; what has ended meanwhile needs no Forge.
        if (await writes.FindAsync(run) is not { Status: MessageStatus.Queued or MessageStatus.Processing } wanted)
            return await follower.FollowAsync(run);
        var wish = RequestRequirements.Of(wanted, models, run.FailedAt);
        BackendReservation? lease;
        try
        {
            lease = await run.Fetched.AcquireAsync(wish, run.Cancelled);
        }
        catch (ForgeException e)
        {
            return await FailWithoutBackendAsync(run, policy.NoSuitableBackend, e);
        }

        if (lease is null)
            throw GiveBack(run, "no Forge is healthy and in use");
        using (lease)
        {
            await run.Fetched.EarlierClaims.WaitAsync(run.Cancelled);
            var claim = await writes.ClaimAsync(run, lease);
            run.Fetched.StepAside();
            if (claim is not { Applied: true, Message: { } message })
                return await follower.FollowAsync(run);
            order.Remove(run.HangfireJobId);
            metrics.HandedOver(lease.Backend.Name, lease.Idle, message);
            return await AttemptAsync(run, message, lease);
        }
    }

    /// <returns>False when the request is to be begun again.</returns>
    private async Task<bool> AttemptAsync(Run run, Message message, BackendReservation lease)
    {
        using var scope = logger.BeginScope("job {JobId}, attempt {Attempt}, {Forge}", message.JobId, message.Attempt, lease.Backend.Name);
        using var activity = QueueTracing.StartGenerate(lease.Backend.Name, message.Attempt);
        using var stop = new CancellationTokenSource();
        using var registration = running.Register(message.Id, stop);
        if (message.Failures >= options.Value.MaxAttempts)
            return await FailAsync(run, message, policy.Abandoned(message.Failures), null);

        Exception failure;
        try
        {
            switch (await painter.GenerateAsync(run, message, lease, stop.Token))
            {
                case GenerationEnd.Complete:
                    return true;
                case GenerationEnd.Stopping:
                    await writes.RequeueAsync(run, message, AttemptCharge.None, Stops);
                    throw GiveBack(run, Stops);
                case GenerationEnd.Taken:
                    await writes.RequeueAsync(run, message, AttemptCharge.None, "an operator has put its job back into the queue");
                    throw new JobAbortedException();
                case GenerationEnd.Deleted:
                    await follower.CancelAsync(run);
                    throw new JobAbortedException();
                default:
                    return await follower.FollowAsync(run);
            }
        }
        catch (Exception e) when (MeansFailure(e, run))
        {
            failure = e;
            activity.Fail(e);
        }

        // Forge and we are stopping together, as the simulator and we always do.
        if (failure is ForgeException { Failure: ForgeFailure.Unavailable or ForgeFailure.Disrupted } && run.Cancelled.IsCancellationRequested)
        {
            await writes.RequeueAsync(run, message, AttemptCharge.None, Stops);
            throw GiveBack(run, Stops);
        }

        var decision = policy.Decide(failure, message);
        Report(lease, message, failure, decision);
        if (decision.End is { } end)
            return await FailAsync(run, message, end, failure);
        logger.LogWarning(
            "Message {MessageId}, attempt {Attempt}: {Backend} did not generate it ({Reason}); it goes on with its turn.",
            message.Id,
            message.Attempt,
            lease.Backend.Name,
            (failure as ForgeException)?.Reason ?? failure.Message);
        run.FailedAt.Add(lease.Backend.Name);
        var requeued = await writes.RequeueAsync(run, message, decision.IsBlamed ? AttemptCharge.Failure : AttemptCharge.None, (failure as ForgeException)?.Reason ?? failure.Message);
        return !requeued.Applied && await follower.FollowAsync(run);
    }

    /// <summary>What the pool should know of the server.</summary>
    private static void Report(BackendReservation lease, Message message, Exception failure, FailureDecision decision)
    {
        var reason = (failure as ForgeException)?.Reason ?? failure.Message;
        if (decision.Server == ServerVerdict.Down && failure is ForgeException down)
            lease.ReportUnavailable(down, ImageGenerator.TaskId(message));
        else if (decision.Server == ServerVerdict.Doubtful)
            lease.ReportFailed(message.JobId ?? "", reason);
    }

    /// <summary>Whether the request failed, and not this worker: a job that was taken from it, or a database that stays away, say nothing of the request.</summary>
    private static bool MeansFailure(Exception e, Run run) => e switch
    {
        OperationCanceledException => !run.Cancelled.IsCancellationRequested,
        ImageRequestFailedException or JobAbortedException or StoreUnavailableException => false,
        _ => true,
    };

    /// <summary>Puts the job back to where it was; whoever has a Forge next takes it from there.</summary>
    private JobAbortedException GiveBack(Run run, string why)
    {
        var isBack = run.Fetched.TryGiveBack(why);
        logger.LogInformation("Message {MessageId} goes back into the queue{Where}: {Why}.", run.MessageId, isBack ? ", to its place" : "", why);
        return new JobAbortedException();
    }

    /// <summary>Ends a request that no server can generate: claimed first, since only its own attempt may end it.</summary>
    private async Task<bool> FailWithoutBackendAsync(Run run, RequestFailure failure, ForgeException cause)
    {
        run.Fetched.StepAside();
        if (await writes.ClaimAsync(run, lease: null) is not { Applied: true, Message: { } message })
            return await follower.FollowAsync(run);
        order.Remove(run.HangfireJobId);
        return await FailAsync(run, message, failure, cause);
    }

    /// <returns>False when the row was lost meanwhile and can be claimed again.</returns>
    /// <exception cref="ImageRequestFailedException">The request has ended in error.</exception>
    private async Task<bool> FailAsync(Run run, Message message, RequestFailure failure, Exception? cause)
    {
        // One entry with one stack, and none for what Forge says of a request: that is no mistake of anybody's here.
        var isPlain = failure.Code is ErrorCodes.Rejected or ErrorCodes.OutOfMemory or ErrorCodes.TimedOut or ErrorCodes.Stalled;
        logger.Log(
            isPlain ? LogLevel.Warning : LogLevel.Error,
            isPlain ? null : cause,
            "Message {MessageId}, attempt {Attempt}, {Backend}: {Code} ({Reason})",
            message.Id,
            message.Attempt,
            message.Backend,
            failure.Code,
            (cause as ForgeException)?.Reason ?? failure.Sentence);
        return await writes.FailAsync(run, message, failure with { Reason = (cause as ForgeException)?.Reason ?? cause?.Message })
            ? throw new ImageRequestFailedException(failure.Sentence)
            : await follower.FollowAsync(run);
    }

    /// <summary>One run of a Hangfire job.</summary>
    /// <param name="MessageId">The message.</param>
    /// <param name="HangfireJobId">The job.</param>
    /// <param name="Fetched">How it came here: its turn, and what goes back when it is not used.</param>
    /// <param name="Hangfire">Throws when the job is no longer this worker's.</param>
    /// <param name="Cancelled">
    /// Cancelled as soon as this process is asked to stop (what is being generated then has <see cref="ShutdownOptions.DrainTimeout"/>),
    /// and soon after the job was taken from this worker: deleted, or put back into the queue.
    /// </param>
    internal sealed record Run(
        long MessageId, string HangfireJobId, CapacityGatedFetch.FetchedRequest Fetched, IJobCancellationToken Hangfire, CancellationToken Cancelled)
    {
        /// <summary>The servers that have failed the request in this run; others are asked first.</summary>
        public HashSet<string> FailedAt { get; } = new(StringComparer.Ordinal);
    }
}
