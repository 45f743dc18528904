using System.ComponentModel.DataAnnotations;

namespace ImageQueue.Web.Auth;

/// <summary>Settings under <c>Limits</c>: how much one caller may take of the server.</summary>
public sealed class LimitsOptions
{
    /// <summary>The configuration section.</summary>
    public const string Section = "Limits";

    /// <summary>Requests a second with one key, over five seconds. Default 500.</summary>
    [Range(1, 1_000_000)]
    public int RequestsPerKey { get; set; } = 500;

    /// <summary>Requests a second from one address without a key (an IPv6 /64 is one address), over five seconds. Default 50.</summary>
    [Range(1, 1_000_000)]
    public int RequestsPerAddress { get; set; } = 50;

    /// <summary>Event streams and hub connections open with one key. Default 10,000.</summary>
    [Range(1, 1_000_000)]
    public int StreamsPerKey { get; set; } = 10_000;

    /// <summary>Event streams and hub connections open from one address without a key. Default 200.</summary>
    [Range(1, 1_000_000)]
    public int StreamsPerAddress { get; set; } = 200;

    /// <summary>Connections open in all. Default 20,000.</summary>
    [Range(10, 1_000_000)]
    public int Connections { get; set; } = 20_000;

    /// <summary>Longest time for a request's headers to arrive. Default 10 s.</summary>
    [Range(typeof(TimeSpan), "00:00:01", "00:05:00")]
    public TimeSpan HeadersTimeout { get; set; } = TimeSpan.FromSeconds(10);

    /// <summary>
    /// Bytes a second below which a client that sends a body, or does not take its answer, is cut off after five seconds. Default 240.
    /// </summary>
    [Range(1, 1_000_000)]
    public int SlowestClient { get; set; } = 240;
}
