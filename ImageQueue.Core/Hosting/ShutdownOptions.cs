using System.ComponentModel.DataAnnotations;

namespace ImageQueue.Core.Hosting;

/// <summary>Settings under <c>Shutdown</c>.</summary>
public sealed class ShutdownOptions
{
    /// <summary>The configuration section.</summary>
    public const string Section = "Shutdown";

    /// <summary>
    /// How long an image that is being generated may go on when the process is asked to stop; then its request goes back to the
    /// head of the queue. With nothing being generated the process stops at once. Default 5 s; where images should survive a
    /// deployment, a little more than one takes, and less than the host's own patience (Kubernetes and systemd: 30 s and 90 s).
    /// </summary>
    [Range(typeof(TimeSpan), "00:00:00", "01:00:00")]
    public TimeSpan DrainTimeout { get; set; } = TimeSpan.FromSeconds(5);

    /// <summary>How long Hangfire waits for its workers: the drain, and then the interrupt of Forge and the last write.</summary>
    public TimeSpan WorkerTimeout => DrainTimeout + TimeSpan.FromSeconds(15);

    /// <summary>How long the host waits for everything: longer than Hangfire, or it would be cut off.</summary>
    public TimeSpan HostTimeout => WorkerTimeout + TimeSpan.FromSeconds(5);
}
