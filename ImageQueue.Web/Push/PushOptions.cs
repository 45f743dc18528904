using System.ComponentModel.DataAnnotations;

namespace ImageQueue.Web.Push;

/// <summary>Settings under <c>Push</c>: live progress.</summary>
public sealed class PushOptions
{
    public const string Section = "Push";

    /// <summary>
    /// Longest silence on an event stream: keeps proxies from closing it, and finds out that a client is gone. Default 15 s;
    /// nginx gives up after 60 s.
    /// </summary>
    [Range(typeof(TimeSpan), "00:00:00.1000000", "01:00:00")]
    public TimeSpan Heartbeat { get; set; } = TimeSpan.FromSeconds(15);

    /// <summary>How long a write to a client may make no progress before its stream or connection is closed. Default 10 s.</summary>
    [Range(typeof(TimeSpan), "00:00:01", "00:10:00")]
    public TimeSpan SlowestReader { get; set; } = TimeSpan.FromSeconds(10);
}
