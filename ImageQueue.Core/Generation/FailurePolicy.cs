using ImageQueue.Core.Forge;

namespace ImageQueue.Core.Generation;

/// <summary>
/// The one place that decides what follows from an attempt's outcome: the row's transition, what is charged to the request, and what
/// the backend's circuit breaker hears. No request is charged for a bad backend, and no backend for a bad request.
/// </summary>
/// <remarks>What Forge said is for logs and operators; users get a sentence of ours.</remarks>
public sealed class FailurePolicy(MessageTexts texts, IOptions<ForgeOptions> options)
{
    /// <summary>Attempts that may fail by the request's own fault where it could be either's.</summary>
    private const int FailuresAllowed = 2;

    /// <summary>No configured backend can serve what the request asks for.</summary>
    public RequestFailure NoSuitableBackend => new(ErrorCodes.NoBackend, texts.NoSuitableBackend);

    /// <summary>No backend was healthy for <see cref="ForgeOptions.WaitForBackend"/>.</summary>
    public RequestFailure NoBackend(TimeSpan waited) => new(ErrorCodes.NoBackend, texts.NoBackend(waited));

    /// <summary>The processes that generated it died, too often.</summary>
    public RequestFailure Abandoned(int failures) => new(ErrorCodes.Abandoned, texts.Abandoned(failures));

    /// <summary>Whether so many failures end a request.</summary>
    public bool IsExhausted(int failures) => failures >= options.Value.MaxAttempts;

    /// <summary>Whether so many disruptions end a request.</summary>
    internal bool IsLastDisruption(int disruptions) => disruptions >= options.Value.MaxDisruptions;

    /// <param name="message">The claimed row, with what was charged to it so far.</param>
    internal Resolution Resolve(AttemptOutcome outcome, Message message) => outcome.Result switch
    {
        AttemptResult.Completed => new(RowChange.None, AttemptCharge.None, BackendSignal.None, LogLevel.Debug, NextStep.Finish),
        AttemptResult.Superseded => new(RowChange.None, AttemptCharge.None, BackendSignal.None, LogLevel.Debug, NextStep.Reconcile),
        AttemptResult.JobDeleted => new(RowChange.Cancel, AttemptCharge.None, BackendSignal.None, LogLevel.Information, NextStep.Abort),
        AttemptResult.JobRequeued => Requeue(AttemptCharge.None, BackendSignal.None, LogLevel.Information) with
        { Next = NextStep.Abort, Reason = "an operator has put its job back into the queue" },
        AttemptResult.ShuttingDown => Requeue(AttemptCharge.None, BackendSignal.None, LogLevel.Information) with
        { Next = NextStep.GiveBack, Reason = "the process stops" },
        AttemptResult.Disrupted => OfDisruption(outcome, message),
        _ => OfFailure(outcome, message),
    };

    private Resolution OfDisruption(AttemptOutcome outcome, Message message)
    {
        var requeue = Requeue(AttemptCharge.None, BackendSignal.Disrupted) with { Reason = outcome.Reason };
        if (outcome.IsBackendAtFault)
            return requeue;
        var disruptions = message.Disruptions + 1;
        if (IsLastDisruption(disruptions) || (disruptions >= 2 && outcome.HaveOthersCompleted))
        {
            return outcome.Failure == ForgeFailure.GatewayTimeout
                ? End(ErrorCodes.TimedOut, texts.TimedOut(options.Value.Timeout), BackendSignal.Disrupted)
                : End(ErrorCodes.BackendFailed, texts.Disrupted(disruptions), BackendSignal.Disrupted);
        }

        return disruptions == 1
            ? requeue with { Charge = AttemptCharge.Disruption }
            : requeue with { Charge = AttemptCharge.Disruption, Row = RowChange.RequeueAtTail, Next = NextStep.LeaveToNewJob };
    }

    private Resolution OfFailure(AttemptOutcome outcome, Message message)
    {
        return outcome.Cause switch
        {
            // The backend did not take it.
            ForgeException { Failure: ForgeFailure.Unavailable } => Again(AttemptCharge.None, BackendSignal.Unavailable),

            // Either's fault: once more, on another backend where there is one.
            ForgeException { Failure: ForgeFailure.Failed } => OnceMore(ErrorCodes.BackendFailed, texts.ForgeFailed),
            ForgeException { Failure: ForgeFailure.BadImage } => OnceMore(ErrorCodes.BadImage, texts.BadImage),
            ForgeException { Failure: ForgeFailure.BlackImage } => OnceMore(ErrorCodes.BadImage, texts.BlackImage),
            ForgeException { Failure: ForgeFailure.WrongModel } => OnceMore(ErrorCodes.BackendFailed, texts.WrongModel),

            // Another client of that Forge; it may happen again.
            ForgeException { Failure: ForgeFailure.Interrupted } => IsExhausted(message.Failures + 1)
                ? End(ErrorCodes.BackendFailed, texts.Interrupted)
                : Again(AttemptCharge.Failure, BackendSignal.None),

            // What still runs there is drained before the backend gets another request.
            ForgeException { Failure: ForgeFailure.Timeout } => End(ErrorCodes.TimedOut, texts.TimedOut(options.Value.Timeout)),
            ForgeException { Failure: ForgeFailure.Stalled, Limit: var limit } =>
                End(ErrorCodes.Stalled, texts.Stalled(limit ?? options.Value.StallTimeout)),

            // The request's own.
            ForgeException { Failure: ForgeFailure.Rejected, Refusal: { } refusal } =>
                End(ErrorCodes.Rejected, texts.Refused(refusal.Field, refusal.Value, refusal.Choices)),
            ForgeException { Failure: ForgeFailure.Rejected } => End(ErrorCodes.Rejected, texts.Rejected),
            ForgeException { Failure: ForgeFailure.SourceGone } => End(ErrorCodes.Rejected, texts.SourceGone),
            ForgeException { Failure: ForgeFailure.OutOfMemory } => End(ErrorCodes.OutOfMemory, texts.OutOfMemory),

            // Ours.
            IOException or UnauthorizedAccessException => End(ErrorCodes.NotStored, texts.ImageNotStored),
            _ => End(ErrorCodes.Unexpected, texts.Unexpected),
        };

        Resolution Again(AttemptCharge charge, BackendSignal signal) => Requeue(charge, signal) with { Reason = outcome.Reason };

        Resolution OnceMore(string code, string sentence) =>
            outcome.IsBackendAtFault ? Again(AttemptCharge.None, BackendSignal.Failed)
            : message.Failures + 1 >= FailuresAllowed
                || IsExhausted(message.Failures + 1) ? End(code, sentence, BackendSignal.FailedForGood)
            : Again(AttemptCharge.Failure, BackendSignal.Failed);
    }

    private static Resolution Requeue(AttemptCharge charge, BackendSignal signal, LogLevel level = LogLevel.Warning) =>
        new(RowChange.RequeueInPlace, charge, signal, level, NextStep.Retry);

    /// <summary>An error of ours or of a backend is an error; what a request brings about by itself is a warning.</summary>
    private static Resolution End(string code, string sentence, BackendSignal signal = BackendSignal.None)
    {
        var isRequests = code is ErrorCodes.Rejected or ErrorCodes.OutOfMemory or ErrorCodes.TimedOut or ErrorCodes.Stalled;
        return new(RowChange.Fail, AttemptCharge.None, signal, isRequests ? LogLevel.Warning : LogLevel.Error, NextStep.FailJob)
        { Failure = new RequestFailure(code, sentence) };
    }
}
