using ImageQueue.Core.Forge;

namespace ImageQueue.Core.Generation;

/// <summary>How an attempt ended.</summary>
internal enum AttemptResult
{
    Completed, // The row is complete.
    Failed, // There is no image: the request failed, or the backend did not take it.
    Disrupted, // The backend broke off after it had taken the request.
    Superseded, // The row is no longer this attempt's: cancelled, or another worker's.
    JobDeleted, // An operator has deleted the job.
    JobRequeued, // An operator has put the job back into the queue.
    ShuttingDown, // The process stops.
}

/// <param name="Result">How it ended.</param>
/// <param name="Cause">What was thrown; null unless failed or disrupted.</param>
internal sealed record AttemptOutcome(AttemptResult Result, Exception? Cause = null)
{
    /// <summary>Whether the canary found the backend at fault, or has not decided yet.</summary>
    public bool IsBackendAtFault { get; init; }

    /// <summary>The backend of an earlier attempt that this is the outcome of; null: the attempt's own.</summary>
    public string? EarlierBackend { get; init; }

    /// <summary>Whether the backend has completed other requests since it first broke off this one.</summary>
    public bool HaveOthersCompleted { get; init; }

    public ForgeFailure? Failure => (Cause as ForgeException)?.Failure;

    /// <summary>For logs and operators.</summary>
    public string? Reason => (Cause as ForgeException)?.Reason ?? Cause?.Message;

    /// <param name="isStopping">Whether the process stops: a backend on the same machine often does too.</param>
    public static AttemptOutcome Of(Exception cause, bool isStopping) => cause switch
    {
        ForgeException { Failure: ForgeFailure.Unavailable or ForgeFailure.Disrupted or ForgeFailure.GatewayTimeout } when isStopping =>
            new AttemptOutcome(AttemptResult.ShuttingDown, cause),
        ForgeException { Failure: ForgeFailure.Disrupted or ForgeFailure.GatewayTimeout } =>
            new AttemptOutcome(AttemptResult.Disrupted, cause),
        _ => new AttemptOutcome(AttemptResult.Failed, cause),
    };
}
