namespace ImageQueue.Core.Queue;

/// <summary>Hangfire's queues beside those of <see cref="ImageJobs"/>, each with workers of its own, so that none delays another.</summary>
public static class JobQueues
{
    /// <summary>The sweep, and operators' commands over many requests.</summary>
    public const string Maintenance = "maintenance";

    /// <summary>The cleanup: a first retention on 100,000 images takes long.</summary>
    public const string Cleanup = "cleanup";
}
