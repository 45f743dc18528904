namespace ImageQueue.Core.Messages;

/// <summary>Ages of a worker's heartbeat in its row, judged by the database's clock.</summary>
public static class Heartbeat
{
    /// <summary>How often a worker writes its heartbeat when there is no progress to write.</summary>
    public static readonly TimeSpan Interval = TimeSpan.FromSeconds(10);

    /// <summary>Silence after which a worker counts as dead when its job runs again or its Hangfire server is gone.</summary>
    public static readonly TimeSpan SuspectAfter = TimeSpan.FromSeconds(20);

    /// <summary>Silence after which a worker counts as dead in any case.</summary>
    public static readonly TimeSpan DeadAfter = TimeSpan.FromSeconds(60);
}
