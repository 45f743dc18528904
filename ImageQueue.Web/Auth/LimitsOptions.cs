using System.ComponentModel.DataAnnotations;

namespace ImageQueue.Web.Auth;

/// <summary>Settings under <c>Limits</c>: how much one caller may use.</summary>
internal sealed class LimitsOptions
{
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
}
