using Microsoft.AspNetCore.Authentication;

namespace ImageQueue.Web.Auth;

/// <summary>When what a caller was let in with stops being good: an open stream must not outlive it.</summary>
internal static class Expiry
{
    /// <summary>When; null when it does not.</summary>
    public static DateTimeOffset? At(HttpContext? context) =>
        context?.Features.Get<IAuthenticateResultFeature>()?.AuthenticateResult?.Properties?.ExpiresUtc;

    public static CancellationTokenSource Of(HttpContext context, TimeProvider time)
    {
        if (At(context) is not { } at)
            return new CancellationTokenSource();
        var left = at - time.GetUtcNow();
        return new CancellationTokenSource(left > TimeSpan.Zero ? left : TimeSpan.Zero, time);
    }
}
