using System.ComponentModel.DataAnnotations;

namespace ImageQueue.Core.Hosting;

/// <summary>Settings under <c>Shutdown</c>.</summary>
public sealed class ShutdownOptions
{
    /// <summary>The configuration section.</summary>
    public const string Section = "Shutdown";

    /// <summary>
    /// How long a running generation may take when the process stops; then its request goes back to its place in the queue. Without
    /// one the process stops at once. Default 5 s. Where images should survive a deployment: a little more than one image takes, and
    /// less than the host's time-out (Kubernetes and systemd: 30 s and 90 s).
    /// </summary>
    [Range(typeof(TimeSpan), "00:00:00", "01:00:00")]
    public TimeSpan DrainTimeout { get; set; } = TimeSpan.FromSeconds(5);

    /// <summary>How long Hangfire waits for its workers: the drain, then Forge's interrupt and the last write.</summary>
    public TimeSpan WorkerTimeout => DrainTimeout + TimeSpan.FromSeconds(15);

    /// <summary>How long the host waits for all services: longer than Hangfire, which it would otherwise cut off.</summary>
    public TimeSpan HostTimeout => WorkerTimeout + TimeSpan.FromSeconds(5);
}
