using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Security.Claims;
using System.Threading.RateLimiting;
using Microsoft.AspNetCore.RateLimiting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Options;

namespace ImageQueue.Web.Auth;

/// <summary>
/// How much one caller may take: by its key, or by its address where it shows none, watchers' tokens and cookies included. What
/// is too much is answered before anything is read or looked up.
/// </summary>
internal static class RateLimits
{
    /// <summary>The policy of endpoints that stay open.</summary>
    public const string Streams = "streams";

    private static readonly TimeSpan Burst = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan Refill = TimeSpan.FromMilliseconds(200);

    public static void AddRateLimits(this IServiceCollection services)
    {
        services.AddRateLimiter(_ => { });
        services.AddOptions<RateLimiterOptions>().Configure<IOptions<LimitsOptions>>((limiter, options) =>
        {
            var limits = options.Value;
            limiter.GlobalLimiter = PartitionedRateLimiter.Create<HttpContext, string>(context =>
                Partition(context, limits.RequestsPerKey, limits.RequestsPerAddress, (caller, perSecond) => RateLimitPartition.GetTokenBucketLimiter(caller, _ => Bucket(perSecond))));
            limiter.AddPolicy(Streams, context =>
                Partition(context, limits.StreamsPerKey, limits.StreamsPerAddress, (caller, most) => RateLimitPartition.GetConcurrencyLimiter(caller, _ => new() { PermitLimit = most })));
            limiter.OnRejected = (rejected, _) => new ValueTask(RefuseAsync(rejected));
        });
        services.AddOptions<KestrelServerOptions>().Configure<IOptions<LimitsOptions>>((kestrel, limits) => Limit(kestrel, limits.Value));
    }

    /// <summary>The address as limits and the audit log count it: who has one IPv6 address has 2^64 of them.</summary>
    public static string AddressOf(HttpContext context)
    {
        if (context.Connection.RemoteIpAddress is not { } address)
            return "unknown";
        if (address.IsIPv4MappedToIPv6)
            address = address.MapToIPv4();
        return address.AddressFamily == AddressFamily.InterNetworkV6 ? $"{new IPNetwork(FirstHalf(address), 64)}" : address.ToString();
    }

    private static RateLimitPartition<string> Partition(HttpContext context, int perKey, int perAddress, Func<string, int, RateLimitPartition<string>> limit) =>
        context.User.Identity?.AuthenticationType switch
        {
            Credentials.Local => RateLimitPartition.GetNoLimiter(Credentials.Local),
            Credentials.Key => limit($"key {context.User.FindFirstValue(ClaimTypes.NameIdentifier)}", perKey),
            _ => limit($"address {AddressOf(context)}", perAddress),
        };

    private static TokenBucketRateLimiterOptions Bucket(int perSecond)
    {
        // Whole tokens only: few a second come one by one, many come five times a second.
        var refill = perSecond >= 5 ? Refill : TimeSpan.FromSeconds(1);
        return new()
        {
            TokenLimit = Math.Max(1, (int)Math.Min(int.MaxValue, perSecond * Burst.TotalSeconds)),
            ReplenishmentPeriod = refill,
            TokensPerPeriod = Math.Max(1, (int)(perSecond * refill.TotalSeconds)),
        };
    }

    private static Task RefuseAsync(OnRejectedContext rejected)
    {
        var wait = rejected.Lease.TryGetMetadata(MetadataName.RetryAfter, out var retryAfter) ? retryAfter : Burst;
        rejected.HttpContext.Response.Headers.RetryAfter = Math.Max(1, Math.Ceiling(wait.TotalSeconds)).ToString(CultureInfo.InvariantCulture);
        return Refusal.WriteAsync(
            rejected.HttpContext, StatusCodes.Status429TooManyRequests, "rate_limited", "Too much at once from this key or address. Try again after the time that Retry-After says.");
    }

    private static void Limit(KestrelServerOptions kestrel, LimitsOptions limits)
    {
        kestrel.AddServerHeader = false;
        kestrel.Limits.MaxConcurrentConnections = limits.Connections;
        kestrel.Limits.MaxConcurrentUpgradedConnections = limits.Connections;
        kestrel.Limits.RequestHeadersTimeout = limits.HeadersTimeout;
        kestrel.Limits.MaxRequestHeadersTotalSize = 16 * 1024;
        kestrel.Limits.MaxRequestBodySize = 1024 * 1024; // Of the dashboard's forms; the API's own limit is lower.
        kestrel.Limits.MinRequestBodyDataRate = new MinDataRate(limits.SlowestClient, Burst);
        kestrel.Limits.MinResponseDataRate = new MinDataRate(limits.SlowestClient, Burst);
    }

    private static IPAddress FirstHalf(IPAddress address)
    {
        var bytes = address.GetAddressBytes();
        bytes.AsSpan(8).Clear();
        return new IPAddress(bytes);
    }
}
