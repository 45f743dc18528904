namespace ImageQueue.Core.Hosting;

/// <summary>Something that stops or slows the queue now.</summary>
/// <param name="Code">One of <see cref="ConditionCodes"/>.</param>
/// <param name="Text">A sentence for operators.</param>
/// <param name="Stops">Whether no image is generated while it holds.</param>
/// <param name="IsFault">False for what an operator has decided, or what ends by itself: it does not degrade readiness.</param>
public sealed record SystemCondition(string Code, string Text, bool Stops = false, bool IsFault = true)
{
    /// <summary>The backend, model, receiver or lease; null when there is only one.</summary>
    public string? Subject { get; init; }

    /// <summary>Null until <see cref="SystemConditions"/> sets the time at which it was first seen.</summary>
    public DateTimeOffset? Since { get; init; }

    /// <summary>The operator who decided it.</summary>
    public string? By { get; init; }
}

/// <summary>The codes of <see cref="SystemCondition"/>.</summary>
public static class ConditionCodes
{
    public const string DatabaseUnavailable = "database_unavailable";
    public const string QueuePaused = "queue_paused";
    public const string NotWritable = "not_writable";
    public const string NoBackend = "no_backend";
    public const string JobServerMissing = "job_server_missing";
    public const string BackendUnhealthy = "backend_unhealthy";
    public const string BackendPaused = "backend_paused";
    public const string BackendDraining = "backend_draining";
    public const string ModelMissing = "model_missing";
    public const string SweepMissing = "sweep_missing";
    public const string LeaderMissing = "leader_missing";
    public const string WebhookFailing = "webhook_failing";
    public const string WebhookSuspended = "webhook_suspended";
}

/// <summary>Finds the conditions of one part of the system.</summary>
public interface IConditionSource
{
    /// <summary>The part's name in <c>/health/ready</c>.</summary>
    string Part { get; }

    /// <summary>The condition while the part does not answer, or fails: one of <see cref="ConditionCodes"/>.</summary>
    string UnavailableCode => ConditionCodes.DatabaseUnavailable;

    /// <summary>The conditions that hold now; empty when the part works.</summary>
    Task<IReadOnlyList<SystemCondition>> ReadAsync(CancellationToken cancellationToken);
}
