namespace ImageQueue.Core.Messages;

/// <summary>How a worker shows that it lives: by the heartbeat in its row. Silence is judged by the database's clock.</summary>
public static class Heartbeat
{
    /// <summary>How often the row hears that the worker is alive when nothing moves.</summary>
    public static readonly TimeSpan Interval = TimeSpan.FromSeconds(10);

    /// <summary>
    /// After so long without one a worker is taken for dead where there is more against it than silence: its job runs again, or its server
    /// is gone.
    /// </summary>
    public static readonly TimeSpan QuietTime = TimeSpan.FromSeconds(20);

    /// <summary>After so long it is taken for dead all the same.</summary>
    public static readonly TimeSpan Timeout = TimeSpan.FromSeconds(60);
}
