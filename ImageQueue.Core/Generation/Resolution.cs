namespace ImageQueue.Core.Generation;

/// <summary>What follows from an attempt's outcome.</summary>
/// <param name="Row">The row's transition.</param>
/// <param name="Charge">What a requeued request is charged with.</param>
/// <param name="Signal">What the backend's circuit breaker hears.</param>
/// <param name="Level">Of the log entry.</param>
/// <param name="Next">What the worker does next.</param>
internal sealed record Resolution(RowChange Row, AttemptCharge Charge, BackendSignal Signal, LogLevel Level, NextStep Next)
{
    /// <summary>How the request ends in error; null otherwise.</summary>
    public RequestFailure? Failure { get; init; }

    /// <summary>Why the request was requeued, for operators.</summary>
    public string? Reason { get; init; }
}

internal enum RowChange
{
    None,
    RequeueInPlace,
    RequeueAtTail,
    Fail,
    Cancel,
}

/// <summary>What a circuit breaker hears of an attempt. An image that was good is reported when it was checked.</summary>
internal enum BackendSignal
{
    None,
    Unavailable, // It did not take the request.
    Failed, // A request failed there.
    FailedForGood, // The same, and the request would end: the canary decides first.
    Disrupted, // It broke off a request.
}

internal enum NextStep
{
    Finish, // The job is done.
    FailJob, // The job fails with the request.
    Retry, // Another attempt of the same job.
    LeaveToNewJob, // The job ends, another one at the queue's tail has the request.
    Reconcile, // The row decides.
    GiveBack, // The job goes back to its place in the queue.
    Abort, // The job is no longer this worker's.
}
