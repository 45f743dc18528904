using Hangfire;
using Hangfire.Server;
using ImageQueue.Core.Backends;
using ImageQueue.Core.Forge;
using ImageQueue.Core.Hosting;
using ImageQueue.Core.Queue;
using ImageQueue.Core.Telemetry;

namespace ImageQueue.Core.Generation;

/// <summary>The Hangfire job of one image request: reserves a backend, claims the row, generates, and writes how it ended.</summary>
/// <remarks>
/// The row decides; Hangfire's state follows it: complete is Succeeded, error is Failed, cancelled is Deleted. A crash anywhere
/// here leaves a processing row, which the next run of the same job claims again, or the sweep gives back to the queue.
/// </remarks>
internal sealed class GenerateImageJob(
    RequestWrites writes, ImageGenerator generator, IJobStateReconciler reconciler, FailurePolicy policy, DisruptionLedger disruptions,
    RunningJobs running, ForgeModels models, ILogger<GenerateImageJob> logger) : IImageJob
{
    public Task RunAsync(long messageId, PerformContext context, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(context);
        var fetched = (context.Connection as CapacityGatedConnection)?.Fetched
            ?? throw new InvalidOperationException(
                "Image jobs run on the server for images alone, whose storage is a CapacityGatedStorage.");
        var run = new Run(messageId, context.BackgroundJob.Id, fetched, context.CancellationToken, cancellationToken);

        // Hangfire runs a job's continuations on the worker's own thread, and stops doing so once the token is cancelled: what
        // a job awaits after that would never go on (CoreBackgroundJobPerformer.InvokeOnTaskPump). So not on that thread.
        return Task.Run(() => TraceAsync(run, context), CancellationToken.None);
    }

    private async Task TraceAsync(Run run, PerformContext context)
    {
        using var activity = QueueTracing.StartProcess(run.HangfireJobId, run.MessageId, JobTrace.ReadContext(context));
        try
        {
            await RunAsync(run);
        }
        catch (Exception e) when (e is not (JobAbortedException or OperationCanceledException))
        {
            activity.Fail(e, (e as ForgeException)?.Failure);
            throw;
        }
    }

    /// <exception cref="ImageRequestFailedException">The request has ended in error; its row says so.</exception>
    /// <exception cref="OperationCanceledException">The process stops, or an operator has deleted the job.</exception>
    /// <exception cref="JobAbortedException">The job went back to its place, or was taken from this worker.</exception>
    internal async Task RunAsync(Run run)
    {
        using var scope = logger.BeginScope("Message {MessageId}, Hangfire job {HangfireJobId}", run.MessageId, run.HangfireJobId);

        // A request that its backend failed keeps its position, and goes to another backend if there is one.
        try
        {
            while (!await TryAsync(run))
            {
            }
        }
        catch (Exception e) when (e is not (ImageRequestFailedException or JobAbortedException or OperationCanceledException))
        {
            logger.LogError(e, "Message {MessageId}: its Hangfire job {HangfireJobId} has failed.", run.MessageId, run.HangfireJobId);
            throw;
        }
    }

    /// <returns>False when there is to be another attempt.</returns>
    private async Task<bool> TryAsync(Run run)
    {
        // What it asks for decides where it can be generated; what has ended meanwhile needs no backend.
        if (await writes.FindAsync(run) is not { Status: MessageStatus.Queued or MessageStatus.Processing } wanted)
            return await reconciler.ReconcileAsync(run);
        BackendReservation? reservation;
        try
        {
            reservation = await run.Fetched.AcquireAsync(BackendRequirements.Of(wanted, models, run.FailedBackends), run.Cancelled);
        }
        catch (ForgeException e)
        {
            return await FailWithoutBackendAsync(run, policy.NoSuitableBackend, e);
        }

        if (reservation is null)
            throw await GiveBackAsync(run, "no backend is healthy and in use");
        using (reservation)
        {
            var claim = await writes.ClaimAsync(run, reservation);
            run.Fetched.LeaveGate();
            if (claim is not { Applied: true, Message: { } message })
                return await reconciler.ReconcileAsync(run);
            return await AttemptAsync(new Attempt(run, message, reservation) { Request = models.RequestOf(message) });
        }
    }

    /// <returns>False when there is to be another attempt.</returns>
    private async Task<bool> AttemptAsync(Attempt attempt)
    {
        var message = attempt.Message;
        using var scope = logger.BeginScope(
            "job {JobId}, attempt {Attempt}, {Backend}", message.JobId, message.Attempt, attempt.Reservation.Backend.Name);
        using var stop = new CancellationTokenSource();
        using var registration = running.Register(message.Id, stop);
        if (policy.IsExhausted(message.Failures))
            return await FailAsync(attempt, policy.Abandoned(message.Failures), LogLevel.Error, null);

        // A canary has found the request at fault since its last attempt.
        if (disruptions.TakeDecided(message.Id) is { } earlier)
            return await SettleAsync(attempt, Count(attempt, earlier));

        // The claim waits for the database, and the lease ends meanwhile: another process may use the backend by now.
        if (!attempt.Reservation.IsLeased)
        {
            var lost = new ForgeException(ForgeFailure.Unavailable, "its lease ended before the request was sent");
            return await SettleAsync(attempt, new AttemptOutcome(AttemptResult.Failed, lost));
        }

        return await SettleAsync(attempt, await JudgeAsync(attempt, await generator.RunAsync(attempt, stop.Token), stop.Token));
    }

    /// <summary>Tells the backend's circuit breaker, and waits for its canary where that decides whose fault it was.</summary>
    private async Task<AttemptOutcome> JudgeAsync(Attempt attempt, AttemptOutcome outcome, CancellationToken stopped)
    {
        var (reservation, message, reason) = (attempt.Reservation, attempt.Message, outcome.Reason ?? "");
        var signal = policy.Resolve(outcome, message).Signal;
        if (signal == BackendSignal.Unavailable)
            reservation.ReportUnavailable(reason);
        if (signal is BackendSignal.None or BackendSignal.Unavailable)
            return outcome;
        var verdict = signal == BackendSignal.Disrupted
            ? reservation.ReportDisrupted((ForgeException)outcome.Cause!, attempt.TaskId) // Only a backend disrupts.
            : reservation.ReportFailed(message.JobId ?? "", reason, isLast: signal == BackendSignal.FailedForGood);
        reservation.Dispose(); // The canary needs the backend.
        using var either = CancellationTokenSource.CreateLinkedTokenSource(stopped, attempt.Run.Cancelled);

        // A request that this verdict may end is sent nowhere else before it.
        var canGoOn = !policy.IsLastDisruption(message.Disruptions + disruptions.CountOpen(message.Id) + 1);
        var isRequestAtFault = await reservation.WaitForVerdictAsync(verdict, canGoOn, either.Token);
        if (attempt.Run.Cancelled.IsCancellationRequested && isRequestAtFault != true)
            return new AttemptOutcome(generator.WhyCancelled(attempt.Run), outcome.Cause);
        if (isRequestAtFault is null && signal == BackendSignal.Disrupted && !stopped.IsCancellationRequested)
            disruptions.Add(message.Id, reservation.Backend.Name, outcome.Cause!, verdict); // There is one: it disrupted.
        outcome = outcome with { IsBackendAtFault = isRequestAtFault != true };
        return outcome is { Result: AttemptResult.Disrupted, IsBackendAtFault: false } ? Count(attempt, outcome) : outcome;
    }

    private AttemptOutcome Count(Attempt attempt, AttemptOutcome outcome) =>
        outcome with { HaveOthersCompleted = disruptions.HaveOthersCompleted(attempt.Message.Id, BackendOf(attempt, outcome)) };

    private static string BackendOf(Attempt attempt, AttemptOutcome outcome) =>
        outcome.EarlierBackend ?? attempt.Reservation.Backend.Name;

    /// <returns>False when there is to be another attempt.</returns>
    private async Task<bool> SettleAsync(Attempt attempt, AttemptOutcome outcome)
    {
        var (run, message, resolution) = (attempt.Run, attempt.Message, policy.Resolve(outcome, attempt.Message));
        if (resolution.Row == RowChange.Fail)
            return await FailAsync(attempt, resolution.Failure!.Value, resolution.Level, outcome.Cause); // A failing row has one.
        if (resolution.Row == RowChange.Cancel)
            await reconciler.CancelAsync(run);
        var isRequeued = false;
        if (resolution.Row is RowChange.RequeueInPlace or RowChange.RequeueAtTail)
        {
            logger.Log(
                resolution.Level,
                "Message {MessageId}, attempt {Attempt} on {Backend} ended without an image ({Reason}); requeued, charged with {Charge}.",
                message.Id, message.Attempt, BackendOf(attempt, outcome), resolution.Reason, resolution.Charge);
            isRequeued = (await writes.RequeueAsync(attempt, resolution)).Applied;
        }

        switch (resolution.Next)
        {
            case NextStep.Finish:
                disruptions.Forget(message.Id);
                return true;
            case NextStep.Abort:
                throw new JobAbortedException();
            case NextStep.GiveBack:
                throw await GiveBackAsync(run, resolution.Reason!); // A requeued row has one.
            case NextStep.Retry when isRequeued:
                run.FailedBackends.Add(BackendOf(attempt, outcome));
                return false;
            case NextStep.LeaveToNewJob when isRequeued:
                await writes.MoveToTailAsync(attempt);
                throw new JobAbortedException();
            default:
                return await reconciler.ReconcileAsync(run);
        }
    }

    /// <summary>Puts the job back to its place; the next worker with a backend takes it from there.</summary>
    private async Task<JobAbortedException> GiveBackAsync(Run run, string why)
    {
        var isBack = await writes.GiveBackAsync(run, why);
        logger.LogInformation(
            "Message {MessageId} {What}: {Reason}.", run.MessageId,
            isBack ? "goes back to its place in the queue" : "has lost its place in the queue", why);
        return new JobAbortedException();
    }

    /// <summary>Ends a request that no backend can serve.</summary>
    private async Task<bool> FailWithoutBackendAsync(Run run, RequestFailure failure, ForgeException cause)
    {
        logger.LogError(cause, "Message {MessageId}: {Code} ({Reason})", run.MessageId, failure.Code, cause.Reason);
        return await writes.FailQueuedAsync(run, failure with { Reason = cause.Reason })
            ? throw new ImageRequestFailedException(failure.Sentence)
            : await reconciler.ReconcileAsync(run);
    }

    /// <returns>False when the row was lost meanwhile and can be claimed again.</returns>
    /// <exception cref="ImageRequestFailedException">The request has ended in error.</exception>
    private async Task<bool> FailAsync(Attempt attempt, RequestFailure failure, LogLevel level, Exception? cause)
    {
        var message = attempt.Message;
        var reason = (cause as ForgeException)?.Reason ?? cause?.Message;
        // One entry with one stack, and none for what a request brings about by itself.
        logger.Log(
            level, level >= LogLevel.Error ? cause : null, "Message {MessageId}, attempt {Attempt}, {Backend}: {Code} ({Reason})",
            message.Id, message.Attempt, message.Backend, failure.Code, reason ?? failure.Sentence);
        disruptions.Forget(message.Id);
        return await writes.FailAsync(attempt, failure with { Reason = reason })
            ? throw new ImageRequestFailedException(failure.Sentence)
            : await reconciler.ReconcileAsync(attempt.Run);
    }

    /// <summary>One run of a Hangfire job.</summary>
    /// <param name="MessageId">The message.</param>
    /// <param name="HangfireJobId">The job.</param>
    /// <param name="Fetched">The fetched job, which goes back to its place when it is not used.</param>
    /// <param name="Hangfire">Throws when the job is no longer this worker's.</param>
    /// <param name="Cancelled">
    /// Cancelled as soon as this process is asked to stop (what is being generated then has <see cref="ShutdownOptions.DrainTimeout"/>),
    /// and soon after the job was taken from this worker: deleted, or put back into the queue.
    /// </param>
    internal sealed record Run(
        long MessageId,
        string HangfireJobId,
        CapacityGatedFetch.FetchedRequest Fetched,
        IJobCancellationToken Hangfire,
        CancellationToken Cancelled)
    {
        /// <summary>The backends that have failed the request in this run; others come first.</summary>
        public HashSet<string> FailedBackends { get; } = new(StringComparer.Ordinal);
    }
}
