using System.Net;
using System.Net.Sockets;
using System.Security.Claims;
using System.Threading.RateLimiting;
using ImageQueue.Web.Errors;
using Microsoft.AspNetCore.RateLimiting;

namespace ImageQueue.Web.Auth;

/// <summary>
/// Limits requests and open streams per key, or per address for callers without one (watchers' tokens and cookies included). A
/// refusal comes before any body or row is read.
/// </summary>
internal static class RateLimits
{
    private static readonly TimeSpan Burst = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan Refill = TimeSpan.FromMilliseconds(200);

    public static void AddRateLimits(this IServiceCollection services)
    {
        services.AddRateLimiter(_ => { });
        services.AddOptions<RateLimiterOptions>().Configure<IOptions<LimitsOptions>>((limiter, options) =>
        {
            var limits = options.Value;
            limiter.GlobalLimiter = PartitionedRateLimiter.CreateChained(
                PartitionedRateLimiter.Create<HttpContext, string>(context => Partition(
                    context, limits.RequestsPerKey, limits.RequestsPerAddress,
                    (caller, perSecond) => RateLimitPartition.GetTokenBucketLimiter(caller, _ => Bucket(perSecond)))),
                PartitionedRateLimiter.Create<HttpContext, string>(context => StaysOpen(context)
                    ? Partition(
                        context, limits.StreamsPerKey, limits.StreamsPerAddress,
                        (caller, most) => RateLimitPartition.GetConcurrencyLimiter(caller, _ => new() { PermitLimit = most }))
                    : RateLimitPartition.GetNoLimiter("")));
            limiter.OnRejected = (rejected, _) => new ValueTask(RefuseAsync(rejected));
        });
    }

    /// <summary>The address as limits and the audit log count it: an IPv6 caller has a /64.</summary>
    public static string AddressOf(HttpContext context)
    {
        if (context.Connection.RemoteIpAddress is not { } address)
            return "unknown";
        if (address.IsIPv4MappedToIPv6)
            address = address.MapToIPv4();
        return address.AddressFamily == AddressFamily.InterNetworkV6 ? $"{new IPNetwork(FirstHalf(address), 64)}" : address.ToString();
    }

    private static bool StaysOpen(HttpContext context) =>
        StreamAttribute.IsStream(context) || WaitPreference.In(context.Request.Headers["Prefer"].ToString()) > TimeSpan.Zero;

    private static RateLimitPartition<string> Partition(
        HttpContext context, int perKey, int perAddress, Func<string, int, RateLimitPartition<string>> limit) =>
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
        rejected.HttpContext.Response.Headers.RetryAfter =
            Math.Max(1, Math.Ceiling(wait.TotalSeconds)).ToString(CultureInfo.InvariantCulture);
        return Refusal.WriteAsync(
            rejected.HttpContext, ProblemCodes.RateLimited,
            "Too much at once from this key or address. Try again after the time that Retry-After says.");
    }

    private static IPAddress FirstHalf(IPAddress address)
    {
        var bytes = address.GetAddressBytes();
        bytes.AsSpan(8).Clear();
        return new IPAddress(bytes);
    }
}
